package fault

import (
	"slices"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// A failover differs from other faults in that it happens when it is set, not when somebody comes to its step,
// and ends by itself.

// Watch makes f be called whenever a failover has begun or ended, by whatever goroutine. It is called before
// any fault is put.
func (s *Set) Watch(f func()) { s.watch = f }

// AnyFailover reports whether any hub is away.
func (s *Set) AnyFailover() bool { return s != nil && s.away.Load() }

// FailingOver reports whether a hub is away.
func (s *Set) FailingOver(hub string) bool {
	if !s.AnyFailover() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.faults, func(f *live) bool {
		return f.Action.Failover != nil && f.Match.matches(Where{Step: Hub, Platform: iotHub, Endpoint: hub})
	})
}

// begin starts the time of a failover. The caller holds mu.
func (s *Set) begin(l *live) {
	if l.Action.Failover == nil {
		return
	}
	span := time.Duration(*l.Action.Failover)
	l.until = s.clock.Now().Add(span)
	l.timer = s.clock.AfterFunc(span, func() { s.over(l) })
}

// stop keeps a failover from ending by itself.
func (l *live) stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
}

// over ends a failover whose time has passed.
func (s *Set) over(l *live) {
	s.mu.Lock()
	n := len(s.faults)
	s.faults = slices.DeleteFunc(s.faults, func(f *live) bool { return f == l })
	was := len(s.faults) < n
	s.arm()
	s.mu.Unlock()
	if !was {
		return
	}
	s.journal.Append(journal.Event{Kind: journal.Fault, Platform: iotHub, Endpoint: l.Match.Endpoint,
		Detail: "fault " + l.ID + " at " + string(Hub) + " is over"})
	s.hubsChanged()
}

// hubsChanged tells whoever watches that hubs may have gone or come back, unless there was and is no failover.
func (s *Set) hubsChanged() {
	s.mu.Lock()
	now := slices.ContainsFunc(s.faults, func(f *live) bool { return f.Action.Failover != nil })
	before := s.away.Swap(now)
	s.mu.Unlock()
	if (now || before) && s.watch != nil {
		s.watch()
	}
}
