package world

import (
	"encoding/json"
	"reflect"
)

// Schema returns the JSON Schema (2020-12) of a world file, for editors. It says everything but what
// several keys say together.
func Schema() []byte {
	s := schemer{defs: map[string]any{}}
	root := s.object(reflect.TypeFor[World]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "https://github.com/fakecloud/fakecloud/world.schema.json"
	root["title"] = "fakecloud world file"
	root["$defs"] = s.defs
	data, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(err) // nothing but maps, slices, strings and numbers
	}
	return append(data, '\n')
}

type schemer struct{ defs map[string]any }

func (s schemer) object(t reflect.Type) map[string]any {
	properties := map[string]any{}
	object := map[string]any{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
	for _, f := range fieldsOf(t) {
		property := s.of(f.typ, f)
		property["description"] = f.doc
		properties[f.key] = property
		if f.id {
			object["type"] = "object"
		}
		if f.id && !f.spare {
			object["required"] = []string{f.key}
		}
	}
	return object
}

// of returns the schema of a field's type with what its tags say.
func (s schemer) of(t reflect.Type, f field) map[string]any {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == durationType:
		return map[string]any{"type": []string{"string", "number"}, "examples": []string{"3s", "1m30s"}}
	case t == portType:
		return map[string]any{"anyOf": []any{
			map[string]any{"type": "integer", "minimum": 0, "maximum": 65535},
			map[string]any{"type": "string", "pattern": `^([0-9]{1,5}|auto|off)$`},
		}}
	}
	switch t.Kind() {
	case reflect.Struct:
		if _, done := s.defs[t.Name()]; !done {
			s.defs[t.Name()] = true // holds the place while recursing
			s.defs[t.Name()] = s.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	case reflect.Slice:
		element := f
		element.id = false
		return map[string]any{"type": []string{"array", "null"}, "items": s.of(t.Elem(), element)}
	case reflect.Map:
		return map[string]any{"type": []string{"object", "null"}}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return s.text(f)
	case reflect.Float64:
		return map[string]any{"type": "number"}
	default:
		number := map[string]any{"type": "integer"}
		if t.Kind() == reflect.Uint64 {
			number["minimum"] = 0
		}
		if f.min != nil {
			number["minimum"] = *f.min
		}
		if f.max != nil {
			number["maximum"] = *f.max
		}
		return number
	}
}

// text allows what YAML reads as a number or boolean too where any text is legal: ids may be digits.
func (s schemer) text(f field) map[string]any {
	if len(f.enum) > 0 {
		return map[string]any{"type": "string", "enum": f.enum}
	}
	c := checks[f.check]
	text := map[string]any{"type": []string{"string", "number", "boolean"}, "minLength": 1}
	if c.pattern != nil {
		text["pattern"] = c.pattern.String()
	}
	switch {
	case f.max != nil:
		text["maxLength"] = *f.max
	case c.max > 0:
		text["maxLength"] = c.max
	}
	return text
}
