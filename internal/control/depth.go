package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxDepth is how deep objects and arrays of a body may nest.
const maxDepth = 64

// checkJSON reports a body that is no single JSON value, nests too deeply or gives a key twice in one object, of which
// encoding/json would silently take the last, and where.
func checkJSON(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var open []*container
	for values := 0; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && len(open) == 0 && values == 1 {
			return nil
		}
		if err != nil {
			return at(body, d, "is no JSON")
		}
		if len(open) > 0 {
			if key, twice := open[len(open)-1].take(token); twice {
				return at(body, d, fmt.Sprintf("gives the key %.64q twice in one object", key))
			}
		}
		switch token {
		case json.Delim('{'):
			open = append(open, &container{keys: map[string]bool{}})
		case json.Delim('['):
			open = append(open, &container{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		if len(open) == 0 {
			values++
		}
		switch {
		case len(open) > maxDepth:
			return at(body, d, fmt.Sprintf("nests more than %d levels deep", maxDepth))
		case values > 1:
			return at(body, d, "holds more than one JSON value")
		}
	}
}

// container is an object or array that is being read.
type container struct {
	keys  map[string]bool // of an object, those that it has given; nil of an array
	value bool            // a key's value comes next
}

// take takes the next token in a container, and says whether it is a key that has been given before.
func (c *container) take(token json.Token) (key string, twice bool) {
	if c.keys == nil {
		return "", false
	}
	if c.value {
		c.value = false
		return "", false
	}
	key, isKey := token.(string)
	if !isKey {
		return "", false // the object's end
	}
	twice = c.keys[key]
	c.keys[key], c.value = true, true
	return key, twice
}

func at(body []byte, d *json.Decoder, what string) error {
	line, column := position(body, d.InputOffset())
	return fmt.Errorf("the body %s: line %d, column %d", what, line, column)
}

// position returns line and column, counted from 1, of an offset.
func position(text []byte, offset int64) (line, column int) {
	before := text[:min(max(offset, 0), int64(len(text)))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}

// checkYAML bounds what a small document can make a parser nest: flow brackets, and dashes on one line.
// Nesting by indentation costs its square in bytes, which the size limit bounds.
func checkYAML(body []byte) error {
	flow := 0
	for n, line := range bytes.Split(body, []byte("\n")) {
		dashes := 0
		for rest := bytes.TrimLeft(line, " "); bytes.HasPrefix(rest, []byte("- ")) || bytes.HasPrefix(rest, []byte("? ")); {
			rest = bytes.TrimLeft(rest[2:], " ")
			dashes++
		}
		for _, c := range line {
			switch c {
			case '[', '{':
				flow++
			case ']', '}':
				flow = max(flow-1, 0)
			}
		}
		if flow > maxDepth || dashes > maxDepth {
			return fmt.Errorf("the document nests more than %d levels deep: line %d", maxDepth, n+1)
		}
	}
	return nil
}
