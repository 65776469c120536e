package store

import "sort"

// Table maps keys to values of one type. Values are cloned on their way in and out, so that nobody
// shares memory with the table. Its methods may be called concurrently; what they change is committed
// when they return. A reader may see a change shortly before that; whatever it writes in turn is
// committed after it.
type Table[V any] struct {
	rows
	clone func(V) V
	codec Codec[V]
}

// NewTable adds a table to s, with what the store's directory holds of it. clone returns a deep copy; nil
// will do for values without pointers, maps and slices. Values are kept as JSON unless a codec is given;
// a type whose JSON loses something (unexported or "-" fields) needs one.
func NewTable[V any](s *Store, name string, clone func(V) V, codec ...Codec[V]) *Table[V] {
	if clone == nil {
		clone = func(v V) V { return v }
	}
	t := &Table[V]{clone: clone, codec: JSON[V]()}
	if len(codec) > 0 {
		t.codec = codec[0]
	}
	t.name, t.engine = name, s.engine
	t.encode = func(value any) []byte { return t.codec.Encode(nil, *value.(*V)) }
	t.decode = func(b []byte) (any, error) {
		v, err := t.codec.Decode(b)
		return &v, err
	}
	s.adopt(t, &t.rows)
	return t
}

// out returns a copy of what a pointer leads to.
func (t *Table[V]) out(value any) (v V, ok bool) {
	if p, ok := value.(*V); ok {
		return t.clone(*p), true
	}
	return v, false
}

// in returns a pointer to a copy of v.
func (t *Table[V]) in(v V) any {
	v = t.clone(v)
	return &v
}

// Get returns a copy of the value under key.
func (t *Table[V]) Get(key string) (V, bool) { return t.out(t.get(key)) }

// Put stores v under key, whatever was there.
func (t *Table[V]) Put(key string, v V) { t.put(key, t.in(v)) }

// Create stores v under a key that must be free, else ErrExists.
func (t *Table[V]) Create(key string, v V) error { return t.create(key, t.in(v)) }

// Update replaces the value under key with what change makes of it, as one step. It returns the new
// value; ErrNotFound when there is none, or change's error, both without a change. change must not call
// the store.
func (t *Table[V]) Update(key string, change func(V) (V, error)) (V, error) {
	v, b, err := t.replace(key, change)
	b.settle()
	return v, err
}

// Touch is Update for what may be lost with the process: it does not wait for the commit, which comes
// with the next change that does, or within seconds.
func (t *Table[V]) Touch(key string, change func(V) (V, error)) (V, error) {
	v, _, err := t.replace(key, change)
	return v, err
}

func (t *Table[V]) replace(key string, change func(V) (V, error)) (after V, b *batch, err error) {
	value, b, err := t.update(key, func(old any) (any, error) {
		before, _ := t.out(old)
		var err error
		if after, err = change(before); err != nil {
			return nil, err
		}
		return t.in(after), nil
	})
	if err != nil {
		after, _ = t.out(value)
	}
	return after, b, err
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
