package hubquery

import (
	"encoding/json"
	"math"
	"sort"
	"strings"
)

func (l *literal) eval(any) any { return l.value }

func (p *path) eval(doc any) any {
	for _, step := range p.steps {
		switch step := step.(type) {
		case string:
			object, ok := doc.(map[string]any)
			if !ok {
				return undefined
			}
			if doc, ok = object[step]; !ok {
				return undefined
			}
		case int:
			list, ok := doc.([]any)
			if !ok || step >= len(list) {
				return undefined
			}
			doc = list[step]
		}
	}
	return doc
}

func (n *not) eval(doc any) any {
	if b, ok := n.of.eval(doc).(bool); ok {
		return !b
	}
	return undefined
}

func (m *minus) eval(doc any) any {
	if n, ok := asNumber(m.of.eval(doc)); ok {
		return -n
	}
	return undefined
}

// eval has three values: what is undefined decides nothing.
func (l *logic) eval(doc any) any {
	a, aOK := l.a.eval(doc).(bool)
	if aOK && a != l.and {
		return a
	}
	b, bOK := l.b.eval(doc).(bool)
	switch {
	case bOK && b != l.and:
		return b
	case aOK && bOK:
		return l.and
	}
	return undefined
}

func (c *compare) eval(doc any) any {
	a, b := c.a.eval(doc), c.b.eval(doc)
	if a == any(undefined) || b == any(undefined) {
		return undefined
	}
	switch c.op {
	case "=":
		return equal(a, b)
	case "!=":
		return !equal(a, b)
	}
	order, ok := compared(a, b)
	if !ok {
		return undefined
	}
	switch c.op {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	default:
		return order >= 0
	}
}

// compared orders two numbers or two strings.
func compared(a, b any) (order int, ok bool) {
	if x, isNumber := asNumber(a); isNumber {
		y, ok := asNumber(b)
		switch {
		case !ok:
			return 0, false
		case x < y:
			return -1, true
		case x > y:
			return 1, true
		}
		return 0, true
	}
	x, isText := a.(string)
	y, ok := b.(string)
	if !isText || !ok {
		return 0, false
	}
	return strings.Compare(x, y), true
}

func equal(a, b any) bool {
	if x, ok := asNumber(a); ok {
		y, ok := asNumber(b)
		return ok && x == y
	}
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if other, ok := b[k]; !ok || !equal(v, other) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equal(a[i], b[i]) {
				return false
			}
		}
		return true
	case string:
		b, ok := b.(string)
		return ok && a == b
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	}
	return a == nil && b == nil
}

func asNumber(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case json.Number:
		n, err := v.Float64()
		return n, err == nil
	}
	return 0, false
}

func (a *arith) eval(doc any) any {
	x, xOK := asNumber(a.a.eval(doc))
	y, yOK := asNumber(a.b.eval(doc))
	if !xOK || !yOK {
		return undefined
	}
	var n float64
	switch a.op {
	case '+':
		n = x + y
	case '-':
		n = x - y
	case '*':
		n = x * y
	case '/':
		n = x / y
	default:
		n = math.Mod(x, y)
	}
	if math.IsNaN(n) || math.IsInf(n, 0) { // JSON has no such numbers
		return undefined
	}
	return n
}

func (a *among) eval(doc any) any {
	v := a.a.eval(doc)
	if v == any(undefined) {
		return undefined
	}
	for _, e := range a.list {
		if other := e.eval(doc); other != any(undefined) && equal(v, other) {
			return !a.none
		}
	}
	return a.none
}

// function is a function over one row.
type function struct {
	args int
	call func(args []any) any
}

func (c *call) eval(doc any) any {
	args := make([]any, len(c.args))
	for i, e := range c.args {
		args[i] = e.eval(doc)
	}
	return c.f.call(args)
}

func is(test func(v any) bool) *function {
	return &function{1, func(args []any) any { return test(args[0]) }}
}

func onTexts(test func(s, part string) bool) *function {
	return &function{2, func(args []any) any {
		s, ok := args[0].(string)
		part, both := args[1].(string)
		if !ok || !both {
			return undefined
		}
		return test(s, part)
	}}
}

func isOf[T any](v any) bool { _, ok := v.(T); return ok }

func isNumber(v any) bool { _, ok := asNumber(v); return ok }

// functions, of the vendor's page: type checks, and the tests of strings that routes have too.
var functions = map[string]*function{
	"IS_DEFINED": is(func(v any) bool { return v != any(undefined) }),
	"IS_NULL":    is(func(v any) bool { return v == nil }),
	"IS_ARRAY":   is(isOf[[]any]),
	"IS_BOOL":    is(isOf[bool]),
	"IS_NUMBER":  is(isNumber),
	"IS_OBJECT":  is(isOf[map[string]any]),
	"IS_STRING":  is(isOf[string]),
	"IS_PRIMITIVE": is(func(v any) bool {
		return v == nil || isOf[string](v) || isOf[bool](v) || isNumber(v)
	}),
	"CONTAINS":    onTexts(strings.Contains),
	"STARTS_WITH": onTexts(strings.HasPrefix),
	"STARTSWITH":  onTexts(strings.HasPrefix),
	"ENDS_WITH":   onTexts(strings.HasSuffix),
	"ENDSWITH":    onTexts(strings.HasSuffix),
}

var functionNames = func() string {
	var names []string
	for name := range functions {
		names = append(names, name)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}()
