package broker

import (
	"sync"
	"time"
)

// A client with several messages on their way gets its PUBACKs in one write when we have read the
// messages in one go. The acks wait until the next read at most, and never longer than ackDelay.
const (
	ackDelay = time.Millisecond
	maxAcks  = 1024 // bytes
)

// acks are PUBACKs that wait to be written.
type acks struct {
	mu      sync.Mutex
	waiting []byte
	spare   []byte
	timer   *time.Timer // runs while the platform judges and acks wait
}

// add queues one PUBACK and reports whether it is time to write.
func (a *acks) add(packet ...byte) (full bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = append(a.waiting, packet...)
	return len(a.waiting) >= maxAcks
}

func (a *acks) some() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting) > 0
}

// take returns what waits, for the one who writes.
func (a *acks) take() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.waiting
	a.waiting, a.spare = a.spare, nil
	return b
}

// reuse gives back the memory of take, unless it has grown.
func (a *acks) reuse(b []byte) {
	if cap(b) > maxAcks {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spare = b[:0]
}

// writeAcks writes the acks that wait; a failure ends the connection by itself.
func (c *conn) writeAcks() {
	if c.acks.some() {
		_, _ = c.Write(nil)
	}
}

// watchAcks sees to it that acks do not wait for a platform that takes its time with the next message.
// The caller calls the returned function when the platform is done.
func (c *conn) watchAcks() (done func()) {
	if !c.acks.some() {
		return nothing
	}
	if c.acks.timer == nil {
		c.acks.timer = time.AfterFunc(ackDelay, c.writeAcks)
	} else {
		c.acks.timer.Reset(ackDelay)
	}
	return func() { c.acks.timer.Stop() }
}

func nothing() {}
