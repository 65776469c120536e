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
	logs   []interface{ Clear() }
	errs   []error
}

// anyTable is a Table whatever its values are.
type anyTable interface {
	lock()
	unlock()
	empty() // under lock
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
	if b != nil {
		s.engine.settle(b)
	}
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

// restore decodes what the engine kept of a table.
func restore[V any](s *Store, name string, codec Codec[V]) map[string]V {
	rows := map[string]V{}
	if s.engine == nil {
		return rows
	}
	for k, b := range s.engine.rows(name) {
		v, err := codec.Decode(b)
		if err != nil {
			s.errs = append(s.errs, fmt.Errorf("state in %s: table %s, row %q cannot be read: %w", s.engine, name, k, err))
			continue
		}
		rows[k] = v
	}
	return rows
}
