package clock

import (
	"container/heap"
	"errors"
	"sync"
	"time"
)

// Clock is what a platform sees of time.
type Clock interface {
	// Now is the timers reading.
	Now() time.Time
	// Wall is the reading that judges credentials and stamps events.
	Wall() time.Time
	// AfterFunc calls f in its own goroutine once the timers reading has moved on by d.
	// A d of zero or less is due at once.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is a pending AfterFunc call.
type Timer interface {
	// Stop prevents the call and reports whether it did; false means that it ran or was stopped before.
	Stop() bool
}

// ErrBackwards refuses a negative Advance: due times that have passed cannot be taken back.
var ErrBackwards = errors.New("time cannot move backwards")

// Control is a Clock whose timers reading can be frozen and advanced and whose wall reading can be skewed.
// Its methods may be called concurrently.
type Control struct {
	mu     sync.Mutex
	base   time.Time     // real time at which offset was last fixed
	origin time.Time     // timers reading at base
	frozen bool          // the timers reading stands at origin
	skew   time.Duration // wall = real time + skew
	due    timerHeap
	wake   *time.Timer // fires for the earliest timer; nil until there is one
	seq    uint64
}

var _ Clock = (*Control)(nil)

// New returns a clock whose two readings both follow real time.
func New() *Control {
	now := time.Now()
	return &Control{base: now, origin: now}
}

// Now returns the timers reading.
func (c *Control) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Control) now() time.Time {
	if c.frozen {
		return c.origin
	}
	return c.origin.Add(time.Since(c.base))
}

// Wall returns real time plus the skew.
func (c *Control) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew)
}

// Skew sets how far the wall reading stands from real time; negative is behind.
func (c *Control) Skew(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew = by
}

// Skewed returns the wall reading's distance from real time.
func (c *Control) Skewed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skew
}

// Freeze stops the timers reading; Advance still moves it.
func (c *Control) Freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.origin, c.base, c.frozen = c.now(), time.Now(), true
	c.arm()
}

// Resume lets the timers reading run again from where it stands.
func (c *Control) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen {
		c.base, c.frozen = time.Now(), false
		c.arm()
	}
}

// Frozen reports whether the timers reading stands still.
func (c *Control) Frozen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frozen
}

// Advance moves the timers reading on by d, runs what becomes due in order of its due time, on the
// caller's goroutine, and returns when all of it has run. Timers that those calls set within the same
// span run too.
func (c *Control) Advance(d time.Duration) error {
	if d < 0 {
		return ErrBackwards
	}
	c.mu.Lock()
	target := c.now().Add(d)
	for len(c.due) > 0 && !c.due[0].at.After(target) {
		t := heap.Pop(&c.due).(*timer)
		if t.at.After(c.now()) {
			c.origin, c.base = t.at, time.Now()
		}
		c.mu.Unlock()
		t.call()
		c.mu.Lock()
	}
	if target.After(c.now()) {
		c.origin, c.base = target, time.Now()
	}
	c.arm()
	c.mu.Unlock()
	return nil
}

// AfterFunc implements Clock.
func (c *Control) AfterFunc(d time.Duration, f func()) Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	t := &timer{clock: c, at: c.now().Add(max(d, 0)), seq: c.seq, call: f}
	heap.Push(&c.due, t)
	if t.index == 0 {
		c.arm()
	}
	return t
}

// arm sets the real timer for the earliest due time. The caller holds mu.
func (c *Control) arm() {
	if c.wake != nil {
		c.wake.Stop()
		c.wake = nil
	}
	if c.frozen || len(c.due) == 0 {
		return
	}
	c.wake = time.AfterFunc(c.due[0].at.Sub(c.now()), c.fire)
}

// fire starts every timer that real time has made due.
func (c *Control) fire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.frozen {
		for now := c.now(); len(c.due) > 0 && !c.due[0].at.After(now); {
			t := heap.Pop(&c.due).(*timer)
			go t.call()
		}
	}
	c.arm()
}

type timer struct {
	clock *Control
	at    time.Time
	seq   uint64 // keeps timers of one due time in the order they were set
	index int
	call  func()
}

// Stop implements Timer.
func (t *timer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	if t.index < 0 {
		return false
	}
	first := t.index == 0
	heap.Remove(&t.clock.due, t.index)
	if first {
		t.clock.arm()
	}
	return true
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
