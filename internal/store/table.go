package store

import (
	"sort"
	"strings"
	"sync"
)

// Table maps keys to values of one type. Values are cloned on their way in and out, so that nobody
// shares memory with the table. Its methods may be called concurrently; what they change is committed
// when they return. A reader may see a change shortly before that; whatever it writes in turn is
// committed after it.
type Table[V any] struct {
	name   string
	clone  func(V) V
	codec  Codec[V]
	engine engine
	mu     sync.RWMutex
	rows   map[string]V
}

// NewTable adds a table to s, with what the store's directory holds of it. clone returns a deep copy; nil
// will do for values without pointers, maps and slices. Values are kept as JSON unless a codec is given;
// a type whose JSON loses something (unexported or "-" fields) needs one.
func NewTable[V any](s *Store, name string, clone func(V) V, codec ...Codec[V]) *Table[V] {
	if clone == nil {
		clone = func(v V) V { return v }
	}
	t := &Table[V]{name: name, clone: clone, codec: JSON[V](), engine: s.engine}
	if len(codec) > 0 {
		t.codec = codec[0]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.rows = restore(s, name, t.codec)
	s.tables = append(s.tables, t)
	return t
}

// submit queues a change for the engine, in the order of the caller's lock.
func (t *Table[V]) submit(key string, v V) *batch {
	if t.engine == nil {
		return nil
	}
	return t.engine.submit(change{kind: put, table: t.name, key: key, value: t.codec.Encode(nil, v)})
}

// settle waits until the engine has committed. The caller holds no lock, so that other changes can join
// the same transaction.
func (t *Table[V]) settle(b *batch) {
	if b != nil {
		t.engine.settle(b)
	}
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
	v = t.clone(v)
	t.mu.Lock()
	t.rows[key] = v
	b := t.submit(key, v)
	t.mu.Unlock()
	t.settle(b)
}

// Create stores v under a key that must be free, else ErrExists.
func (t *Table[V]) Create(key string, v V) error {
	v = t.clone(v)
	t.mu.Lock()
	if _, taken := t.rows[key]; taken {
		t.mu.Unlock()
		return ErrExists
	}
	t.rows[key] = v
	b := t.submit(key, v)
	t.mu.Unlock()
	t.settle(b)
	return nil
}

// Update replaces the value under key with what change makes of it, as one step. It returns the new
// value; ErrNotFound when there is none, or change's error, both without a change. change must not call
// the store.
func (t *Table[V]) Update(key string, change func(V) (V, error)) (V, error) {
	v, b, err := t.update(key, change)
	t.settle(b)
	return v, err
}

// Touch is Update for what may be lost with the process: it does not wait for the commit, which comes
// with the next change that does, or within seconds.
func (t *Table[V]) Touch(key string, change func(V) (V, error)) (V, error) {
	v, _, err := t.update(key, change)
	return v, err
}

func (t *Table[V]) update(key string, change func(V) (V, error)) (V, *batch, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, ok := t.rows[key]
	if !ok {
		return old, nil, ErrNotFound
	}
	v, err := change(t.clone(old))
	if err != nil {
		return t.clone(old), nil, err
	}
	t.rows[key] = t.clone(v)
	return v, t.submit(key, v), nil
}

// Delete removes the value under key and reports whether there was one.
func (t *Table[V]) Delete(key string) bool {
	t.mu.Lock()
	_, ok := t.rows[key]
	delete(t.rows, key)
	var b *batch
	if ok && t.engine != nil {
		b = t.engine.submit(change{kind: remove, table: t.name, key: key})
	}
	t.mu.Unlock()
	t.settle(b)
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

// Keys returns the keys that start with prefix, unordered and without copying any value.
func (t *Table[V]) Keys(prefix string) []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	keys := make([]string, 0, len(t.rows))
	for k := range t.rows {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	return keys
}

// Len returns the number of rows.
func (t *Table[V]) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.rows)
}

func (t *Table[V]) lock()   { t.mu.Lock() }
func (t *Table[V]) unlock() { t.mu.Unlock() }
func (t *Table[V]) empty()  { t.rows = map[string]V{} }
