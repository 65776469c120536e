package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// Codec turns values into what a directory keeps of them, and back. A value that was decoded must equal
// the one that was encoded (package storetest checks it). The zero Codec keeps values as their JSON; numbers
// in values of type any come back as json.Number.
type Codec[V any] struct {
	encode func(dst []byte, v V) []byte
	decode func(b []byte) (V, error)
	erased codec
}

// Encode appends v to dst.
func (c Codec[V]) Encode(dst []byte, v V) []byte { return c.encode(dst, v) }

// Decode reads a value. It does not keep b.
func (c Codec[V]) Decode(b []byte) (V, error) { return c.decode(b) }

// codec is a Codec for those who know values as pointers only.
type codec struct {
	encode func(value any) []byte
	decode func(b []byte) (value any, err error)
}

// NewCodec returns a codec of two functions: encode appends to dst, decode must not keep b.
func NewCodec[V any](encode func(dst []byte, v V) []byte, decode func(b []byte) (V, error)) Codec[V] {
	return Codec[V]{encode, decode, codec{
		encode: func(value any) []byte { return encode(nil, *value.(*V)) },
		decode: func(b []byte) (any, error) {
			v, err := decode(b)
			return &v, err
		},
	}}
}

// As keeps values as the JSON of another type, for values whose own JSON is made for other eyes or loses
// something.
func As[V, Row any](to func(V) Row, from func(Row) (V, error)) Codec[V] {
	return NewCodec(
		func(dst []byte, v V) []byte { return appendJSON(dst, to(v)) },
		func(b []byte) (v V, err error) {
			var row Row
			if err := readJSON(b, &row); err != nil {
				return v, err
			}
			return from(row)
		})
}

// orJSON returns the codec of values of a type: c, or JSON where c is zero.
func (c codec) orJSON(of reflect.Type) codec {
	if c.encode != nil {
		return c
	}
	return codec{
		encode: func(value any) []byte { return appendJSON(nil, value) },
		decode: func(b []byte) (any, error) {
			value := reflect.New(of).Interface()
			return value, readJSON(b, value)
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
	p := t.codec.probe(t.name, reflect.TypeFor[V]())
	p.Clone = func(v any) any { return t.clone(v.(V)) }
	return p
}

func (c codec) probe(name string, of reflect.Type) Probe {
	return Probe{Name: name, Type: of, Trip: func(v any) (any, error) {
		value := reflect.New(of)
		value.Elem().Set(reflect.ValueOf(v))
		back, err := c.decode(c.encode(value.Interface()))
		return reflect.ValueOf(back).Elem().Interface(), err
	}}
}
