package edgeroute

import (
	"fmt"
	"strings"
)

type parser struct {
	tokens []token
	next   int
	input  string
	depth  int
}

// maxDepth bounds expressions within each other.
const maxDepth = 64

func (p *parser) peek() token { return p.tokens[p.next] }

func (p *parser) at(t token, format string, args ...any) *Error {
	return &Error{Column: t.at + 1, Detail: fmt.Sprintf(format, args...)}
}

func (p *parser) wanted(what string) *Error {
	return p.at(p.peek(), "%s is wanted here, not %s", what, p.peek().shown())
}

func (p *parser) keyword(name string) bool {
	if t := p.peek(); t.kind == word && strings.EqualFold(t.text, name) {
		p.next++
		return true
	}
	return false
}

func (p *parser) symbol(s string) bool {
	if t := p.peek(); t.kind == symbol && t.text == s {
		p.next++
		return true
	}
	return false
}

// levels are the binary operators from the loosest to the tightest (grammar Condition, rule expr).
var levels = [][]string{{"??"}, {"OR"}, {"AND"}, {"=", "!=", "<>"}, {"<", "<=", ">", ">="}, {"+", "-", "||"}, {"*", "/", "%"}}

// operator takes the next token if it is one of those of a level.
func (p *parser) operator(level int) (token, bool) {
	t := p.peek()
	for _, op := range levels[level] {
		if t.kind == symbol && t.text == op || t.kind == word && strings.EqualFold(t.text, op) {
			p.next++
			t.text = op
			return t, true
		}
	}
	return t, false
}

func (p *parser) expression(level int) (*expr, *Error) {
	if level == len(levels) {
		return p.unary()
	}
	left, err := p.expression(level + 1)
	for err == nil {
		op, found := p.operator(level)
		// A number with its sign is one token: in "a -1" it is an operator and a number.
		if !found && level == 5 && p.peek().kind == number && p.peek().text[0] == '-' {
			op, found = p.splitSign(), true
		}
		if !found {
			return left, nil
		}
		var right *expr
		if right, err = p.expression(level + 1); err == nil {
			left, err = p.binary(op, left, right)
		}
	}
	return nil, err
}

// splitSign takes the sign off the number that comes next.
func (p *parser) splitSign() token {
	t := &p.tokens[p.next]
	op := token{kind: symbol, text: "-", at: t.at}
	t.text, t.value, t.at = t.text[1:], -t.value, t.at+1
	return op
}

// unary reads NOT and the minus, which bind tighter than every binary operator.
func (p *parser) unary() (*expr, *Error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.at(p.peek(), "more than %d expressions within each other", maxDepth)
	}
	defer func() { p.depth-- }()
	t := p.peek()
	switch {
	case p.symbol("-"):
		e, err := p.unary()
		if err != nil {
			return nil, err
		}
		if !e.typ.maybe(numeric) {
			return nil, p.at(t, "- takes a number, not %s", e.typ)
		}
		return &expr{numeric, func(m *Message) any {
			if n, ok := e.eval(m).(float64); ok {
				return -n
			}
			return undefined
		}}, nil
	case p.keyword("NOT"):
		e, err := p.unary()
		if err != nil {
			return nil, err
		}
		if !e.typ.maybe(boolean) {
			return nil, p.at(t, "NOT takes true or false, not %s; it binds tighter than a comparison: write NOT (…)", e.typ)
		}
		return &expr{boolean, func(m *Message) any {
			if b, ok := e.eval(m).(bool); ok {
				return !b
			}
			return undefined
		}}, nil
	}
	return p.primary()
}

func (p *parser) primary() (*expr, *Error) {
	t := p.peek()
	switch t.kind {
	case number:
		p.next++
		return constant(numeric, t.value), nil
	case text:
		p.next++
		return constant(texts, t.text), nil
	case system:
		p.next++
		return systemProperty(t.text[1:], false), nil
	case word:
		return p.name()
	case symbol:
		switch t.text {
		case "(":
			return p.nested()
		case "{":
			return p.escaped()
		}
	case end:
	}
	return nil, p.wanted("a value")
}

func (p *parser) nested() (*expr, *Error) {
	open := p.peek()
	p.next++
	e, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if !p.symbol(")") {
		if p.peek().kind == end || p.peek().kind == word {
			return nil, p.at(open, "the ( that stands here has no )")
		}
		return nil, p.wanted(")")
	}
	return e, nil
}

// escaped reads {$name}, which is never an application property.
func (p *parser) escaped() (*expr, *Error) {
	p.next++
	t := p.peek()
	if t.kind != system {
		return nil, p.wanted("a system property such as $connectionDeviceId")
	}
	p.next++
	if !p.symbol("}") {
		return nil, p.wanted("}")
	}
	return systemProperty(t.text[1:], true), nil
}

// name reads a literal word, a call or an application property.
func (p *parser) name() (*expr, *Error) {
	t := p.peek()
	switch t.text {
	case "true", "false":
		p.next++
		return constant(boolean, t.text == "true"), nil
	case "null":
		p.next++
		return constant(anything, nil), nil
	case "undefined":
		p.next++
		return constant(anything, undefined), nil
	}
	for _, reserved := range []string{"SELECT", "FROM", "WHERE", "INTO", "AND", "OR"} {
		if strings.EqualFold(t.text, reserved) {
			return nil, p.wanted("a value")
		}
	}
	p.next++
	if p.symbol("(") {
		return p.call(t)
	}
	return property(t.text), nil
}

func (p *parser) call(name token) (*expr, *Error) {
	var args []*expr
	if !p.symbol(")") {
		for {
			e, err := p.expression(0)
			if err != nil {
				return nil, err
			}
			args = append(args, e)
			if p.symbol(")") {
				break
			}
			if !p.symbol(",") {
				return nil, p.wanted(", or )")
			}
		}
	}
	f, known := functions[strings.ToLower(name.text)]
	if !known {
		return nil, p.at(name, "there is no function %s%s", clip(name.text), closest(name.text))
	}
	return f.bind(p, name, args)
}
