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

// restore takes what the engine kept of a table and decodes some of it.
func restore[V any](s *Store, name string, codec Codec[V]) (rows map[string]V, raw map[string][]byte) {
	rows = map[string]V{}
	if s.image != nil {
		return fromImage(s, name, codec), nil
	}
	if s.engine == nil {
		return rows, nil
	}
	raw = s.engine.rows(name)
	for k, b := range raw {
		v, err := codec.Decode(b)
		if err != nil {
			s.errs = append(s.errs, fmt.Errorf("state in %s: table %s, row %q cannot be read: %w", s.engine, name, k, err))
			break
		}
		rows[k] = v
		delete(raw, k)
		if len(rows) == sample {
			break
		}
	}
	return rows, raw
}
