package brokertest

import (
	"encoding/binary"
	"errors"
	"io"
)

// Packets without any variable part.
var (
	Pingreq    = []byte{0xc0, 0}
	Pingresp   = []byte{0xd0, 0}
	Disconnect = []byte{0xe0, 0}
)

// Connect is a CONNECT packet. Nil credentials are absent, empty ones present and empty.
type Connect struct {
	Level     byte // 0 is 4, MQTT 3.1.1
	ClientID  string
	Username  *string
	Password  *string
	Session   bool    // clean session off
	Expiry    *uint32 // session expiry interval, MQTT 5 only
	KeepAlive uint16
	Will      *Publish
}

// Text returns a pointer to s, for credentials.
func Text(s string) *string { return &s }

// Bytes returns the packet.
func (c Connect) Bytes() []byte {
	name, level := "MQTT", c.Level
	switch level {
	case 0:
		level = 4
	case 3:
		name = "MQIsdp"
	}
	var flags byte
	if !c.Session {
		flags |= 0x02
	}
	payload := text(nil, c.ClientID)
	if w := c.Will; w != nil {
		flags |= 0x04 | w.QoS<<3
		if w.Retain {
			flags |= 0x20
		}
		if level == 5 {
			payload = append(payload, 0)
		}
		payload = text(text(payload, w.Topic), string(w.Payload))
	}
	if c.Username != nil {
		flags |= 0x80
		payload = text(payload, *c.Username)
	}
	if c.Password != nil {
		flags |= 0x40
		payload = text(payload, *c.Password)
	}
	body := append(text(nil, name), level, flags, byte(c.KeepAlive>>8), byte(c.KeepAlive))
	if level == 5 {
		var properties []byte
		if c.Expiry != nil {
			properties = binary.BigEndian.AppendUint32([]byte{0x11}, *c.Expiry)
		}
		body = append(append(body, byte(len(properties))), properties...)
	}
	return Packet(0x10, append(body, payload...))
}

// Publish is a PUBLISH packet.
type Publish struct {
	Topic   string
	Payload []byte
	QoS     byte
	ID      uint16 // with QoS 1 and 2
	Retain  bool
	Dup     bool
}

// Bytes returns the packet.
func (p Publish) Bytes() []byte {
	first := 0x30 | p.QoS<<1
	if p.Retain {
		first |= 0x01
	}
	if p.Dup {
		first |= 0x08
	}
	body := text(nil, p.Topic)
	if p.QoS > 0 {
		body = binary.BigEndian.AppendUint16(body, p.ID)
	}
	return Packet(first, append(body, p.Payload...))
}

// ParsePublish reads a PUBLISH packet of MQTT 3.1.1.
func ParsePublish(packet []byte) (Publish, error) {
	errNot := errors.New("not a PUBLISH packet")
	if len(packet) < 4 || packet[0]>>4 != 3 {
		return Publish{}, errNot
	}
	p := Publish{QoS: packet[0] >> 1 & 3, Retain: packet[0]&1 != 0, Dup: packet[0]&8 != 0}
	body := packet[1:]
	for body[0]&0x80 != 0 && len(body) > 1 {
		body = body[1:]
	}
	body = body[1:]
	if len(body) < 2 || len(body)-2 < int(binary.BigEndian.Uint16(body)) {
		return Publish{}, errNot
	}
	n := int(binary.BigEndian.Uint16(body)) + 2
	p.Topic, body = string(body[2:n]), body[n:]
	if p.QoS > 0 {
		if len(body) < 2 {
			return Publish{}, errNot
		}
		p.ID, body = binary.BigEndian.Uint16(body), body[2:]
	}
	p.Payload = body
	return p, nil
}

// Puback returns a PUBACK packet.
func Puback(id uint16) []byte { return []byte{0x40, 2, byte(id >> 8), byte(id)} }

// Subscribe returns a SUBSCRIBE packet that asks for all filters with one QoS.
func Subscribe(id uint16, qos byte, filters ...string) []byte {
	body := binary.BigEndian.AppendUint16(nil, id)
	for _, f := range filters {
		body = append(text(body, f), qos)
	}
	return Packet(0x82, body)
}

// Unsubscribe returns an UNSUBSCRIBE packet.
func Unsubscribe(id uint16, filters ...string) []byte {
	body := binary.BigEndian.AppendUint16(nil, id)
	for _, f := range filters {
		body = text(body, f)
	}
	return Packet(0xa2, body)
}

// Packet returns a packet of any kind, its length added.
func Packet(first byte, body []byte) []byte {
	b := []byte{first}
	n := len(body)
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), body...)
}

func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// ReadPacket reads one whole packet, header included. At the end of the stream it returns io.EOF.
func ReadPacket(r io.Reader) ([]byte, error) {
	packet := make([]byte, 1, 64)
	if _, err := io.ReadFull(r, packet); err != nil {
		return nil, err
	}
	n := 0
	for shift := 0; ; shift += 7 {
		var b [1]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return packet, io.ErrUnexpectedEOF
		}
		packet = append(packet, b[0])
		n |= int(b[0]&0x7f) << shift
		if b[0]&0x80 == 0 {
			break
		}
		if shift == 21 {
			return packet, errors.New("a length of more than four bytes")
		}
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return packet, io.ErrUnexpectedEOF
	}
	return append(packet, body...), nil
}
