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

// checkJSON reports a body that is no single JSON value or nests too deeply, and where.
func checkJSON(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	depth, values := 0, 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && depth == 0 && values == 1 {
			return nil
		}
		if err != nil {
			return at(body, d, "is no JSON")
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			values++
		}
		switch {
		case depth > maxDepth:
			return at(body, d, fmt.Sprintf("nests more than %d levels deep", maxDepth))
		case values > 1:
			return at(body, d, "holds more than one JSON value")
		}
	}
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
