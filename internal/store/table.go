package store

import (
	"maps"
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
	// raw are rows as they were kept that nobody has asked for yet: a start need not decode what a
	// directory holds of ten thousand devices.
	raw map[string][]byte
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
	t.rows, t.raw = restore(s, name, t.codec)
	s.tables = append(s.tables, t)
	return t
}

// submit queues a change for the engine, in the order of the caller's lock, and returns what to settle without
// a lock, so that other changes can join the same transaction.
func (t *Table[V]) submit(key string, v V) *batch {
	if t.engine == nil {
		return nil
	}
	return t.engine.submit(change{kind: put, table: t.name, key: key, value: t.codec.Encode(nil, v)})
}

// find returns the value under key, decoded where it was not yet. The caller holds mu for writing.
func (t *Table[V]) find(key string) (V, bool) {
	if v, ok := t.rows[key]; ok {
		return v, true
	}
	b, ok := t.raw[key]
	if !ok {
		var none V
		return none, false
	}
	v, err := t.codec.Decode(b)
	if err != nil {
		t.engine.unreadable(t.name, key, err)
		return v, false
	}
	t.set(key, v)
	return v, true
}

// set puts a value into memory. The caller holds mu for writing.
func (t *Table[V]) set(key string, v V) {
	t.rows[key] = v
	delete(t.raw, key)
}

// Get returns a copy of the value under key.
func (t *Table[V]) Get(key string) (V, bool) {
	t.mu.RLock()
	v, ok := t.rows[key]
	_, kept := t.raw[key]
	t.mu.RUnlock()
	if !ok && kept {
		t.mu.Lock()
		v, ok = t.find(key)
		t.mu.Unlock()
	}
	if !ok {
		return v, false
	}
	return t.clone(v), true
}

// Put stores v under key, whatever was there.
func (t *Table[V]) Put(key string, v V) {
	v = t.clone(v)
	t.mu.Lock()
	t.set(key, v)
	b := t.submit(key, v)
	t.mu.Unlock()
	b.settle()
}

// Create stores v under a key that must be free, else ErrExists.
func (t *Table[V]) Create(key string, v V) error {
	v = t.clone(v)
	t.mu.Lock()
	if _, taken := t.find(key); taken {
		t.mu.Unlock()
		return ErrExists
	}
	t.set(key, v)
	b := t.submit(key, v)
	t.mu.Unlock()
	b.settle()
	return nil
}

// Update replaces the value under key with what change makes of it, as one step. It returns the new
// value; ErrNotFound when there is none, or change's error, both without a change. change must not call
// the store.
func (t *Table[V]) Update(key string, change func(V) (V, error)) (V, error) {
	v, b, err := t.update(key, change)
	b.settle()
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
	old, ok := t.find(key)
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
	_, kept := t.raw[key]
	ok = ok || kept
	delete(t.rows, key)
	delete(t.raw, key)
	var b *batch
	if ok && t.engine != nil {
		b = t.engine.submit(change{kind: remove, table: t.name, key: key})
	}
	t.mu.Unlock()
	b.settle()
	return ok
}

// DeleteAll removes several rows, and waits for the commit once.
func (t *Table[V]) DeleteAll(keys ...string) {
	t.mu.Lock()
	var b *batch
	for _, key := range keys {
		delete(t.rows, key)
		delete(t.raw, key)
		if t.engine != nil {
			b = t.engine.submit(change{kind: remove, table: t.name, key: key})
		}
	}
	t.mu.Unlock()
	b.settle()
}

// List returns copies of the values whose key starts with prefix, ordered by key. What changes meanwhile
// may be in it or not.
func (t *Table[V]) List(prefix string) []V {
	keys := t.Keys(prefix)
	sort.Strings(keys)
	values := make([]V, 0, len(keys))
	for _, k := range keys {
		if v, ok := t.Get(k); ok {
			values = append(values, v)
		}
	}
	return values
}

// Keys returns the keys that start with prefix, unordered and without looking at any value.
func (t *Table[V]) Keys(prefix string) []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	keys := make([]string, 0, len(t.rows)+len(t.raw))
	for k := range t.rows {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	for k := range t.raw {
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
	return len(t.rows) + len(t.raw)
}

func (t *Table[V]) lock()             { t.mu.Lock() }
func (t *Table[V]) unlock()           { t.mu.Unlock() }
func (t *Table[V]) empty()            { t.rows, t.raw = map[string]V{}, nil }
func (t *Table[V]) called() string    { return t.name }
func (t *Table[V]) keepWith(e engine) { t.engine = e }

// encoded returns every row as it is kept. Values are never changed in place, so that a copy of the map
// will do for whoever encodes after the lock.
func (t *Table[V]) encoded() func() map[string][]byte {
	rows, raw, codec := maps.Clone(t.rows), maps.Clone(t.raw), t.codec
	return func() map[string][]byte {
		all := make(map[string][]byte, len(rows)+len(raw))
		for k, v := range rows {
			all[k] = codec.Encode(nil, v)
		}
		maps.Copy(all, raw)
		return all
	}
}
