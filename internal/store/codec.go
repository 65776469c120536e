package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// Codec turns values into what a directory keeps of them, and back. A value that was decoded must equal
// the one that was encoded (package storetest checks it).
type Codec[V any] struct {
	// Encode appends v to dst.
	Encode func(dst []byte, v V) []byte
	// Decode reads a value. It must not keep b.
	Decode func(b []byte) (V, error)
}

// JSON keeps values as their JSON. Numbers in values of type any come back as json.Number.
func JSON[V any]() Codec[V] {
	return Codec[V]{
		Encode: func(dst []byte, v V) []byte { return appendJSON(dst, v) },
		Decode: func(b []byte) (v V, err error) { return v, readJSON(b, &v) },
	}
}

// As keeps values as the JSON of another type, for values whose own JSON is made for other eyes or loses
// something.
func As[V, Row any](to func(V) Row, from func(Row) (V, error)) Codec[V] {
	return Codec[V]{
		Encode: func(dst []byte, v V) []byte { return appendJSON(dst, to(v)) },
		Decode: func(b []byte) (v V, err error) {
			var row Row
			if err := readJSON(b, &row); err != nil {
				return v, err
			}
			return from(row)
		},
	}
}

func appendJSON(dst []byte, v any) []byte {
	b := bytes.NewBuffer(dst)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("store: %T cannot be kept: %v", v, err)) // a type that needs a codec of its own
	}
	return b.Bytes()
}

func readJSON(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(into)
}

// Probe lets a test write a table's or log's values and read them back.
type Probe struct {
	Name  string
	Type  reflect.Type
	Trip  func(v any) (any, error) // what comes back of v
	Clone func(v any) any
}

// Probes returns one for each table and log.
func (s *Store) Probes() []Probe {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Probe
	for _, t := range s.tables {
		all = append(all, t.probe())
	}
	for _, l := range s.logs {
		if p, ok := l.(interface{ probe() Probe }); ok {
			all = append(all, p.probe())
		}
	}
	return all
}

func (t *Table[V]) probe() Probe {
	p := probeOf(t.name, t.codec)
	p.Clone = func(v any) any { return t.clone(v.(V)) }
	return p
}

func probeOf[V any](name string, codec Codec[V]) Probe {
	return Probe{Name: name, Type: reflect.TypeFor[V](), Trip: func(v any) (any, error) {
		return codec.Decode(codec.Encode(nil, v.(V)))
	}}
}
