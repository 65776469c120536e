package memnet

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// Conn is one end of a connection. As of a TCP connection, what was written before a Close still arrives, unless
// SetLinger(0) made the Close a reset.
type Conn struct {
	in, out       *half
	local, remote *net.TCPAddr
}

// pair returns the ends of a new connection.
func pair(client, server *net.TCPAddr) (*Conn, *Conn) {
	up, down := newHalf(), newHalf()
	return &Conn{in: down, out: up, local: client, remote: server}, &Conn{in: up, out: down, local: server, remote: client}
}

// failed is err as package net would report it.
func (c *Conn) failed(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	return n, c.failed("read", err)
}

// Write implements net.Conn. It returns when all of b has room in the buffer.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	return n, c.failed("write", err)
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	already := c.in.stopReading()
	c.out.stopWriting(net.ErrClosed)
	if already {
		return c.failed("close", net.ErrClosed)
	}
	return nil
}

// CloseWrite tells the other end that nothing more comes, as net.TCPConn.CloseWrite does.
func (c *Conn) CloseWrite() error {
	if c.out.stopWriting(syscall.EPIPE) {
		return c.failed("close", net.ErrClosed)
	}
	return nil
}

// SetLinger is net.TCPConn's: with 0, Close is a reset, which loses what the other end has not read yet. Any
// other value is the way it is anyhow.
func (c *Conn) SetLinger(seconds int) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.reset = seconds == 0
	return nil
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if c.in.deaf {
		return c.failed("set", net.ErrClosed)
	}
	c.in.readBy.set(c.in, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if errors.Is(c.out.silent, net.ErrClosed) {
		return c.failed("set", net.ErrClosed)
	}
	c.out.writeBy.set(c.out, t)
	return nil
}

// deadline is a time by which something has to happen on a half.
type deadline struct {
	at    time.Time // zero is never
	timer *time.Timer
}

// set changes the time. The caller holds h.mu.
func (d *deadline) set(h *half, t time.Time) {
	d.at = t
	if d.timer != nil {
		d.timer.Stop()
	}
	switch wait := time.Until(t); {
	case t.IsZero():
	case wait <= 0:
		h.change.Broadcast()
	case d.timer == nil:
		d.timer = time.AfterFunc(wait, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.change.Broadcast()
		})
	default:
		d.timer.Reset(wait)
	}
}

// stop forgets the time. The caller holds the half's mu.
func (d *deadline) stop() {
	d.at = time.Time{}
	if d.timer != nil {
		d.timer.Stop()
	}
}

// over reports whether the time has passed.
func (d *deadline) over() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
