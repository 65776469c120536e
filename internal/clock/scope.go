package clock

import (
	"sync"
	"time"
)

// Scope is a Clock whose timers end together: whoever is thrown away as a whole need not find the timers
// of each of its parts. Its methods may be called concurrently.
type Scope struct {
	clock Clock

	mu     sync.Mutex
	timers map[*scoped]struct{}
	closed bool
}

var _ Clock = (*Scope)(nil)

// NewScope returns a scope of c.
func NewScope(c Clock) *Scope { return &Scope{clock: c, timers: map[*scoped]struct{}{}} }

// Now implements Clock.
func (s *Scope) Now() time.Time { return s.clock.Now() }

// Wall implements Clock.
func (s *Scope) Wall() time.Time { return s.clock.Wall() }

// AfterFunc implements Clock. After Close nothing is called any more.
func (s *Scope) AfterFunc(d time.Duration, f func()) Timer {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &scoped{scope: s}
	if s.closed {
		return t
	}
	s.timers[t] = struct{}{}
	t.timer = s.clock.AfterFunc(d, func() {
		if t.take() {
			f()
		}
	})
	return t
}

// Close stops every timer.
func (s *Scope) Close() {
	s.mu.Lock()
	timers := s.timers
	s.timers, s.closed = nil, true
	s.mu.Unlock()
	for t := range timers {
		t.timer.Stop()
	}
}

// scoped is a timer of a scope. timer is nil when it was set after Close.
type scoped struct {
	scope *Scope
	timer Timer
}

// take makes the caller the one that ends the timer.
func (t *scoped) take() bool {
	t.scope.mu.Lock()
	defer t.scope.mu.Unlock()
	_, pending := t.scope.timers[t]
	delete(t.scope.timers, t)
	return pending
}

// Stop implements Timer.
func (t *scoped) Stop() bool {
	if !t.take() {
		return false
	}
	t.timer.Stop()
	return true
}
