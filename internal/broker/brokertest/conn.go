package brokertest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// TB is the part of testing.TB that is needed.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Conn is a connection under test; every disappointment ends the test.
type Conn struct {
	net.Conn
	Timeout time.Duration // for each packet
	t       TB
	r       *bufio.Reader
}

// New wraps a connection of any kind. Each packet must come within 10 s.
func New(t TB, nc net.Conn) *Conn {
	return &Conn{Conn: nc, Timeout: 10 * time.Second, t: t, r: bufio.NewReader(nc)}
}

// Send writes packets at once.
func (c *Conn) Send(packets ...[]byte) {
	c.t.Helper()
	if _, err := c.Write(bytes.Join(packets, nil)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// Next returns the next packet.
func (c *Conn) Next() []byte {
	c.t.Helper()
	packet, err := c.read()
	if err != nil {
		c.t.Fatalf("no packet but %v (% x)", err, packet)
	}
	return packet
}

// Expect reads as many bytes as want has and compares.
func (c *Conn) Expect(want ...byte) {
	c.t.Helper()
	got := make([]byte, len(want))
	_ = c.SetReadDeadline(time.Now().Add(c.Timeout)) // a connection without deadlines only waits longer
	if n, err := io.ReadFull(c.r, got); err != nil || !bytes.Equal(got, want) {
		c.t.Fatalf("got % x, %v; want % x", got[:n], err, want)
	}
}

// NextPublish returns the next packet, which must be a PUBLISH.
func (c *Conn) NextPublish() Publish {
	c.t.Helper()
	packet := c.Next()
	p, err := ParsePublish(packet)
	if err != nil {
		c.t.Fatalf("% x: %v", packet, err)
	}
	return p
}

// ExpectClosed fails unless the other side closes without another byte.
func (c *Conn) ExpectClosed() {
	c.t.Helper()
	packet, err := c.read()
	if err == nil || len(packet) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("not closed but %v (% x)", err, packet)
	}
}

// ExpectSilence fails if anything happens within d.
func (c *Conn) ExpectSilence(d time.Duration) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d)) // as above
	if _, err := c.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("not silent: %v", err)
	}
}

func (c *Conn) read() ([]byte, error) {
	_ = c.SetReadDeadline(time.Now().Add(c.Timeout)) // as above
	return ReadPacket(c.r)
}
