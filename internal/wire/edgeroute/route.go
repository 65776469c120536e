package edgeroute

import (
	"strings"
)

// Route is a route that was read.
type Route struct {
	Text   string
	Source string // as written, without blanks
	// Upstream says that the sink is the hub; else it is Input of Module.
	Upstream      bool
	Module, Input string

	prefix    string // of the sources that match, lower case
	condition *expr  // nil: always
}

// Message is what a route is asked about.
type Message struct {
	// Source is where the message comes from: "/messages/" for devices,
	// "/messages/modules/{m}/outputs/{o}/" for modules, "/twinChangeNotifications".
	Source     string
	System     map[string]string // by the names that conditions use: connectionDeviceId, contentType, …
	Properties map[string]string // application properties
	Body       []byte

	parsed bool
	body   any
}

// Parse reads a route. The error is an *Error.
func Parse(input string) (*Route, error) {
	list, err := tokens(input)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: list, input: input}
	r, err := p.route()
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Matches reports whether m takes the route.
func (r *Route) Matches(m *Message) bool {
	return strings.HasPrefix(strings.ToLower(m.Source), r.prefix) && (r.condition == nil || r.condition.eval(m) == true)
}

// Sink names where the route leads: "$upstream" or "{module}/{input}".
func (r *Route) Sink() string {
	if r.Upstream {
		return "$upstream"
	}
	return r.Module + "/" + r.Input
}

func (p *parser) route() (*Route, *Error) {
	r := &Route{Text: p.input}
	if p.keyword("SELECT") {
		if !p.symbol("*") {
			return nil, p.wanted("* after SELECT")
		}
	}
	if !p.keyword("FROM") {
		return nil, p.wanted("FROM")
	}
	var err *Error
	if r.Source, err = p.source(); err != nil {
		return nil, err
	}
	// Trailing stars and slashes are dropped, and what begins with the rest matches.
	r.prefix = strings.ToLower(strings.TrimRight(r.Source, "*/"))
	if p.keyword("WHERE") {
		at := p.peek()
		if r.condition, err = p.expression(0); err != nil {
			return nil, err
		}
		if !r.condition.typ.maybe(boolean) {
			return nil, p.at(at, "the condition is %s, it has to be true or false", r.condition.typ)
		}
	}
	if !p.keyword("INTO") {
		if r.condition == nil {
			return nil, p.wanted("WHERE or INTO")
		}
		return nil, p.wanted("an operator or INTO")
	}
	if err := p.sink(r); err != nil {
		return nil, err
	}
	if p.peek().kind != end {
		return nil, p.wanted("nothing more")
	}
	return r, nil
}

// source reads /item/item…, where an item is a name or *.
func (p *parser) source() (string, *Error) {
	var b strings.Builder
	for p.symbol("/") {
		b.WriteByte('/')
		switch t := p.peek(); {
		case t.kind == symbol && t.text == "*", t.kind == word, t.kind == number:
			b.WriteString(t.text)
			p.next++
		default:
			return "", p.wanted("a name or * after /")
		}
	}
	if b.Len() == 0 {
		return "", p.wanted("a source such as /* or /messages/*")
	}
	return b.String(), nil
}

// sink reads $upstream or BrokeredEndpoint("/modules/{m}/inputs/{i}").
func (p *parser) sink(r *Route) *Error {
	const expected = `$upstream or BrokeredEndpoint("/modules/{module}/inputs/{input}")`
	t := p.peek()
	switch {
	case t.kind == system && strings.EqualFold(t.text, "$upstream"):
		p.next++
		r.Upstream = true
		return nil
	case t.kind == system:
		return p.at(t, "there is no endpoint %s; it is %s", t.shown(), expected)
	case t.kind != word:
		return p.wanted(expected)
	case !strings.EqualFold(t.text, "BrokeredEndpoint"):
		return p.at(t, "there is no endpoint %s; it is %s", t.shown(), expected)
	}
	p.next++
	if !p.symbol("(") {
		return p.wanted("( after BrokeredEndpoint")
	}
	path := p.peek()
	if path.kind != text {
		return p.wanted(`"/modules/{module}/inputs/{input}"`)
	}
	p.next++
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(path.text), "/"), "/"), "/")
	if len(parts) != 4 || parts[1] == "" || parts[3] == "" {
		return p.at(path, "the endpoint %s has not the form /modules/{module}/inputs/{input}", path.shown())
	}
	r.Module, r.Input = parts[1], parts[3]
	if !p.symbol(")") {
		return p.wanted(") after the endpoint")
	}
	return nil
}
