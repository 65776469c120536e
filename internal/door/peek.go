package door

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxConnect is the largest first packet that is read, header included: what the longest legal fields of a
// CONNECT of these vendors need, many times over.
const maxConnect = 64 << 10

// firstRead is the buffer's first size; a CONNECT with a SAS token as password fits in.
const firstRead = 512

// The ways in which a first packet is not a CONNECT that can be routed.
var (
	errNotConnect = errors.New("the first packet is not CONNECT")
	errTooLarge   = fmt.Errorf("the CONNECT is larger than %d bytes", maxConnect)
	errMalformed  = errors.New("the CONNECT is malformed")
	errProtocol   = errors.New("the protocol name is not that of MQTT")
)

// connect is what routing needs of a CONNECT packet.
type connect struct {
	level       byte
	clientID    string
	username    string
	hasUsername bool
}

// readConnect reads the first packet from r. raw is all that was read, packets after the CONNECT included,
// and is returned with an error too. It never holds more than twice what has arrived.
func readConnect(r io.Reader) (c connect, raw []byte, err error) {
	buf := make([]byte, 0, firstRead)
	for {
		header, size, err := packetSize(buf)
		if err != nil {
			return connect{}, buf, err
		}
		if size > 0 && len(buf) >= size {
			c, err := parseConnect(buf[header:size])
			return c, buf, err
		}
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, max(2*cap(buf), firstRead)), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil && n == 0 {
			return connect{}, buf, err
		}
	}
}

// packetSize returns the lengths of fixed header and whole packet at the start of b, 0 where more bytes are
// needed to tell (MQTT 3.1.1, section 2.2).
func packetSize(b []byte) (header, size int, err error) {
	const connectType = 0x10 // the flags must be zero; 16 is how TLS starts
	if len(b) > 0 && b[0] != connectType {
		return 0, 0, errNotConnect
	}
	remaining := 0
	for i := 1; i < len(b); i++ {
		remaining |= int(b[i]&0x7f) << (7 * (i - 1))
		switch {
		case b[i]&0x80 != 0 && i == 4:
			return 0, 0, fmt.Errorf("%w: its length has more than four bytes", errMalformed)
		case b[i]&0x80 != 0:
			continue
		}
		if i+1+remaining > maxConnect {
			return 0, 0, errTooLarge
		}
		return i + 1, i + 1 + remaining, nil
	}
	return 0, 0, nil
}

// parseConnect reads variable header and payload of a CONNECT (MQTT 3.1.1 and 5, section 3.1) as far as
// the user name. It judges nothing that it can read past: that is the platform's to do.
func parseConnect(body []byte) (connect, error) {
	var c connect
	f := fields{rest: body}
	name := f.text("protocol name")
	if f.err == nil && name != "MQTT" && name != "MQIsdp" {
		return c, fmt.Errorf("%w: %q", errProtocol, shown(name))
	}
	c.level = f.byte("protocol level")
	flags := f.byte("connect flags")
	f.skip(2, "keep alive")
	// Bridges set the top bit of the level; the layout does not change by it.
	v5 := c.level&0x7f == 5
	if v5 {
		f.properties("properties")
	}
	c.clientID = f.text("client id")
	if flags&0x04 != 0 {
		if v5 {
			f.properties("will properties")
		}
		f.binary("will topic")
		f.binary("will payload")
	}
	if flags&0x80 != 0 {
		c.hasUsername = true
		c.username = f.text("user name")
	}
	if c.level == 0 && f.err == nil {
		f.err = fmt.Errorf("%w: its protocol level is 0", errMalformed)
	}
	return c, f.err
}

// fields takes fields off the front of a packet; the first that is cut short sets err.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) skip(n int, what string) []byte {
	if f.err != nil {
		return nil
	}
	if n > len(f.rest) {
		f.err = fmt.Errorf("%w: the packet ends within its %s, which needs %d bytes where %d are left",
			errMalformed, what, n, len(f.rest))
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) byte(what string) byte {
	if b := f.skip(1, what); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) binary(what string) []byte {
	b := f.skip(2, what)
	if b == nil {
		return nil
	}
	return f.skip(int(binary.BigEndian.Uint16(b)), what)
}

func (f *fields) text(what string) string { return string(f.binary(what)) }

func (f *fields) properties(what string) {
	n, shift := 0, 0
	for {
		b := f.byte(what)
		n |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
		if shift += 7; shift > 21 {
			f.err = fmt.Errorf("%w: the length of its %s has more than four bytes", errMalformed, what)
			return
		}
	}
	f.skip(n, what)
}
