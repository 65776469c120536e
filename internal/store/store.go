package store

import (
	"errors"
	"fmt"
	"sync"
)

// Sentinel errors of tables.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
)

// Store groups the tables and logs of one instance.
type Store struct {
	engine engine // nil keeps nothing beyond memory

	mu     sync.Mutex
	tables []anyTable
	logs   []anyLog
	image  *Image // rows and records of tables and logs that are still to come
	errs   []error
}

// anyTable is a Table whatever its values are.
type anyTable interface {
	lock()
	unlock()
	empty()                            // under lock
	called() string                    //
	keepWith(engine)                   // under lock
	encoded() func() map[string][]byte // under lock
	probe() Probe
}

// New returns an empty store in memory.
func New() *Store { return &Store{} }

// Err tells which rows could not be read when their tables were added. Such rows are still in the file:
// an owner who goes on would lose them.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.errs...)
}

// Clear empties every table as one step, which a reader or a later start sees whole or not at all, and
// then the logs, whose numbers go on from where they were.
func (s *Store) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		t.lock()
	}
	var b *batch
	if s.engine != nil {
		b = s.engine.submit(change{kind: clearAll})
	}
	for _, t := range s.tables {
		t.empty()
		t.unlock()
	}
	b.settle()
	for _, l := range s.logs {
		l.Clear()
	}
}

// Close writes everything to the disk and lets go of the directory. Later changes stay in memory. It may
// be called more than once.
func (s *Store) Close() error {
	if s.engine == nil {
		return nil
	}
	return s.engine.close()
}

// sample is how many rows of a table are decoded at once, which tells whether its codec fits.
const sample = 100

// adopt adds a table, with what the image or the engine has kept of it. Some of the engine's rows are decoded
// at once.
func (s *Store) adopt(t anyTable, r *rows) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables = append(s.tables, t)
	r.held = map[string]any{}
	switch {
	case s.image != nil:
		s.fromImage(r)
		return
	case s.engine == nil:
		return
	}
	r.raw = s.engine.rows(r.name)
	for k, b := range r.raw {
		value, err := r.codec.decode(b)
		if err != nil {
			s.errs = append(s.errs, fmt.Errorf("state in %s: table %s, row %q cannot be read: %w", s.engine, r.name, k, err))
			return
		}
		r.set(k, value)
		if len(r.held) == sample {
			return
		}
	}
}
