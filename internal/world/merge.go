package world

import (
	"maps"
	"reflect"
)

// Merge lays over on top of base and returns a new world that shares no memory with either. What over
// gives replaces; what it leaves out stays. Lists whose elements have an id merge element by element,
// new ones at the end; other lists, attestations, authentications and initial twins are replaced whole.
func Merge(base, over *World) *World {
	merged := &World{origins: map[string]Position{}}
	mergeValue(reflect.ValueOf(merged).Elem(), reflect.ValueOf(base).Elem(), field{})
	mergeValue(reflect.ValueOf(merged).Elem(), reflect.ValueOf(over).Elem(), field{})
	maps.Copy(merged.origins, base.origins)
	maps.Copy(merged.origins, over.origins)
	return merged
}

// yielder is a part of the world with fields that make way for others, before those are laid over it.
type yielder interface{ yield(to any) }

// mergeValue lays v over into; into never keeps memory of v.
func mergeValue(into, v reflect.Value, f field) {
	if v.IsZero() {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if f.whole {
			into.SetZero()
		}
		if y, ok := into.Addr().Interface().(yielder); ok {
			y.yield(v.Interface())
		}
		for _, sub := range fieldsOf(v.Type()) {
			if sub.alt && !v.FieldByIndex(sub.index).IsZero() {
				dropAlternatives(into)
			}
			mergeValue(into.FieldByIndex(sub.index), v.FieldByIndex(sub.index), sub)
		}
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		if v.Type().Elem().Kind() == reflect.Struct {
			if !into.IsNil() && !f.whole {
				mergeValue(fresh.Elem(), into.Elem(), field{})
			}
			mergeValue(fresh.Elem(), v.Elem(), field{})
		} else {
			fresh.Elem().Set(v.Elem())
		}
		into.Set(fresh)
	case reflect.Slice:
		if _, hasID := idField(v.Type().Elem()); hasID {
			mergeElements(into, v, f)
			return
		}
		into.Set(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v))
	case reflect.Map:
		into.Set(reflect.ValueOf(cloneJSON(v.Interface())))
	default:
		into.Set(v)
	}
}

// dropAlternatives empties the fields of which only one may be set, before another one is.
func dropAlternatives(into reflect.Value) {
	for _, f := range fieldsOf(into.Type()) {
		if f.alt {
			into.FieldByIndex(f.index).SetZero()
		}
	}
}

// mergeElements lays one list over another; with f.whole an element takes the place of that of its id.
func mergeElements(into, v reflect.Value, f field) {
	merged := reflect.MakeSlice(v.Type(), into.Len(), into.Len()+v.Len())
	reflect.Copy(merged, into)
	at := make(map[string]int, merged.Len())
	for i := range merged.Len() {
		at[idOf(merged.Index(i))] = i
	}
	for i := range v.Len() {
		element := v.Index(i)
		id := idOf(element)
		j, known := at[id]
		if !known || id == "" {
			j = merged.Len()
			at[id] = j
			merged = reflect.Append(merged, reflect.Zero(element.Type()))
		}
		mergeValue(merged.Index(j), element, field{whole: f.whole})
	}
	into.Set(merged)
}

func cloneJSON(v any) any {
	switch x := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(x))
		for k, e := range x {
			m[k] = cloneJSON(e)
		}
		return m
	case []any:
		l := make([]any, len(x))
		for i, e := range x {
			l[i] = cloneJSON(e)
		}
		return l
	default:
		return v
	}
}
