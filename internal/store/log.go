package store

import (
	"reflect"
	"sort"
	"sync"
)

// LogSpec describes a log.
type LogSpec[V any] struct {
	Name string
	// Count and Bytes bound what is held, the oldest goes first. Cost is what a value counts in Bytes.
	Count int
	Bytes int
	Cost  func(*V) int
	// Number, where set, writes a value's number into it.
	Number func(*V, uint64)
	Codec  Codec[V] // zero is JSON
}

// Log is a bounded list of values with growing numbers, the first is 1. Values are shared with the log
// and must not be changed. Its methods may be called concurrently.
type Log[V any] struct {
	spec  LogSpec[V]
	files *segments // nil keeps nothing beyond memory

	loaded chan struct{} // closed when everything that was kept is held

	mu      sync.Mutex
	held    ring[entry[V]]
	last    uint64
	bytes   int
	dropped uint64
	partial bool // not loaded yet
}

type entry[V any] struct {
	number uint64
	value  V
}

// NewLog adds a log to s, with what the store's directory holds of it. All but the newest of that is read
// in the background: readers wait for it, Append does not.
func NewLog[V any](s *Store, spec LogSpec[V]) *Log[V] {
	if spec.Codec.encode == nil {
		spec.Codec = As(func(v V) V { return v }, func(v V) (V, error) { return v, nil })
	}
	l := &Log[V]{spec: spec, loaded: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs = append(s.logs, l)
	if s.image != nil {
		if err := l.takeImage(s.image); err != nil {
			s.errs = append(s.errs, err)
		}
		close(l.loaded)
		return l
	}
	older, err := l.open(s)
	if err != nil {
		s.errs = append(s.errs, err)
		l.files = nil
	}
	if len(older) == 0 || err != nil {
		close(l.loaded)
		return l
	}
	l.partial = true
	s.engine.background(func(stop <-chan struct{}) {
		defer close(l.loaded)
		l.loadOlder(older, stop)
	})
	return l
}

// open reads the last segment and returns the older ones.
func (l *Log[V]) open(s *Store) (older []segment, err error) {
	if s.engine == nil {
		return nil, nil
	}
	const parts, least, most = 16, 64 << 10, 4 << 20
	l.files, err = s.engine.segments(l.spec.Name, int64(min(max(l.spec.Bytes/parts, least), most)))
	if err != nil {
		return nil, err
	}
	older, err = l.files.load(l.decoder())
	if n := len(l.files.list); n > 0 { // an empty segment keeps the number
		l.last = max(l.last, l.files.list[n-1].first-1)
	}
	l.dropped = 0
	return older, err
}

// decoder holds records as they come.
func (l *Log[V]) decoder() func(number uint64, b []byte) error {
	return func(number uint64, b []byte) error {
		v, err := l.spec.Codec.Decode(b)
		if err != nil {
			return err
		}
		if l.spec.Number != nil {
			l.spec.Number(&v, number)
		}
		l.hold(number, v)
		return nil
	}
}

// loadOlder reads the segments before the last one and puts them before what is held already.
func (l *Log[V]) loadOlder(older []segment, stop <-chan struct{}) {
	past := &Log[V]{spec: l.spec}
	for _, seg := range older {
		select {
		case <-stop:
			return
		default:
		}
		if _, err := l.files.loadOne(seg, past.decoder()); err != nil {
			l.files.log.Error("part of a log cannot be read", "path", seg.path, "cause", err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now, last := l.held, l.last
	l.held, l.bytes, l.partial = past.held, past.bytes, false
	for i := range now.len() {
		e := now.at(i)
		l.hold(e.number, e.value)
	}
	l.last = last
}

// Append adds values, all of which are committed when it returns, and returns the number of the last.
func (l *Log[V]) Append(values ...V) uint64 {
	number, b := l.append(values)
	b.settle()
	return number
}

// append adds values to what is to be written next.
func (l *Log[V]) append(values []V) (number uint64, b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range values {
		number = l.last + 1
		if l.spec.Number != nil {
			l.spec.Number(&v, number)
		}
		l.hold(number, v)
		if l.files != nil {
			b = l.files.add(number, func(dst []byte) []byte { return l.spec.Codec.Encode(dst, v) })
		}
	}
	if b != nil && !l.partial {
		l.files.floor.Store(l.held.at(0).number)
	}
	return number, b
}

// hold puts a value behind the others and drops what the limits push out. The caller holds mu.
func (l *Log[V]) hold(number uint64, v V) {
	size := l.spec.Cost(&v)
	for l.held.len() > 0 && (l.held.len() >= l.spec.Count || l.bytes+size > l.spec.Bytes) {
		l.bytes -= l.spec.Cost(&l.held.at(0).value)
		l.held.pop()
		l.dropped++
	}
	l.last = number
	l.held.push(entry[V]{number, v})
	l.bytes += size
}

// Read returns the values after number since that match (nil takes all), oldest first, at most limit of
// them (0 is no limit), and the number to continue after.
func (l *Log[V]) Read(since uint64, match func(*V) bool, limit int) (values []V, next uint64) {
	<-l.loaded
	l.mu.Lock()
	defer l.mu.Unlock()
	next = max(since, l.last)
	first := sort.Search(l.held.len(), func(i int) bool { return l.held.at(i).number > since })
	for i := first; i < l.held.len(); i++ {
		e := l.held.at(i)
		if match != nil && !match(&e.value) {
			continue
		}
		values = append(values, e.value)
		if limit > 0 && len(values) == limit {
			return values, e.number
		}
	}
	return values, next
}

// Last returns the newest number, 0 when there was none yet.
func (l *Log[V]) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Len returns how many values are held.
func (l *Log[V]) Len() int {
	<-l.loaded
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.len()
}

// Dropped returns how many values the limits have pushed out since the start.
func (l *Log[V]) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Clear forgets every value. Numbers go on.
func (l *Log[V]) Clear() {
	<-l.loaded
	empty := func() uint64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held, l.bytes = ring[entry[V]]{}, 0
		if l.files != nil {
			l.files.discard()
		}
		return l.last + 1
	}
	if l.files == nil {
		empty()
		return
	}
	l.files.clear(empty)
}

func (l *Log[V]) probe() Probe { return l.spec.Codec.erased.probe(l.spec.Name, reflect.TypeFor[V]()) }
