package world

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// scalarText returns a scalar as it is written, so that an id like 007 stays what it is.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return strings.TrimSpace(node.GetToken().Value), true
	}
	return "", false
}

func kindOf(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	default:
		return "this"
	}
}

var (
	durationType = reflect.TypeFor[Duration]()
	portType     = reflect.TypeFor[Port]()
)

func (r *reader) scalar(node ast.Node, v reflect.Value, f field, path string) {
	text, ok := scalarText(node)
	if !ok {
		r.report(node, path, "must be "+wanted(v.Type())+", not "+kindOf(node))
		return
	}
	fail := func(why string) { r.report(node, path, why) }
	switch {
	case v.Type() == durationType:
		d, err := parseDuration(text)
		if err != nil {
			fail(err.Error())
			return
		}
		v.SetInt(int64(d))
	case v.Type() == portType:
		if why := checkPort(text); why != "" {
			fail(why)
			return
		}
		v.SetString(text)
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		b, isBool := node.(*ast.BoolNode)
		if !isBool {
			fail("must be true or false, not " + shown(f, text))
			return
		}
		v.SetBool(b.Value)
	default:
		if why := setNumber(v, node, f, text); why != "" {
			fail(why)
			return
		}
	}
	if why := r.check(f, v); why != "" {
		fail(why)
	}
	if f.ref != "" {
		r.origins[path] = r.position(start(node))
	}
}

// wanted names the scalar that a key wants.
func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a time such as 3s"
	case t == portType:
		return "a port"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

func shown(f field, text string) string {
	if f.secret {
		return "this value"
	}
	return quote(text)
}

func setNumber(v reflect.Value, node ast.Node, f field, text string) string {
	if v.Kind() == reflect.Float64 {
		return setFloat(v, node, f, text)
	}
	if _, number := node.(*ast.IntegerNode); !number {
		return "must be a whole number, not " + shown(f, text)
	}
	plain := strings.ReplaceAll(text, "_", "")
	switch v.Kind() {
	case reflect.Uint64:
		n, err := strconv.ParseUint(plain, 0, 64)
		if err != nil {
			return "must be a whole number from 0 to 18446744073709551615"
		}
		v.SetUint(n)
	default:
		n, err := strconv.ParseInt(plain, 0, 64)
		if err != nil {
			return "must be a whole number"
		}
		v.SetInt(n)
	}
	return ""
}

func setFloat(v reflect.Value, node ast.Node, f field, text string) string {
	_, whole := node.(*ast.IntegerNode)
	_, broken := node.(*ast.FloatNode)
	n, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if !whole && !broken || err != nil {
		return "must be a number, not " + shown(f, text)
	}
	v.SetFloat(n)
	return ""
}

// parseDuration reads "3s", "1m30s" or a number of seconds.
func parseDuration(text string) (Duration, error) {
	const most = 366 * 24 * time.Hour
	d, err := time.ParseDuration(text)
	if n, numErr := strconv.ParseFloat(text, 64); numErr == nil && math.Abs(n) <= most.Seconds() {
		d, err = time.Duration(n*float64(time.Second)), nil
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("must be a time such as 3s, 1m30s or a number of seconds, not %s", quote(text))
	case d < 0:
		return 0, fmt.Errorf("must not be negative")
	case d > most:
		return 0, fmt.Errorf("must be at most a year")
	}
	return Duration(d), nil
}

func checkPort(text string) string {
	if text == "auto" || text == "off" {
		return ""
	}
	if n, err := strconv.Atoi(text); err != nil || n < 0 || n > 65535 {
		return "must be a port from 1 to 65535, 0 for any free one, auto, or off, not " + quote(text)
	}
	return ""
}

// check applies the tags of f to a value that has the right type; it returns what is wrong.
func (r *reader) check(f field, v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		text := v.String()
		switch {
		case text == "":
			return "is empty; give a value or leave the key out"
		case len(f.enum) > 0 && !f.judged && !slices.Contains(f.enum, text):
			return "must be " + oneOf(f.enum) + ", not " + shown(f, text) + suggestion(text, f.enum)
		case f.max != nil && utf8.RuneCountInString(text) > *f.max:
			return fmt.Sprintf("has %s, at most %d are allowed", plural(utf8.RuneCountInString(text), "character"), *f.max)
		case f.check != "":
			return checks[f.check].verdict(f, text)
		}
	case reflect.Int, reflect.Int64:
		n := v.Int()
		if f.check != "" {
			return checks[f.check].verdict(f, time.Duration(n).String())
		}
		switch {
		case f.min != nil && f.max != nil && (n < int64(*f.min) || n > int64(*f.max)):
			return fmt.Sprintf("must be from %d to %d, not %d", *f.min, *f.max, n)
		case f.min != nil && n < int64(*f.min):
			return fmt.Sprintf("must be at least %d, not %d", *f.min, n)
		case f.max != nil && n > int64(*f.max):
			return fmt.Sprintf("must be at most %d, not %d", *f.max, n)
		}
	}
	return ""
}

func oneOf(words []string) string {
	if len(words) == 2 {
		return words[0] + " or " + words[1]
	}
	return "one of " + strings.Join(words, ", ")
}

func suggestion(text string, words []string) string {
	if n := nearest(text, words); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

// any reads free JSON: nil, bool, int64, uint64, float64, string, []any, map[string]any.
func (r *reader) any(node ast.Node, path string, depth int) any {
	node, leave := r.resolve(node, path, depth)
	defer leave()
	switch n := node.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		return n.Value
	case *ast.FloatNode:
		return n.Value
	case *ast.InfinityNode, *ast.NanNode:
		r.report(node, path, "is no JSON number")
		return nil
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, item := range n.Values {
			list[i] = r.any(item, path+"["+strconv.Itoa(i)+"]", depth+1)
		}
		return list
	}
	if text, ok := scalarText(node); ok {
		return text
	}
	entries, ok := pairs(node)
	if !ok {
		r.report(node, path, "has no form in JSON")
		return nil
	}
	object := make(map[string]any, len(entries))
	for _, entry := range entries {
		key, ok := r.key(entry, path)
		if !ok {
			continue
		}
		if _, twice := object[key]; twice {
			r.report(entry.Key, join(path, key), "is given twice in the same mapping")
			continue
		}
		object[key] = r.any(entry.Value, join(path, key), depth+1)
	}
	return object
}
