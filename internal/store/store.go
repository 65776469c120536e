package store

import (
	"errors"
	"sort"
	"strings"
	"sync"
)

// Sentinel errors of tables.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
)

// Store groups the tables of one instance, so that they can be emptied together.
type Store struct {
	mu     sync.Mutex
	tables []interface{ clear() }
}

// New returns an empty store in memory.
func New() *Store { return &Store{} }

// Clear empties every table.
func (s *Store) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		t.clear()
	}
}

// Table maps keys to values of one type. Values are cloned on their way in and out, so that nobody
// shares memory with the table. Its methods may be called concurrently.
type Table[V any] struct {
	name  string
	clone func(V) V
	mu    sync.RWMutex
	rows  map[string]V
}

// NewTable adds a table to s. clone returns a deep copy; nil will do for values without pointers, maps
// and slices.
func NewTable[V any](s *Store, name string, clone func(V) V) *Table[V] {
	if clone == nil {
		clone = func(v V) V { return v }
	}
	t := &Table[V]{name: name, clone: clone, rows: map[string]V{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables = append(s.tables, t)
	return t
}

// Get returns a copy of the value under key.
func (t *Table[V]) Get(key string) (V, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v, ok := t.rows[key]
	if !ok {
		return v, false
	}
	return t.clone(v), true
}

// Put stores v under key, whatever was there.
func (t *Table[V]) Put(key string, v V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows[key] = t.clone(v)
}

// Create stores v under a key that must be free, else ErrExists.
func (t *Table[V]) Create(key string, v V) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, taken := t.rows[key]; taken {
		return ErrExists
	}
	t.rows[key] = t.clone(v)
	return nil
}

// Update replaces the value under key with what change makes of it, as one step. It returns the new
// value; ErrNotFound when there is none, or change's error, both without a change.
func (t *Table[V]) Update(key string, change func(V) (V, error)) (V, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, ok := t.rows[key]
	if !ok {
		return old, ErrNotFound
	}
	v, err := change(t.clone(old))
	if err != nil {
		return t.clone(old), err
	}
	t.rows[key] = t.clone(v)
	return v, nil
}

// Delete removes the value under key and reports whether there was one.
func (t *Table[V]) Delete(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.rows[key]
	delete(t.rows, key)
	return ok
}

// List returns copies of the values whose key starts with prefix, ordered by key.
func (t *Table[V]) List(prefix string) []V {
	t.mu.RLock()
	defer t.mu.RUnlock()
	keys := make([]string, 0, len(t.rows))
	for k := range t.rows {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	values := make([]V, len(keys))
	for i, k := range keys {
		values[i] = t.clone(t.rows[k])
	}
	return values
}

// Len returns the number of rows.
func (t *Table[V]) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.rows)
}

func (t *Table[V]) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = map[string]V{}
}
