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
// reset, slow), and returns the rest for the caller. The caller looks at c.ctx afterwards.
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
		if a.Reorder != nil {
			c.startWait(time.Duration(*a.Reorder))
		}
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

// breakOff ends the connection, or slows it down, when the action says so.
func (c *conn) breakOff(a fault.Action) {
	if a.Slow != nil {
		c.pace.Store(int64(*a.Slow))
	}
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

// deliver is enqueue behind the faults of step deliver: what is lost or late counts as sent. Whoever overtakes
// a message that is held back is left alone.
func (c *conn) deliver(m Outgoing, start bool) bool {
	if c.srv.cfg.Faults.Spares(c.name) || c.out.holds.Load() {
		return c.enqueue(m, start)
	}
	later := false
	a, hit := c.srv.cfg.Faults.At(c.where(fault.Deliver, func(a fault.Action) {
		switch {
		case a.Delay != nil:
			later = true
			c.srv.cfg.Clock.AfterFunc(time.Duration(*a.Delay), func() { c.misdeliver(m, true, a) })
		case a.HalfOpen:
			c.silent.Store(true)
		case a.Reorder != nil:
			later = c.holdBack(m, time.Duration(*a.Reorder))
		}
	}))
	switch {
	case !hit:
		return c.enqueue(m, start)
	case later:
		return true
	}
	a.Reorder = nil
	return c.misdeliver(m, start, a)
}

// misdeliver does to a message what the fault says.
func (c *conn) misdeliver(m Outgoing, start bool, a fault.Action) bool {
	c.breakOff(a)
	switch {
	case c.ctx.Err() != nil:
		return false
	case a.HalfOpen:
		c.silent.Store(true)
		return true
	case a.Drop:
		return true
	case a.Reorder != nil && c.holdBack(m, time.Duration(*a.Reorder)):
		return true
	case a.Duplicate:
		twin := m
		twin.Sent, twin.Acked, twin.Flight, twin.Dup = nil, nil, nil, m.QoS > 0
		return c.enqueue(m, start) && c.enqueue(twin, start)
	}
	return c.enqueue(m, start)
}
