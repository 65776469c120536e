package control

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// A condition is one predicate over an event's JSON:
//
//	path                 there is such a value
//	path OP value        OP is one of = != < <= > >= ~
//
// path starts at a field of the event and goes on by .name, ."quoted name" or [index]:
// payload.temperature, properties.k, properties."iothub-message-id", payload.services[0].service_id.
// Below payload the payload is read as JSON. value is a JSON scalar, or text as it stands up to the end.
// = and != compare numbers as numbers and all else as text; < to >= compare numbers, and text (times)
// where either side is no number; ~ compares text with a glob, in which * also crosses slashes. A path that leads nowhere
// fulfils only !=.
type condition struct {
	path  []any // string or int
	op    string
	value string
}

// maxCondition bounds a condition's length.
const maxCondition = 1024

// operators, longest first.
var operators = []string{"!=", "<=", ">=", "=", "<", ">", "~"}

// fields of an event that a path can start at.
var fields = []string{"seq", "time", "platform", "endpoint", "conn", "address", "device", "kind", "dir", "topic",
	"qos", "payload", "payloadBase64", "code", "rule", "detail", "expected", "seen", "fix", "source", "properties"}

// parseCondition reads a condition. Errors name the position, counted from 1.
func parseCondition(text string) (*condition, error) {
	if len(text) > maxCondition {
		return nil, fmt.Errorf("match: longer than %d bytes", maxCondition)
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("match: no valid UTF-8")
	}
	p := &conditionParser{text: text}
	c := &condition{}
	if err := p.path(c); err != nil {
		return nil, err
	}
	p.space()
	if p.at == len(text) {
		return c, nil
	}
	for _, op := range operators {
		if strings.HasPrefix(text[p.at:], op) {
			c.op = op
			break
		}
	}
	if c.op == "" {
		return nil, p.fail("an operator has to stand here: = != < <= > >= ~")
	}
	p.at += len(c.op)
	p.space()
	if c.value = text[p.at:]; strings.HasPrefix(c.value, `"`) {
		if err := json.Unmarshal([]byte(c.value), &c.value); err != nil {
			return nil, p.fail("this string does not end properly")
		}
	} else if c.value == "" && c.op != "=" && c.op != "!=" {
		return nil, p.fail("a value has to stand here")
	}
	if c.op == "~" {
		if err := journal.CheckGlob(c.value); err != nil {
			return nil, p.fail(err.Error())
		}
	}
	return c, nil
}

type conditionParser struct {
	text string
	at   int
}

func (p *conditionParser) fail(why string) error {
	return fmt.Errorf("match: position %d: %s", utf8.RuneCountInString(p.text[:p.at])+1, why)
}

func (p *conditionParser) space() {
	for p.at < len(p.text) && p.text[p.at] == ' ' {
		p.at++
	}
}

func (p *conditionParser) path(c *condition) error {
	p.space()
	start := p.at
	name, err := p.name()
	if err != nil {
		return err
	}
	known := false
	for _, f := range fields {
		known = known || f == name
	}
	if !known {
		p.at = start
		return p.fail("the path has to start with a field of an event: " + strings.Join(fields, " "))
	}
	c.path = append(c.path, name)
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case '.':
			p.at++
			name, err := p.name()
			if err != nil {
				return err
			}
			c.path = append(c.path, name)
		case '[':
			end := strings.IndexByte(p.text[p.at:], ']')
			n, err := strconv.Atoi(p.text[p.at+1 : p.at+max(end, 1)])
			if err != nil || n < 0 {
				return p.fail("an index has to stand here, like [0]")
			}
			c.path = append(c.path, n)
			p.at += end + 1
		default:
			return nil
		}
	}
	return nil
}

func (p *conditionParser) name() (string, error) {
	rest := p.text[p.at:]
	if strings.HasPrefix(rest, `"`) {
		var name string
		d := json.NewDecoder(strings.NewReader(rest))
		if err := d.Decode(&name); err != nil {
			return "", p.fail("this quoted name does not end properly")
		}
		p.at += int(d.InputOffset())
		return name, nil
	}
	end := strings.IndexAny(rest, ".[]=!<>~\" ")
	if end < 0 {
		end = len(rest)
	}
	if end == 0 {
		return "", p.fail("a name has to stand here")
	}
	p.at += end
	return rest[:end], nil
}

// holds reports whether e fulfils the condition.
func (c *condition) holds(e *journal.Event) bool {
	value, ok := c.resolve(e)
	if c.op == "" {
		return ok
	}
	if !ok {
		return c.op == "!="
	}
	text := textOf(value)
	switch c.op {
	case "~":
		return journal.Glob(c.value, text)
	case "=", "!=":
		return equal(text, c.value) == (c.op == "=")
	}
	order := strings.Compare(text, c.value)
	if x, y, ok := numbers(text, c.value); ok {
		order = compare(x, y)
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

func equal(a, b string) bool {
	if a == b {
		return true
	}
	x, y, ok := numbers(a, b)
	return ok && x == y
}

func numbers(a, b string) (x, y float64, ok bool) {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return x, y, errX == nil && errY == nil
}

func compare(x, y float64) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// resolve follows the path. Payloads are decoded only when the path goes below them.
func (c *condition) resolve(e *journal.Event) (any, bool) {
	var value any
	if c.path[0] == "payload" && len(c.path) > 1 {
		d := json.NewDecoder(strings.NewReader(string(e.Payload)))
		d.UseNumber()
		if err := d.Decode(&value); err != nil {
			return nil, false
		}
	} else {
		var ok bool
		if value, ok = field(e, c.path[0].(string)); !ok {
			return nil, false
		}
	}
	for _, step := range c.path[1:] {
		switch step := step.(type) {
		case string:
			object, _ := value.(map[string]any)
			next, ok := object[step]
			if !ok {
				return nil, false
			}
			value = next
		case int:
			array, _ := value.([]any)
			if step >= len(array) {
				return nil, false
			}
			value = array[step]
		}
	}
	return value, true
}

// field returns a field of e's JSON form.
func field(e *journal.Event, name string) (any, bool) {
	if name == "properties" {
		properties := make(map[string]any, len(e.Properties))
		for k, v := range e.Properties {
			properties[k] = v
		}
		return properties, len(properties) > 0
	}
	short := *e
	short.Properties = nil
	if name != "payload" && name != "payloadBase64" {
		short.Payload = nil
	}
	text, err := json.Marshal(short)
	if err != nil {
		return nil, false
	}
	var object map[string]any
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if err := d.Decode(&object); err != nil {
		return nil, false
	}
	value, ok := object[name]
	return value, ok
}

func textOf(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(text)
}
