package iotda

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strings"

	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// maxSQL bounds each clause of a rule (CreateRoutingRule, iot_06_v5_01307), and maxAlias the name after AS (SQL
// Statements, iot_01_0025).
const (
	maxSQL     = 2500
	maxAlias   = 32
	maxNesting = 32 // of parentheses; our own
)

// statement is the SQL of a forwarding rule: what of a notification is forwarded (nil: all of it), and when (nil:
// always).
type statement struct {
	fields []sqlField
	where  sqlCondition
}

// sqlField is one item of SELECT: a variable, a constant, or with all every key of the notification.
type sqlField struct {
	name string
	of   sqlOperand
	all  bool
}

// sqlCondition is a condition of WHERE.
type sqlCondition func(doc any) bool

// parseSQL reads the clauses of a rule, with or without their keyword.
func parseSQL(selects, where string) (st statement, err error) {
	if st.fields, err = parseSelect(selects); err != nil {
		return st, err
	}
	st.where, err = parseWhere(where)
	return st, err
}

func parseSelect(text string) ([]sqlField, error) {
	p, err := newSQLParser("select", text)
	if err != nil || p.next().kind == sqlEnd {
		return nil, err
	}
	var fields []sqlField
	for {
		f, err := p.field()
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
		if p.next().kind == sqlEnd {
			break
		}
		if !p.accept(",") {
			return nil, p.expected("a comma or the end")
		}
	}
	if len(fields) == 1 && fields[0].all {
		return nil, nil
	}
	return fields, nil
}

func (p *sqlParser) field() (sqlField, error) {
	if p.accept("*") {
		return sqlField{all: true}, nil
	}
	written := p.next()
	of, err := p.operand()
	if err != nil {
		return sqlField{}, err
	}
	f := sqlField{name: written.text, of: of}
	if !p.accept("AS") {
		if written.kind != sqlVariable {
			return f, p.expected("AS and a name, which a constant needs")
		}
		return f, nil
	}
	alias := p.next()
	if alias.kind != sqlVariable || len(alias.path) != 1 || len(alias.text) > maxAlias {
		return f, p.expected("a name of at most 32 characters")
	}
	p.at++
	f.name, _ = alias.path[0].(string)
	return f, nil
}

func parseWhere(text string) (sqlCondition, error) {
	p, err := newSQLParser("where", text)
	if err != nil || p.next().kind == sqlEnd {
		return nil, err
	}
	c, err := p.either()
	if err == nil && p.next().kind != sqlEnd {
		err = p.expected("AND, OR or the end")
	}
	return c, err
}

// either reads conditions joined by OR, which binds less than AND.
func (p *sqlParser) either() (sqlCondition, error) {
	left, err := p.both()
	for err == nil && p.accept("OR") {
		var right sqlCondition
		if right, err = p.both(); err == nil {
			first := left
			left = func(doc any) bool { return first(doc) || right(doc) }
		}
	}
	return left, err
}

func (p *sqlParser) both() (sqlCondition, error) {
	left, err := p.one()
	for err == nil && p.accept("AND") {
		var right sqlCondition
		if right, err = p.one(); err == nil {
			first := left
			left = func(doc any) bool { return first(doc) && right(doc) }
		}
	}
	return left, err
}

// one reads a comparison, a variable that is true or false, or conditions in parentheses.
func (p *sqlParser) one() (sqlCondition, error) {
	if p.accept("(") {
		if p.depth++; p.depth > maxNesting {
			return nil, p.expected("at most 32 parentheses within each other")
		}
		c, err := p.either()
		p.depth--
		if err == nil && !p.accept(")") {
			err = p.expected(")")
		}
		return c, err
	}
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	for _, operator := range []string{"=", "!=", "<>", "<=", ">=", "<", ">"} {
		if p.accept(operator) {
			right, err := p.operand()
			return func(doc any) bool { return sqlCompare(left(doc), operator, right(doc)) }, err
		}
	}
	return func(doc any) bool { yes, _ := left(doc).(bool); return yes }, nil
}

// sqlCompare compares two values. Numbers and texts have an order; those of different types are unequal.
func sqlCompare(a any, operator string, b any) bool {
	if x, ok := a.(float64); ok {
		if y, ok := b.(float64); ok {
			return sqlHolds(operator, cmp.Compare(x, y))
		}
	}
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			return sqlHolds(operator, strings.Compare(x, y))
		}
	}
	same := a == nil && b == nil
	if x, ok := a.(bool); ok {
		y, ok := b.(bool)
		same = ok && x == y
	}
	return operator == "=" && same || (operator == "!=" || operator == "<>") && !same
}

// sqlHolds reports whether an order fulfils a comparison.
func sqlHolds(operator string, order int) bool {
	switch operator {
	case "=":
		return order == 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	}
	return order != 0
}

// apply returns what is forwarded of a notification; ok is false where the condition does not hold.
func (st statement) apply(notification []byte) (body []byte, ok bool) {
	if st.where != nil {
		var doc any
		if json.Unmarshal(notification, &doc) != nil || !st.where(doc) {
			return nil, false
		}
	}
	if st.fields == nil {
		return notification, true
	}
	decoder := json.NewDecoder(bytes.NewReader(notification))
	decoder.UseNumber() // what is selected goes out as it came in
	var doc map[string]any
	if decoder.Decode(&doc) != nil {
		return nil, false
	}
	out := map[string]any{}
	for _, f := range st.fields {
		if f.all {
			for key, value := range doc {
				out[key] = value
			}
			continue
		}
		if value := f.of(doc); value != nil {
			out[f.name] = value
		}
	}
	return iotda.Encode(out), true
}
