package iotda

import (
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/clock"
)

// A message that a device has subscribed to with QoS 1 and does not acknowledge comes again: every 2 s, three times in
// all; after that, once the device comes online or subscribes again, every 10 s in up to five rounds ("Message
// Delivery", iot_06_v5_3016). Sessions are clean, so a device that comes online is sent nothing before it has subscribed:
// what goes out with QoS 0 nobody can acknowledge. A message's time to live bounds the rounds.
const (
	sendsInAll  = 3
	resendAfter = 2 * time.Second
	maxRounds   = 5
	roundAfter  = 10 * time.Second
)

// flight is a message on its way to a device that has not acknowledged it. Its fields are guarded by the session's
// flights.
type flight struct {
	session         *Session
	device, message string
	again           func()
	left            int           // sends that are still due
	every           time.Duration // between them
	timer           clock.Timer   // nil while none is due
	landed          bool
}

// flights are those of one session, by device and message.
type flights struct {
	mu  sync.Mutex
	all map[string]*flight
}

// stop ends the resends with the connection.
func (f *flights) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.all {
		if one.timer != nil {
			one.timer.Stop()
		}
	}
	f.all = nil
}

// hand delivers a message that waits, and reports whether it will be sent.
func (c *Session) hand(device string, m *Message) bool {
	switch {
	case c.down.Acknowledges(m.Topic):
		if !c.depart(device, m, sendsInAll-1, resendAfter) {
			return false
		}
		m.Rounds = maxRounds
	case !c.down.Deliver(m.Topic, m.Payload, m.System):
		return false
	}
	m.Status, m.Finished = Delivered, c.svc.clock.Wall().UTC()
	return true
}

// handAgain begins the rounds of a message that the device was sent and has not acknowledged.
func (c *Session) handAgain(device string, m *Message) {
	switch {
	case m.Rounds == 0:
	case !c.svc.clock.Wall().Before(m.Expires):
		m.Rounds = 0
	case c.down.Acknowledges(m.Topic) && c.goOn(device, m):
		m.Rounds--
	}
}

// goOn sends a message in its first round, and reports whether it did: not while resends are due. On the connection that
// the message was sent on before, it keeps its packet id.
func (c *Session) goOn(device string, m *Message) bool {
	c.flights.mu.Lock()
	f := c.flights.all[key(device, m.ID)]
	switch {
	case f == nil:
		c.flights.mu.Unlock()
		return c.depart(device, m, m.Rounds-1, roundAfter)
	case f.timer != nil:
		c.flights.mu.Unlock()
		return false
	}
	f.left, f.every = m.Rounds-1, roundAfter
	f.timer = c.svc.clock.AfterFunc(f.every, f.due)
	c.flights.mu.Unlock()
	f.again()
	return true
}

// depart sends a message with QoS 1, and again until it is acknowledged.
func (c *Session) depart(device string, m *Message, left int, every time.Duration) bool {
	f := &flight{session: c, device: device, message: m.ID, left: left, every: every}
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	f.timer = c.svc.clock.AfterFunc(every, f.due) // before the device can have the message
	again, ok := c.down.DeliverAcked(m.Topic, m.Payload, f.land)
	if !ok || c.ended.Load() {
		f.landed = true
		f.timer.Stop()
		return ok
	}
	f.again = again
	if c.flights.all == nil {
		c.flights.all = map[string]*flight{}
	}
	c.flights.all[key(device, m.ID)] = f
	return true
}

// due sends a message once more.
func (f *flight) due() {
	c := f.session
	c.flights.mu.Lock()
	if f.landed || c.ended.Load() {
		c.flights.mu.Unlock()
		return
	}
	if f.left == 0 {
		f.timer = nil
		c.flights.mu.Unlock()
		return
	}
	f.left--
	round := f.every == roundAfter
	f.timer = c.svc.clock.AfterFunc(f.every, f.due)
	c.flights.mu.Unlock()
	if round {
		c.svc.countRound(c.id.Instance, f.device, f.message, func(left int) int { return left - 1 })
	}
	f.again()
}

// land ends the resends of a message that was acknowledged.
func (f *flight) land() {
	c := f.session
	c.flights.mu.Lock()
	f.landed = true
	if f.timer != nil {
		f.timer.Stop()
	}
	delete(c.flights.all, key(f.device, f.message))
	c.flights.mu.Unlock()
	c.svc.countRound(c.id.Instance, f.device, f.message, func(int) int { return 0 })
}

// countRound changes how many rounds a message has left. That it was acknowledged may be lost with the process: then it
// comes once more, as QoS 1 allows.
func (s *Service) countRound(instance, device, message string, change func(left int) int) {
	_, _ = s.messages.Touch(key(instance, device), func(box mailbox) (mailbox, error) {
		kept := append([]Message(nil), box.Messages...)
		for i := range kept {
			if kept[i].ID == message {
				kept[i].Rounds = max(0, change(kept[i].Rounds))
			}
		}
		return mailbox{kept}, nil
	})
}
