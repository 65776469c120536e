package store

import (
	"maps"
	"sort"
	"strings"
	"sync"
)

// rows is all of a table that does not depend on the type of its values: it knows them as pointers, and never
// changes in place what a pointer leads to. The methods of a generic type are compiled anew for each type
// argument, and there are some fifty tables; these are compiled once.
type rows struct {
	name   string
	engine engine
	codec  codec
	mu     sync.RWMutex
	held   map[string]any
	// raw are rows as they were kept that nobody has asked for yet: a start need not decode what a
	// directory holds of ten thousand devices.
	raw map[string][]byte
}

// submit queues a change for the engine, in the order of the caller's lock, and returns what to settle without
// a lock, so that other changes can join the same transaction.
func (r *rows) submit(key string, value any) *batch {
	if r.engine == nil {
		return nil
	}
	return r.engine.submit(change{kind: put, table: r.name, key: key, value: r.codec.encode(value)})
}

// find returns the value under key, decoded where it was not yet; nil is none. The caller holds mu for writing.
func (r *rows) find(key string) any {
	if value, ok := r.held[key]; ok {
		return value
	}
	b, ok := r.raw[key]
	if !ok {
		return nil
	}
	value, err := r.codec.decode(b)
	if err != nil {
		r.engine.unreadable(r.name, key, err)
		return nil
	}
	r.set(key, value)
	return value
}

// set puts a value into memory. The caller holds mu for writing.
func (r *rows) set(key string, value any) {
	r.held[key] = value
	delete(r.raw, key)
}

// get returns the value under key, or nil.
func (r *rows) get(key string) any {
	r.mu.RLock()
	value, ok := r.held[key]
	_, kept := r.raw[key]
	r.mu.RUnlock()
	if !ok && kept {
		r.mu.Lock()
		value = r.find(key)
		r.mu.Unlock()
	}
	return value
}

func (r *rows) put(key string, value any) { r.submitPut(key, value).Wait() }

func (r *rows) submitPut(key string, value any) Pending {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set(key, value)
	return Pending{r.submit(key, value)}
}

func (r *rows) create(key string, value any) error {
	r.mu.Lock()
	if r.find(key) != nil {
		r.mu.Unlock()
		return ErrExists
	}
	r.set(key, value)
	b := r.submit(key, value)
	r.mu.Unlock()
	b.settle()
	return nil
}

// update puts what change makes of the value under key in its place, and returns it. On an error it returns
// the value that is there, nil where there is none.
func (r *rows) update(key string, change func(old any) (any, error)) (any, *batch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.find(key)
	if old == nil {
		return nil, nil, ErrNotFound
	}
	value, err := change(old)
	if err != nil {
		return old, nil, err
	}
	r.held[key] = value
	return value, r.submit(key, value), nil
}

// Delete removes the value under key and reports whether there was one.
func (r *rows) Delete(key string) bool {
	r.mu.Lock()
	_, ok := r.held[key]
	_, kept := r.raw[key]
	ok = ok || kept
	delete(r.held, key)
	delete(r.raw, key)
	var b *batch
	if ok && r.engine != nil {
		b = r.engine.submit(change{kind: remove, table: r.name, key: key})
	}
	r.mu.Unlock()
	b.settle()
	return ok
}

// DeleteAll removes several rows, and waits for the commit once.
func (r *rows) DeleteAll(keys ...string) { r.SubmitDelete(keys...).Wait() }

// SubmitDelete is DeleteAll that does not wait for the commit.
func (r *rows) SubmitDelete(keys ...string) Pending {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b *batch
	for _, key := range keys {
		_, held := r.held[key]
		_, kept := r.raw[key]
		delete(r.held, key)
		delete(r.raw, key)
		if r.engine != nil && (held || kept) {
			b = r.engine.submit(change{kind: remove, table: r.name, key: key})
		}
	}
	return Pending{b}
}

// Keys returns the keys that start with prefix, unordered and without looking at any value.
func (r *rows) Keys(prefix string) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	keys := make([]string, 0, len(r.held)+len(r.raw))
	for k := range r.held {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	for k := range r.raw {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	return keys
}

// list returns the values whose key starts with prefix, ordered by key.
func (r *rows) list(prefix string) []any {
	keys := r.Keys(prefix)
	sort.Strings(keys)
	values := make([]any, 0, len(keys))
	for _, k := range keys {
		if value := r.get(k); value != nil {
			values = append(values, value)
		}
	}
	return values
}

// Len returns the number of rows.
func (r *rows) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.held) + len(r.raw)
}

func (r *rows) lock()             { r.mu.Lock() }
func (r *rows) unlock()           { r.mu.Unlock() }
func (r *rows) empty()            { r.held, r.raw = map[string]any{}, nil }
func (r *rows) called() string    { return r.name }
func (r *rows) keepWith(e engine) { r.engine = e }

// encoded returns every row as it is kept. Values are never changed in place, so that a copy of the map
// will do for whoever encodes after the lock.
func (r *rows) encoded() func() map[string][]byte {
	held, raw := maps.Clone(r.held), maps.Clone(r.raw)
	return func() map[string][]byte {
		all := make(map[string][]byte, len(held)+len(raw))
		for k, value := range held {
			all[k] = r.codec.encode(value)
		}
		maps.Copy(all, raw)
		return all
	}
}
