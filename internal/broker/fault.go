package broker

import (
	"errors"
	"net"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
)

// ErrFault is the cause of a connection that ended because a fault was set.
var ErrFault = errors.New("a fault that was set ended the connection")

// fails asks for a fault at a step of this connection, does what every step has in common (delay, close,
// reset), and returns the rest for the caller. The caller looks at c.ctx afterwards.
func (c *conn) fails(step fault.Step) fault.Action {
	if c.srv.cfg.Faults.Spares(c.name) {
		return fault.Action{}
	}
	return c.judge(step)
}

// judge is fails for a step that also scenario devices may begin at.
func (c *conn) judge(step fault.Step) fault.Action {
	var delayed func()
	a, hit := c.srv.cfg.Faults.At(c.where(step, func(a fault.Action) {
		if a.Delay != nil {
			delayed = c.delay(time.Duration(*a.Delay))
		}
	}))
	if !hit {
		return fault.Action{}
	}
	if delayed != nil {
		delayed()
	}
	c.breakOff(a)
	return a
}

// where is a step of this connection.
func (c *conn) where(step fault.Step, arm func(fault.Action)) fault.Where {
	return fault.Where{Step: step, Platform: c.srv.cfg.Platform, Endpoint: c.peer.Endpoint,
		Device: c.name, Conn: c.peer.Conn, Address: c.address, Arm: arm}
}

// breakOff ends the connection when the action says so.
func (c *conn) breakOff(a fault.Action) {
	if a.Reset {
		abort(c.Conn)
	}
	if a.Close || a.Reset {
		c.end(ErrFault)
	}
}

// delay starts to let d of the timers clock pass; the function that it returns waits for that, at most until
// the connection ends.
func (c *conn) delay(d time.Duration) (wait func()) {
	due := make(chan struct{})
	timer := c.srv.cfg.Clock.AfterFunc(d, func() { close(due) })
	return func() {
		defer timer.Stop()
		select {
		case <-due:
		case <-c.ctx.Done():
		}
	}
}

// abort makes the close that follows a reset (RST) instead of an orderly end. Where the connection is no
// TCP connection below its wrappers, it closes like any other.
func abort(conn net.Conn) {
	for {
		switch inner := conn.(type) {
		case interface { // a *net.TCPConn, or one in memory
			net.Conn
			SetLinger(seconds int) error
		}:
			_ = inner.SetLinger(0) // a socket that is closed already needs no more
			_ = inner.Close()
			return
		case interface{ NetConn() net.Conn }:
			conn = inner.NetConn()
		default:
			return
		}
	}
}

// deliver is enqueue behind the faults of step deliver: what is lost or late counts as sent.
func (c *conn) deliver(m Outgoing, start bool) bool {
	if c.srv.cfg.Faults.Spares(c.name) {
		return c.enqueue(m, start)
	}
	late := false
	a, hit := c.srv.cfg.Faults.At(c.where(fault.Deliver, func(a fault.Action) {
		if late = a.Delay != nil && !a.Drop && !a.Close && !a.Reset; late {
			c.srv.cfg.Clock.AfterFunc(time.Duration(*a.Delay), func() { c.enqueue(m, true) })
		}
	}))
	if !hit {
		return c.enqueue(m, start)
	}
	c.breakOff(a)
	switch {
	case c.ctx.Err() != nil:
		return false
	case a.Drop || late:
		return true
	case a.Duplicate:
		twin := m
		twin.Sent, twin.Acked, twin.Dup = nil, nil, m.QoS > 0
		return c.enqueue(m, start) && c.enqueue(twin, start)
	}
	return c.enqueue(m, start)
}
