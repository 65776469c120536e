package journal

import (
	"context"
	"sort"
	"sync"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The ring's limits; the oldest events are dropped beyond them.
const (
	DefaultEvents = 100_000
	DefaultBytes  = 64 << 20
)

// overhead is what an event costs beside its strings and payload.
const overhead = 320

// Options sets limits. Zero values take the defaults.
type Options struct {
	Events int // at most so many events
	Bytes  int // at most so many bytes, counted as text and payload plus a fixed part
}

// Journal is a bounded ring of events. Its methods may be called concurrently.
type Journal struct {
	clock clock.Clock
	rules *rule.Table
	opt   Options

	mu      sync.Mutex
	ring    ring
	last    uint64 // sequence number of the newest event; the first event has 1
	bytes   int
	dropped uint64
	changed chan struct{} // closed and replaced on append while somebody waits
	waiting int
}

// New returns an empty journal that explains refusals from rules.
func New(c clock.Clock, rules *rule.Table, opt Options) *Journal {
	if opt.Events <= 0 {
		opt.Events = DefaultEvents
	}
	if opt.Bytes <= 0 {
		opt.Bytes = DefaultBytes
	}
	return &Journal{clock: c, rules: rules, opt: opt, changed: make(chan struct{})}
}

// Append stamps e with sequence number and time, fills fix and source (and a missing detail) of a rule
// from the table, and returns the sequence number.
func (j *Journal) Append(e Event) uint64 {
	if e.Rule != "" {
		j.explain(&e)
	}
	e.Time = j.clock.Wall().UTC()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	e.Seq = j.last
	j.hold(&e)
	j.wake()
	return e.Seq
}

// Refuse appends the refused event of r; where says on which connection, device and step it happened.
func (j *Journal) Refuse(where Event, r *rule.Refusal) uint64 {
	where.Kind, where.Rule, where.Detail, where.Seen, where.Expected = Refused, r.Rule, r.Detail, r.Seen, r.Expected
	if !r.Silent {
		where.Code = Code(r.Code)
	}
	return j.Append(where)
}

func (j *Journal) explain(e *Event) {
	r, c, _ := j.rules.Cause(e.Rule)
	if e.Source == "" {
		e.Source = r.Source
	}
	if e.Fix == "" {
		e.Fix = c.Fix
	}
	if e.Detail == "" {
		e.Detail = c.Why
	}
}

func cost(e *Event) int {
	n := overhead + len(e.Payload) + len(e.Topic) + len(e.Device) + len(e.Detail) + len(e.Seen) + len(e.Expected)
	for k, v := range e.Properties {
		n += len(k) + len(v) + 32
	}
	return n
}

// Last returns the newest sequence number, 0 when nothing has happened yet.
func (j *Journal) Last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// Dropped returns how many events the limits have pushed out.
func (j *Journal) Dropped() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dropped
}

// Select returns the events after f.Since that match f, oldest first, at most f.Limit of them, and the
// sequence number to continue after.
func (j *Journal) Select(f Filter) (events []Event, next uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.selectLocked(f)
}

func (j *Journal) selectLocked(f Filter) (events []Event, next uint64) {
	next = max(f.Since, j.last)
	for i := j.after(f.Since); i < j.ring.len(); i++ {
		e := j.ring.at(i)
		if !f.matches(e) {
			continue
		}
		events = append(events, *e)
		if f.Limit > 0 && len(events) == f.Limit {
			return events, e.Seq
		}
	}
	return events, next
}

// after returns the index of the first event with a larger sequence number. The caller holds mu.
func (j *Journal) after(since uint64) int {
	return sort.Search(j.ring.len(), func(i int) bool { return j.ring.at(i).Seq > since })
}

// Newest returns the last events after the sequence number since, oldest first, at most n of them.
func (j *Journal) Newest(since uint64, n int) []Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := max(j.after(since), j.ring.len()-n)
	events := make([]Event, 0, j.ring.len()-first)
	for i := first; i < j.ring.len(); i++ {
		events = append(events, *j.ring.at(i))
	}
	return events
}

// Clear forgets every event. Sequence numbers go on.
func (j *Journal) Clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ring, j.bytes = ring{}, 0
}

// Forget removes the events that gone says. Sequence numbers go on.
func (j *Journal) Forget(gone func(*Event) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.ring
	j.ring, j.bytes = ring{}, 0
	for i := range now.len() {
		if e := now.at(i); !gone(e) {
			j.hold(e)
		}
	}
}

// Continue lets sequence numbers go on after last. It is called before the first event.
func (j *Journal) Continue(last uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = last
}

// Restore puts events of an earlier life, oldest first, before those that are held.
func (j *Journal) Restore(past []Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.ring
	j.ring, j.bytes = ring{}, 0
	for i := range past {
		j.hold(&past[i])
	}
	for i := range now.len() {
		j.hold(now.at(i))
	}
	j.wake()
}

// wake lets those who wait look again. The caller holds mu.
func (j *Journal) wake() {
	if j.waiting > 0 {
		close(j.changed)
		j.changed = make(chan struct{})
	}
}

// hold puts e behind the others and drops what the limits push out. The caller holds mu.
func (j *Journal) hold(e *Event) {
	size := cost(e)
	for j.ring.len() > 0 && (j.ring.len() >= j.opt.Events || j.bytes+size > j.opt.Bytes) {
		j.bytes -= cost(j.ring.at(0))
		j.ring.pop()
		j.dropped++
	}
	j.ring.push(e)
	j.bytes += size
}

// Wait returns as soon as count events after f.Since match f. When ctx ends first it returns what has
// matched so far together with ctx's error.
func (j *Journal) Wait(ctx context.Context, f Filter, count int) (events []Event, next uint64, err error) {
	f.Limit = count
	for {
		j.mu.Lock()
		events, next = j.selectLocked(f)
		if len(events) >= count {
			j.mu.Unlock()
			return events, next, nil
		}
		changed := j.changed
		j.waiting++
		j.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		j.mu.Lock()
		j.waiting--
		j.mu.Unlock()
		if err != nil {
			return events, next, err
		}
	}
}
