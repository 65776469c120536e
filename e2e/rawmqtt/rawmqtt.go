package rawmqtt

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Packet types, the high nibble of the first byte.
const (
	CONNECT, CONNACK, PUBLISH, PUBACK        = 1, 2, 3, 4
	PUBREC, SUBSCRIBE, SUBACK                = 5, 8, 9
	UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP = 10, 11, 12, 13
	DISCONNECT                               = 14
)

// Patience bounds every read: a test fails rather than hangs.
const Patience = 10 * time.Second

// Connect holds the fields of a CONNECT. Nil Username, Password or Will leave the flag out.
type Connect struct {
	Protocol  string // default MQTT
	Level     byte   // default 4
	ClientID  string
	Username  *string
	Password  *string
	Keep      bool // clean session 0
	KeepAlive uint16
	Will      *Will
}

// Will is a last will.
type Will struct {
	Topic   string
	Payload string
	QoS     byte
	Retain  bool
}

// Bytes builds the packet.
func (c Connect) Bytes() []byte {
	if c.Protocol == "" {
		c.Protocol = "MQTT"
	}
	if c.Level == 0 {
		c.Level = 4
	}
	var flags byte
	if !c.Keep {
		flags |= 0x02
	}
	payload := text(c.ClientID)
	if c.Will != nil {
		flags |= 0x04 | c.Will.QoS<<3
		if c.Will.Retain {
			flags |= 0x20
		}
		payload = append(append(payload, text(c.Will.Topic)...), text(c.Will.Payload)...)
	}
	if c.Username != nil {
		flags |= 0x80
		payload = append(payload, text(*c.Username)...)
	}
	if c.Password != nil {
		flags |= 0x40
		payload = append(payload, text(*c.Password)...)
	}
	body := append(text(c.Protocol), c.Level, flags)
	body = binary.BigEndian.AppendUint16(body, c.KeepAlive)
	if c.Level == 5 {
		body = append(body, 0)
	}
	return Build(CONNECT<<4, append(body, payload...))
}

// Build puts first byte and remaining length before a body.
func Build(first byte, body []byte) []byte {
	out := []byte{first}
	for n := len(body); ; {
		b := byte(n % 128)
		n /= 128
		if n > 0 {
			b |= 0x80
		}
		out = append(out, b)
		if n == 0 {
			return append(out, body...)
		}
	}
}

func text(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// Publish builds a PUBLISH; id is used from QoS 1 on.
func Publish(topic, payload string, qos byte, id uint16, retain bool) []byte {
	first := byte(PUBLISH<<4) | qos<<1
	if retain {
		first |= 1
	}
	body := text(topic)
	if qos > 0 {
		body = binary.BigEndian.AppendUint16(body, id)
	}
	return Build(first, append(body, payload...))
}

// Subscribe builds a SUBSCRIBE for filters at one QoS.
func Subscribe(id uint16, qos byte, filters ...string) []byte {
	body := binary.BigEndian.AppendUint16(nil, id)
	for _, f := range filters {
		body = append(append(body, text(f)...), qos)
	}
	return Build(SUBSCRIBE<<4|2, body)
}

// Unsubscribe builds an UNSUBSCRIBE.
func Unsubscribe(id uint16, filters ...string) []byte {
	body := binary.BigEndian.AppendUint16(nil, id)
	for _, f := range filters {
		body = append(body, text(f)...)
	}
	return Build(UNSUBSCRIBE<<4|2, body)
}

// Packet is one packet as read.
type Packet struct {
	First byte
	Body  []byte
}

// Type returns the packet type.
func (p Packet) Type() byte { return p.First >> 4 }

// Bytes returns the packet as it was on the wire.
func (p Packet) Bytes() []byte { return Build(p.First, p.Body) }

// QoS returns a PUBLISH's QoS.
func (p Packet) QoS() byte { return p.First >> 1 & 3 }

// Topic returns a PUBLISH's topic.
func (p Packet) Topic() string {
	n := binary.BigEndian.Uint16(p.Body)
	return string(p.Body[2 : 2+n])
}

// ID returns a PUBLISH's packet id, 0 for QoS 0.
func (p Packet) ID() uint16 {
	if p.QoS() == 0 {
		return 0
	}
	return binary.BigEndian.Uint16(p.Body[2+len(p.Topic()):])
}

// Payload returns a PUBLISH's payload.
func (p Packet) Payload() string {
	n := 2 + len(p.Topic())
	if p.QoS() > 0 {
		n += 2
	}
	return string(p.Body[n:])
}

// Conn is a connection with bounded reads.
type Conn struct {
	net.Conn
	r *bufio.Reader
}

// New wraps an open connection.
func New(c net.Conn) *Conn { return &Conn{Conn: c, r: bufio.NewReader(c)} }

// Read returns the next packet. io.EOF means that the server closed without a packet.
func (c *Conn) Read() (Packet, error) {
	if err := c.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return Packet{}, err
	}
	first, err := c.r.ReadByte()
	if err != nil {
		return Packet{}, closed(err)
	}
	length, shift := 0, 0
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return Packet{}, err
		}
		length |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift += 7; shift > 21 {
			return Packet{}, fmt.Errorf("remaining length of more than four bytes")
		}
	}
	p := Packet{First: first, Body: make([]byte, length)}
	_, err = io.ReadFull(c.r, p.Body)
	return p, err
}

// closed turns a reset into the same answer as an orderly close: both are "the server went away".
func closed(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("nothing came and the connection stayed open for %s", Patience)
	}
	return io.EOF
}
