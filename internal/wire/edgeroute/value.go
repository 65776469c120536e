package edgeroute

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// typ is what is known of a value before there is a message.
type typ byte

const (
	anything typ = iota // parts of a body, null, undefined
	texts
	numeric
	boolean
)

func (t typ) String() string {
	return [...]string{"anything", "a text", "a number", "true or false"}[t]
}

func (t typ) maybe(other typ) bool { return t == anything || t == other }

// nothing is the type of undefined.
type nothing struct{}

var undefined = nothing{}

// expr is an expression. eval returns undefined, nil, a bool, float64, string, map[string]any or []any.
type expr struct {
	typ  typ
	eval func(*Message) any
}

func constant(t typ, v any) *expr { return &expr{t, func(*Message) any { return v }} }

func property(name string) *expr {
	return &expr{texts, func(m *Message) any { return lookup(m.Properties, name) }}
}

// lookup finds a name whatever its case.
func lookup(values map[string]string, name string) any {
	if v, ok := values[name]; ok {
		return v
	}
	for k, v := range values {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return undefined
}

// systemProperty is a system property or a part of the body. An application property that is called so, with
// its dollar, goes before either unless the name is escaped (ConditionVisitor).
func systemProperty(name string, escaped bool) *expr {
	e := &expr{texts, func(m *Message) any { return lookup(m.System, name) }}
	if head, path, dotted := strings.Cut(name, "."); dotted && strings.EqualFold(head, "body") {
		e = &expr{anything, func(m *Message) any { return m.part(path) }}
	}
	if escaped || strings.ContainsAny(name, "[]") { // no property is called so
		return e
	}
	return &expr{e.typ, func(m *Message) any {
		if v := lookup(m.Properties, "$"+name); v != undefined {
			return v
		}
		return e.eval(m)
	}}
}

// part returns what path leads to in a JSON body. A body that is not said to be JSON has no parts.
func (m *Message) part(path string) any {
	if !m.parsed {
		m.parsed, m.body = true, undefined
		if m.isJSON() {
			d := json.NewDecoder(bytes.NewReader(m.Body))
			var v any
			if d.Decode(&v) == nil {
				m.body = v
			}
		}
	}
	v := m.body
	for step := range strings.SplitSeq(path, ".") {
		name, indexes, _ := strings.Cut(step, "[")
		if name != "" {
			object, ok := v.(map[string]any)
			if !ok {
				return undefined
			}
			if v, ok = object[strings.Trim(name, "'\"")]; !ok {
				return undefined
			}
		}
		for indexes != "" {
			var index string
			index, indexes, _ = strings.Cut(indexes, "]")
			indexes = strings.TrimPrefix(indexes, "[")
			list, ok := v.([]any)
			n, err := strconv.Atoi(index)
			if !ok || err != nil || n < 0 || n >= len(list) {
				return undefined
			}
			v = list[n]
		}
	}
	return v
}

func (m *Message) isJSON() bool {
	media, _ := lookup(m.System, "contentType").(string)
	media, _, _ = strings.Cut(media, ";")
	encoding, ok := lookup(m.System, "contentEncoding").(string)
	return strings.EqualFold(strings.TrimSpace(media), "application/json") && (!ok || strings.EqualFold(encoding, "utf-8"))
}

// binary joins two expressions, or says why they do not fit each other.
func (p *parser) binary(op token, left, right *expr) (*expr, *Error) {
	mismatch := func(want string) *Error {
		return p.at(op, "%s takes %s, not %s and %s", op.text, want, left.typ, right.typ)
	}
	switch op.text {
	case "AND", "OR":
		if !left.typ.maybe(boolean) || !right.typ.maybe(boolean) {
			return nil, mismatch("true or false")
		}
		decisive := op.text == "OR"
		return &expr{boolean, func(m *Message) any { return logic(left.eval(m), right.eval(m), decisive) }}, nil
	case "??":
		t := left.typ
		if t != right.typ {
			t = anything
		}
		return &expr{t, func(m *Message) any {
			if v := left.eval(m); v != undefined {
				return v
			}
			return right.eval(m)
		}}, nil
	case "||":
		if !left.typ.maybe(texts) || !right.typ.maybe(texts) {
			return nil, mismatch("two texts")
		}
		return &expr{texts, func(m *Message) any { return concat([]any{left.eval(m), right.eval(m)}) }}, nil
	case "+", "-", "*", "/", "%":
		if !left.typ.maybe(numeric) || !right.typ.maybe(numeric) {
			return nil, mismatch("two numbers (as_number makes one of a property)")
		}
		return &expr{numeric, func(m *Message) any { return arithmetic(op.text, left.eval(m), right.eval(m)) }}, nil
	}
	if left.typ != right.typ && left.typ != anything && right.typ != anything {
		return nil, mismatch("two values of one type (as_number makes a number of a property)")
	}
	return &expr{boolean, func(m *Message) any { return compare(op.text, left.eval(m), right.eval(m)) }}, nil
}

// logic is AND (decisive false) and OR (decisive true) of three values.
func logic(a, b any, decisive bool) any {
	if a == decisive || b == decisive {
		return decisive
	}
	if a == !decisive && b == !decisive {
		return !decisive
	}
	return undefined
}

func arithmetic(op string, a, b any) any {
	x, xOK := a.(float64)
	y, yOK := b.(float64)
	if !xOK || !yOK {
		return undefined
	}
	switch op {
	case "+":
		return defined(x + y)
	case "-":
		return defined(x - y)
	case "*":
		return defined(x * y)
	case "/":
		return defined(x / y)
	}
	return defined(math.Mod(x, y))
}

// defined returns undefined for what is no number: edgeHub's undefined is NaN among numbers.
func defined(x float64) any {
	if math.IsNaN(x) {
		return undefined
	}
	return x
}

// compare returns undefined for values that have no order, and for those of different types.
func compare(op string, a, b any) any {
	if a == nil || b == nil {
		switch {
		case a == undefined || b == undefined:
			return undefined
		case op == "=":
			return a == nil && b == nil
		case op == "!=" || op == "<>":
			return a != nil || b != nil
		}
		return undefined
	}
	order, known := 0, false
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			order, known = strings.Compare(x, y), true
		}
	case float64:
		if y, ok := b.(float64); ok {
			switch {
			case x < y:
				order = -1
			case x > y:
				order = 1
			}
			known = true
		}
	case bool:
		if y, ok := b.(bool); ok && (op == "=" || op == "!=" || op == "<>") {
			known = true
			if x != y {
				order = 1
			}
		}
	}
	if !known {
		return undefined
	}
	switch op {
	case "=":
		return order == 0
	case "!=", "<>":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}
