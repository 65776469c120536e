package iothub

import "sync"

// Consumer is a back end that reads the hubs' device-to-cloud messages as they are stored, as one behind a
// route or the events endpoint does.
type Consumer interface {
	// Consume gets a message that was just stored, and where it came from. What it returns runs once the
	// device has been told that its message is stored; nil is nothing. Neither may block.
	Consume(m Message, from Origin) (afterwards func())
}

// follow is what consumers want to do once the session's client has its acknowledgement.
type follow struct {
	mu   sync.Mutex
	todo []func()
}

// consume shows a stored message to the consumer. A will's client waits for no acknowledgement.
func (c *Session) consume(m Message, will bool) {
	if c.svc.consumer == nil {
		return
	}
	afterwards := c.svc.consumer.Consume(m, c.origin)
	switch {
	case afterwards == nil:
	case will:
		afterwards()
	default:
		c.follow.mu.Lock()
		c.follow.todo = append(c.follow.todo, afterwards)
		c.follow.mu.Unlock()
	}
}

// take returns what is to be done now, and forgets it.
func (f *follow) take() []func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	todo := f.todo
	f.todo = nil
	return todo
}

func (f *follow) empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.todo) == 0
}

// AwaitsAck reports whether the head must call Acknowledged when it has acknowledged the last message.
func (c *Session) AwaitsAck() bool { return c.wanted.Load() != nil || !c.follow.empty() }
