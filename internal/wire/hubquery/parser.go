package hubquery

import (
	"math"
	"strconv"
	"strings"
)

// The limits of a query.
const (
	MaxLength = 16 << 10 // bytes
	maxNested = 64       // brackets, NOTs and signs within each other
)

// Parse reads a query. Its errors are *SyntaxError.
func Parse(query string) (*Query, error) {
	p, err := newParser(query)
	if err != nil {
		return nil, err
	}
	q := &Query{}
	if err := p.need("SELECT"); err != nil {
		return nil, err
	}
	if err := p.top(q); err != nil {
		return nil, err
	}
	if err := p.selectList(q); err != nil {
		return nil, err
	}
	if err := p.need("FROM"); err != nil {
		return nil, err
	}
	if q.From, err = p.from(); err != nil {
		return nil, err
	}
	if p.take("WHERE") {
		if q.where, err = p.expression(); err != nil {
			return nil, err
		}
	}
	if err := p.groupBy(q); err != nil {
		return nil, err
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	p.strip(q)
	return q, p.check(q)
}

// ParseCondition reads what stands behind WHERE in a query of a collection. Empty text and * take every
// row, as jobs and configurations write it. Its errors are *SyntaxError.
func ParseCondition(from Collection, condition string) (*Condition, error) {
	c := &Condition{From: from}
	if s := strings.TrimSpace(condition); s == "" || s == "*" {
		return c, nil
	}
	p, err := newParser(condition)
	if err != nil {
		return nil, err
	}
	if c.where, err = p.expression(); err != nil {
		return nil, err
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	p.source, p.alias = from, ""
	p.stripPaths()
	return c, nil
}

type parser struct {
	query  string
	tokens []token
	next   int
	depth  int
	source Collection
	alias  string
	paths  []*path // all that were read, to take the collection's name off them
}

func newParser(query string) (*parser, error) {
	if len(query) > MaxLength {
		return nil, fail(query, MaxLength, "", "the query is longer than %d bytes", MaxLength)
	}
	tokens, err := lex(query)
	return &parser{query: query, tokens: tokens}, err
}

func (p *parser) peek() token { return p.tokens[p.next] }

func (p *parser) read() token {
	t := p.tokens[p.next]
	if t.kind != end {
		p.next++
	}
	return t
}

func (p *parser) take(keyword string) bool {
	if p.peek().keyword(keyword) {
		p.next++
		return true
	}
	return false
}

func (p *parser) takeSymbol(s string) bool {
	if p.peek().is(s) {
		p.next++
		return true
	}
	return false
}

func (p *parser) fail(problem string, args ...any) error {
	return p.failAt(p.peek(), problem, args...)
}

func (p *parser) failAt(t token, problem string, args ...any) error {
	return fail(p.query, t.at, t.raw, problem, args...)
}

func (p *parser) need(keyword string) error {
	if p.take(keyword) {
		return nil
	}
	return p.fail("%s is expected", keyword)
}

func (p *parser) needSymbol(s string) error {
	if p.takeSymbol(s) {
		return nil
	}
	return p.fail("'%s' is expected", s)
}

func (p *parser) done() error {
	if p.peek().kind == end {
		return nil
	}
	return p.fail("the query should end here; AND, OR or an operator may be missing")
}

func (p *parser) top(q *Query) error {
	if !p.peek().keyword("TOP") {
		return nil
	}
	p.read()
	n := p.read()
	if n.kind != number || n.num != math.Trunc(n.num) || n.num < 1 || n.num > math.MaxInt32 {
		return p.failAt(n, "TOP needs a whole number of rows, 1 or more")
	}
	q.Top = int(n.num)
	return nil
}

func (p *parser) selectList(q *Query) error {
	if p.takeSymbol("*") {
		q.All = true
		return nil
	}
	taken := map[string]bool{}
	for {
		c, err := p.column(len(q.columns) + 1)
		if err != nil {
			return err
		}
		if taken[c.name] {
			return p.failAt(c.at, "two columns are called %q; name one of them with AS", c.name)
		}
		taken[c.name] = true
		q.columns = append(q.columns, c)
		if !p.takeSymbol(",") {
			return nil
		}
	}
}

func (p *parser) column(position int) (column, error) {
	c := column{at: p.peek()}
	var err error
	if name := strings.ToUpper(c.at.raw); c.at.kind == word && aggregates[name] && p.tokens[p.next+1].is("(") {
		p.next += 2
		c.aggregate = name
		if !p.peek().is(")") && !(name == "COUNT" && p.takeSymbol("*")) {
			if c.value, err = p.expression(); err != nil {
				return c, err
			}
		} else if name != "COUNT" {
			return c, p.fail("%s needs a property", name)
		}
		if err := p.needSymbol(")"); err != nil {
			return c, err
		}
	} else if c.value, err = p.expression(); err != nil {
		return c, err
	}
	c.name = "$" + strconv.Itoa(position)
	if path, ok := c.value.(*path); ok && c.aggregate == "" {
		if name, ok := path.steps[len(path.steps)-1].(string); ok {
			c.name = name
		}
	}
	if p.take("AS") {
		t := p.read()
		if t.kind != word && t.kind != quoted && t.kind != text {
			return c, p.failAt(t, "a name is expected after AS")
		}
		c.name = t.value
	}
	return c, nil
}

// aggregates are the functions over many rows.
var aggregates = map[string]bool{"COUNT": true, "AVG": true, "SUM": true, "MIN": true, "MAX": true}

func (p *parser) from() (Collection, error) {
	first := p.peek()
	t := p.read()
	name := strings.ToLower(t.raw)
	for t.kind == word && p.takeSymbol(".") {
		t = p.read()
		name += "." + strings.ToLower(t.raw)
	}
	p.source = Collection(name)
	switch p.source {
	case Devices, Modules, Jobs:
	default:
		return "", p.failAt(first, "unknown collection; known are devices, devices.modules and devices.jobs")
	}
	p.take("AS")
	if t := p.peek(); t.kind == word && !reserved[strings.ToUpper(t.raw)] {
		p.alias = p.read().value
	}
	return p.source, nil
}

// reserved words cannot be names unless they stand in [[ ]].
var reserved = map[string]bool{"SELECT": true, "TOP": true, "FROM": true, "WHERE": true, "GROUP": true, "BY": true, "AS": true,
	"AND": true, "OR": true, "NOT": true, "IN": true, "NIN": true, "TRUE": true, "FALSE": true, "NULL": true, "UNDEFINED": true}

func (p *parser) groupBy(q *Query) error {
	group := p.peek()
	if !p.take("GROUP") {
		return nil
	}
	if q.All {
		return p.failAt(group, "SELECT * cannot be grouped; select the grouped properties and aggregates")
	}
	if err := p.need("BY"); err != nil {
		return err
	}
	for {
		t := p.peek()
		e, err := p.primary()
		if err != nil {
			return err
		}
		path, ok := e.(*path)
		if !ok {
			return p.failAt(t, "GROUP BY takes properties only")
		}
		q.groups = append(q.groups, *path)
		if !p.takeSymbol(",") {
			return nil
		}
	}
}

// strip takes the collection's name or alias off the front of every path.
func (p *parser) strip(q *Query) {
	p.stripPaths()
	for i := range q.groups {
		q.groups[i] = path{p.stripped(q.groups[i].steps)}
	}
}

func (p *parser) stripPaths() {
	for _, path := range p.paths {
		path.steps = p.stripped(path.steps)
	}
}

func (p *parser) stripped(steps []any) []any {
	if len(steps) > 1 && p.alias != "" && steps[0] == p.alias {
		return steps[1:]
	}
	prefix := strings.Split(string(p.source), ".")
	if len(steps) <= len(prefix) {
		return steps
	}
	for i, name := range prefix {
		if step, ok := steps[i].(string); !ok || !strings.EqualFold(step, name) {
			return steps
		}
	}
	return steps[len(prefix):]
}

// check judges what the grammar alone does not forbid.
func (p *parser) check(q *Query) error {
	switch {
	case q.From == Jobs && q.Raw():
		return p.failAt(q.columns[0].at, "devices.jobs can only be read with SELECT *")
	case !q.Grouped():
		return nil
	}
	for _, c := range q.columns {
		if c.aggregate != "" {
			continue
		}
		path, ok := c.value.(*path)
		if !ok || !q.groupedBy(path) {
			return p.failAt(c.at, "a column beside an aggregate must stand in GROUP BY")
		}
	}
	return nil
}

func (q *Query) groupedBy(p *path) bool {
	for _, g := range q.groups {
		if g.text() == p.text() {
			return true
		}
	}
	return false
}
