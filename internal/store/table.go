package store

import "reflect"

// Table maps keys to values of one type. Values are cloned on their way in and out, so that nobody
// shares memory with the table. Its methods may be called concurrently; what they change is committed
// when they return. A reader may see a change shortly before that; whatever it writes in turn is
// committed after it.
//
// What can be is in rows: methods of a generic type are compiled anew for each type of value.
type Table[V any] struct {
	rows
	clone func(V) V
}

// NewTable adds a table to s, with what the store's directory holds of it. clone returns a deep copy; nil
// will do for values without pointers, maps and slices. Values are kept as JSON unless a codec is given;
// a type whose JSON loses something (unexported or "-" fields) needs one.
func NewTable[V any](s *Store, name string, clone func(V) V, codec ...Codec[V]) *Table[V] {
	if clone == nil {
		clone = func(v V) V { return v }
	}
	t := &Table[V]{clone: clone}
	t.name, t.engine = name, s.engine
	if len(codec) > 0 {
		t.codec = codec[0].erased
	}
	t.codec = t.codec.orJSON(reflect.TypeOf((*V)(nil)).Elem()) // TypeFor would be compiled for each table
	s.adopt(t, &t.rows)
	return t
}

// Get returns a copy of the value under key.
func (t *Table[V]) Get(key string) (v V, ok bool) {
	p, ok := t.get(key).(*V)
	if ok {
		v = t.clone(*p)
	}
	return v, ok
}

// Put stores v under key, whatever was there.
func (t *Table[V]) Put(key string, v V) {
	v = t.clone(v)
	t.put(key, &v)
}

// Submit is Put that does not wait for the commit. Whoever holds a lock under which others change the table lets go of
// it before it waits, so that their changes can join the same commit.
func (t *Table[V]) Submit(key string, v V) Pending {
	v = t.clone(v)
	return t.submitPut(key, &v)
}

// Create stores v under a key that must be free, else ErrExists.
func (t *Table[V]) Create(key string, v V) error {
	v = t.clone(v)
	return t.create(key, &v)
}

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
		next, err := change(t.clone(*old.(*V)))
		if err != nil {
			return nil, err
		}
		after = next
		next = t.clone(next)
		return &next, nil
	})
	if p, ok := value.(*V); ok && err != nil {
		after = t.clone(*p)
	}
	return after, b, err
}

// List returns copies of the values whose key starts with prefix, ordered by key. What changes meanwhile
// may be in it or not.
func (t *Table[V]) List(prefix string) []V {
	found := t.list(prefix)
	values := make([]V, len(found))
	for i, value := range found {
		values[i] = t.clone(*value.(*V))
	}
	return values
}
