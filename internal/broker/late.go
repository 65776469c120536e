package broker

import (
	"context"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/fakecloud/fakecloud/internal/clock"
)

// Fault reorder: a message waits until the next one has gone by. It is never lost, as it goes by itself when
// its time is over.

// held is a message to the client that waits to be overtaken.
type held struct {
	Outgoing
	timer clock.Timer
}

// holdBack lets m wait, at most d of the timers clock, and reports whether it will be sent.
func (c *conn) holdBack(m Outgoing, d time.Duration) bool {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := c.admits(&m); !ok || o.held != nil {
		return false
	}
	h := &held{Outgoing: m}
	h.timer = c.srv.cfg.Clock.AfterFunc(d, func() { c.release(h) })
	o.held = h
	o.holds.Store(true)
	return true
}

// release sends what nobody has overtaken.
func (c *conn) release(h *held) {
	c.out.mu.Lock()
	mine := c.out.held == h
	if mine {
		c.out.unhold()
	}
	c.out.mu.Unlock()
	if mine {
		c.enqueue(h.Outgoing, true)
	}
}

// unhold takes the message that waits, nil for none. The caller holds mu.
func (o *outbound) unhold() *held {
	h := o.held
	if h != nil {
		h.timer.Stop()
		o.held = nil
		o.holds.Store(false)
	}
	return h
}

// late is what a connection needs once a PUBLISH of its client has to wait until the next one is judged. The
// timer that ends the wait judges beside the goroutine of Serve, so the two take turns. A nil one never waits.
type late struct {
	turn    chan struct{}   // a channel, as tests with fake time must see the wait
	waiting *packets.Packet // who reads or changes it has the turn
	timer   clock.Timer
}

func (l *late) take() {
	if l != nil {
		l.turn <- struct{}{}
	}
}

func (l *late) give() {
	if l != nil {
		<-l.turn
	}
}

func (l *late) waits() bool { return l != nil && l.waiting != nil }

// startWait starts the time of a PUBLISH that letWait puts aside. Whoever reads packets has the turn, also of a
// late that is made here.
func (c *conn) startWait(d time.Duration) {
	if c.late == nil {
		c.late = &late{turn: make(chan struct{}, 1)}
		c.late.take()
	}
	c.late.timer = c.srv.cfg.Clock.AfterFunc(d, c.lateDue)
}

// letWait puts pk aside.
func (c *conn) letWait(pk *packets.Packet) {
	waiting := *pk
	c.late.waiting = &waiting
}

// lateDue judges the PUBLISH whose time is over: at once, so that whoever moves the clock finds it done, unless
// another packet is being judged. What is written about it can take its time.
func (c *conn) lateDue() {
	l := c.late
	select {
	case l.turn <- struct{}{}:
		if conclude := c.judgeDue(); conclude != nil {
			go conclude()
		}
	default:
		go func() {
			select {
			case l.turn <- struct{}{}:
				if conclude := c.judgeDue(); conclude != nil {
					conclude()
				}
			case <-c.ctx.Done():
			}
		}()
	}
}

// judgeDue judges the PUBLISH that waits. The caller has the turn, and gives it on to the function that
// concludes; nil has given it back.
func (c *conn) judgeDue() (conclude func()) {
	pk := c.takeLate()
	if pk == nil {
		c.late.give()
		return nil
	}
	var v Verdict
	judged := c.dare(func() {
		c.out.wait()
		v = c.judgeMessage(message(pk))
	})
	return func() {
		defer c.late.give()
		if judged {
			c.dare(func() {
				c.conclude(pk, v)
				c.writeAcks()
			})
		}
	}
}

// dare runs code of the platform outside the goroutine of Serve. A panic ends the connection.
func (c *conn) dare(f func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			c.end(c.panicked(r))
		}
	}()
	f()
	return true
}

// takeLate takes the PUBLISH that waits, nil where none does or nothing counts any more. The caller has the turn.
func (c *conn) takeLate() *packets.Packet {
	if !c.late.waits() || c.ctx.Err() != nil {
		return nil
	}
	pk := c.late.waiting
	c.late.waiting = nil
	c.late.timer.Stop()
	return pk
}

// judgeLate judges the PUBLISH that waits, if there is one. The caller has the turn.
func (c *conn) judgeLate() {
	if pk := c.takeLate(); pk != nil {
		c.judgePublish(pk, false)
	}
}

// lastTurn ends the turns with the connection. A PUBLISH that still waits had arrived and counts; its
// acknowledgement is lost with the connection.
func (c *conn) lastTurn() {
	c.late.take()
	if !c.late.waits() {
		return
	}
	c.late.timer.Stop()
	if c.srv.dead() == nil {
		c.guard(func() { c.device.Publish(context.WithoutCancel(c.ctx), message(c.late.waiting)) })
	}
	c.late.waiting = nil
}
