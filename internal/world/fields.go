package world

import (
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// field is one key of a mapping, read from the tags of its struct field.
type field struct {
	key    string
	index  []int // for reflect.Value.FieldByIndex
	typ    reflect.Type
	doc    string
	enum   []string
	id     bool   // identifies the element in its list
	fold   bool   // compared without case
	whole  bool   // replaced as one when merged
	secret bool   // never quoted
	judged bool   // enum is for the schema; the whole mapping is judged when it is read
	spare  bool   // an id that may be left out
	alt    bool   // giving it drops the other alternatives when merged
	check  string // name in checks
	ref    string // kind of name it refers to
	min    *int
	max    *int
}

var fieldCache sync.Map // reflect.Type -> []field

// fieldsOf lists the keys of a struct type in order, those of embedded structs in their place.
func fieldsOf(t reflect.Type) []field {
	if cached, ok := fieldCache.Load(t); ok {
		return cached.([]field)
	}
	var fields []field
	for _, sf := range reflect.VisibleFields(t) {
		key := sf.Tag.Get("yaml")
		if key == "" {
			continue
		}
		f := field{key: key, index: sf.Index, typ: sf.Type, doc: sf.Tag.Get("doc")}
		if enum := sf.Tag.Get("enum"); enum != "" {
			f.enum = strings.Fields(enum)
		}
		for word := range strings.FieldsSeq(sf.Tag.Get("world")) {
			f.apply(word)
		}
		fields = append(fields, f)
	}
	fieldCache.Store(t, fields)
	return fields
}

func (f *field) apply(word string) {
	name, value, _ := strings.Cut(word, "=")
	switch name {
	case "id":
		f.id = true
	case "fold":
		f.fold = true
	case "whole":
		f.whole = true
	case "secret":
		f.secret = true
	case "judged":
		f.judged = true
	case "optional":
		f.spare = true
	case "alt":
		f.alt = true
	case "check":
		f.check = value
	case "ref":
		f.ref = value
	case "min", "max":
		n, err := strconv.Atoi(value)
		if err != nil {
			panic("world: tag " + word)
		}
		if name == "min" {
			f.min = &n
		} else {
			f.max = &n
		}
	default:
		panic("world: tag " + word)
	}
}

// idField returns the key that identifies elements of type t.
func idField(t reflect.Type) (field, bool) {
	if t.Kind() != reflect.Struct {
		return field{}, false
	}
	for _, f := range fieldsOf(t) {
		if f.id {
			return f, true
		}
	}
	return field{}, false
}

// idOf returns the identifying text of an element, folded where case does not count.
func idOf(v reflect.Value) string {
	f, ok := idField(v.Type())
	if !ok {
		return ""
	}
	id := v.FieldByIndex(f.index).String()
	if f.fold {
		return lower(id)
	}
	return id
}
