package hubquery

import (
	"fmt"
	"math"
	"strings"
)

func (p *parser) expression() (expr, error) { return p.or() }

func (p *parser) or() (expr, error) {
	a, err := p.and()
	for err == nil && p.take("OR") {
		var b expr
		b, err = p.and()
		a = &logic{a: a, b: b}
	}
	return a, err
}

func (p *parser) and() (expr, error) {
	a, err := p.negation()
	for err == nil && p.take("AND") {
		var b expr
		b, err = p.negation()
		a = &logic{and: true, a: a, b: b}
	}
	return a, err
}

// deeper bounds recursion; every call needs a shallower.
func (p *parser) deeper() error {
	if p.depth++; p.depth > maxNested {
		return p.fail("the query is nested deeper than %d", maxNested)
	}
	return nil
}

func (p *parser) shallower() { p.depth-- }

func (p *parser) negation() (expr, error) {
	if !p.take("NOT") {
		return p.comparison()
	}
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer p.shallower()
	of, err := p.negation()
	return &not{of}, err
}

func (p *parser) comparison() (expr, error) {
	a, err := p.sum()
	if err != nil {
		return nil, err
	}
	switch t := p.peek(); {
	case t.keyword("IN"), t.keyword("NIN"):
		p.read()
		list, err := p.list()
		return &among{none: t.keyword("NIN"), a: a, list: list}, err
	case t.keyword("NOT") && p.tokens[p.next+1].keyword("IN"):
		p.next += 2
		list, err := p.list()
		return &among{none: true, a: a, list: list}, err
	case t.kind == symbol && strings.ContainsAny(t.raw, "=<>"):
		p.read()
		op := t.raw
		if op == "<>" {
			op = "!="
		}
		b, err := p.sum()
		return &compare{op: op, a: a, b: b}, err
	}
	return a, nil
}

// list reads [a, b, …], or (a, b, …) as SQL writes it.
func (p *parser) list() ([]expr, error) {
	closing := "]"
	if !p.takeSymbol("[") {
		if !p.takeSymbol("(") {
			return nil, p.fail("a list in square brackets is expected after IN: ['a', 'b']")
		}
		closing = ")"
	}
	var list []expr
	for {
		e, err := p.sum()
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		if !p.takeSymbol(",") {
			return list, p.needSymbol(closing)
		}
	}
}

func (p *parser) sum() (expr, error) {
	a, err := p.product()
	for err == nil && (p.peek().is("+") || p.peek().is("-")) {
		op := p.read().raw[0]
		var b expr
		b, err = p.product()
		a = &arith{op: op, a: a, b: b}
	}
	return a, err
}

func (p *parser) product() (expr, error) {
	a, err := p.sign()
	for err == nil && (p.peek().is("*") || p.peek().is("/") || p.peek().is("%")) {
		op := p.read().raw[0]
		var b expr
		b, err = p.sign()
		a = &arith{op: op, a: a, b: b}
	}
	return a, err
}

func (p *parser) sign() (expr, error) {
	if !p.peek().is("-") && !p.peek().is("+") {
		return p.primary()
	}
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer p.shallower()
	negative := p.read().is("-")
	of, err := p.sign()
	if negative {
		return &minus{of}, err
	}
	return of, err
}

func (p *parser) primary() (expr, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer p.shallower()
	t := p.peek()
	switch {
	case t.kind == text:
		p.read()
		return &literal{t.value}, nil
	case t.kind == number:
		p.read()
		return &literal{t.num}, nil
	case t.is("("):
		p.read()
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		return e, p.needSymbol(")")
	case t.kind == word && constants[strings.ToLower(t.raw)] != nil && !p.tokens[p.next+1].is("."):
		p.read()
		return constants[strings.ToLower(t.raw)], nil
	case t.kind == word && p.tokens[p.next+1].is("("):
		return p.call()
	case t.kind == quoted, t.kind == word && !reserved[strings.ToUpper(t.raw)]:
		return p.path()
	}
	return nil, p.fail("a property, a value or a function is expected")
}

var constants = map[string]expr{
	"true": &literal{true}, "false": &literal{false}, "null": &literal{nil}, "undefined": &literal{undefined},
}

func (p *parser) path() (expr, error) {
	found := &path{steps: []any{p.read().value}}
	for {
		switch {
		case p.takeSymbol("."):
			t := p.read()
			if t.kind != word && t.kind != quoted {
				return nil, p.failAt(t, "a property's name is expected after the dot")
			}
			found.steps = append(found.steps, t.value)
		case p.takeSymbol("["):
			t := p.read()
			switch {
			case t.kind == text:
				found.steps = append(found.steps, t.value)
			case t.kind == number && t.num == math.Trunc(t.num) && t.num < math.MaxInt32:
				found.steps = append(found.steps, int(t.num))
			default:
				return nil, p.failAt(t, "a quoted name or an index is expected in the brackets")
			}
			if err := p.needSymbol("]"); err != nil {
				return nil, err
			}
		default:
			p.paths = append(p.paths, found)
			return found, nil
		}
	}
}

func (p *parser) call() (expr, error) {
	t := p.read()
	name := strings.ToUpper(t.raw)
	f := functions[name]
	switch {
	case f == nil && aggregates[name]:
		return nil, p.failAt(t, "%s may only stand in the select list", name)
	case f == nil:
		return nil, p.failAt(t, "unknown function; known are %s", functionNames)
	}
	p.read() // the bracket
	c := &call{f: f}
	for !p.peek().is(")") {
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		c.args = append(c.args, e)
		if !p.takeSymbol(",") {
			break
		}
	}
	if err := p.needSymbol(")"); err != nil {
		return nil, err
	}
	if len(c.args) != f.args {
		return nil, p.failAt(t, "%s takes %d, not %d", name, f.args, len(c.args))
	}
	return c, nil
}

// text writes a path for comparison with another one.
func (p *path) text() string { return fmt.Sprintf("%q", p.steps) }
