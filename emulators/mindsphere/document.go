package mindsphere

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// maxProblems bounds what is said about one document.
const maxProblems = 20

// problem is one mistake in a JSON document.
type problem struct {
	Path    string `json:"path"` // such as $.data.typeModel.aspectTypes[0].id
	Message string `json:"message"`
}

// document collects the mistakes of a JSON document while it is read.
type document struct{ problems []problem }

// node is a value of a document, or the place where one is missing (value nil).
type node struct {
	doc   *document
	path  string
	value any // nil, bool, json.Number, string, []any or map[string]any
}

// readDocument parses a payload. What is no JSON is a problem at the root, and the root's value is nil.
func readDocument(payload []byte) node {
	root := node{doc: &document{}, path: "$"}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	err := d.Decode(&root.value)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			root.value, err = nil, fmt.Errorf("more text after the JSON value, at byte %d", d.InputOffset())
		}
	}
	var syntax *json.SyntaxError
	switch {
	case len(bytes.TrimSpace(payload)) == 0:
		root.value = nil
		root.fail("the message is empty; a JSON object is wanted")
	case errors.As(err, &syntax):
		root.fail("no JSON: %v, at byte %d", err, syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF):
		root.fail("no JSON: the text ends too early")
	case err != nil:
		root.fail("no JSON: %v", err)
	}
	return root
}

// fail notes a mistake at n.
func (n node) fail(format string, args ...any) {
	if len(n.doc.problems) < maxProblems {
		n.doc.problems = append(n.doc.problems, problem{n.path, fmt.Sprintf(format, args...)})
	}
}

func (n node) ok() bool { return len(n.doc.problems) == 0 }

// get returns a member of an object; of anything else a missing one.
func (n node) get(name string) node {
	object, _ := n.value.(map[string]any)
	return node{n.doc, n.path + "." + name, object[name]}
}

// object notes a problem unless n is an object.
func (n node) object() bool {
	if _, ok := n.value.(map[string]any); ok {
		return true
	}
	n.fail("an object is wanted%s", n.but())
	return false
}

// list returns the elements of an array; a missing one is empty.
func (n node) list() []node {
	if n.value == nil {
		return nil
	}
	values, ok := n.value.([]any)
	if !ok {
		n.fail("an array is wanted%s", n.but())
		return nil
	}
	nodes := make([]node, len(values))
	for i, v := range values {
		nodes[i] = node{n.doc, n.path + "[" + strconv.Itoa(i) + "]", v}
	}
	return nodes
}

// text returns a string; a missing one is empty.
func (n node) text() string {
	s, ok := n.value.(string)
	if !ok && n.value != nil {
		n.fail("a string is wanted%s", n.but())
	}
	return s
}

// need is text that must not be empty.
func (n node) need() string {
	if n.value == nil {
		n.fail("is missing")
		return ""
	}
	s := n.text()
	if s == "" && n.isText() {
		n.fail("is empty")
	}
	return s
}

func (n node) isText() bool {
	_, ok := n.value.(string)
	return ok
}

// oneOf is text out of a list; a missing one is the first.
func (n node) oneOf(legal ...string) string {
	if n.value == nil {
		return legal[0]
	}
	s := n.text()
	if n.isText() && !slices.Contains(legal, s) {
		n.fail("%q is none of %s", clip(s), strings.Join(legal, ", "))
	}
	return s
}

// flag returns a boolean; a missing one is missing.
func (n node) flag(missing bool) bool {
	if n.value == nil {
		return missing
	}
	b, ok := n.value.(bool)
	if !ok {
		n.fail("true or false is wanted%s", n.but())
	}
	return b
}

// scalar returns a string, number or boolean as text.
func (n node) scalar() string {
	switch v := n.value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case nil:
		n.fail("is missing")
	default:
		n.fail("a string, number or boolean is wanted%s", n.but())
	}
	return ""
}

// but says what n is instead.
func (n node) but() string {
	switch v := n.value.(type) {
	case nil:
		return ", it is missing"
	case string:
		return fmt.Sprintf(", not the string %q", clip(v))
	case json.Number:
		return ", not the number " + clip(v.String())
	case bool:
		return fmt.Sprintf(", not %t", v)
	case []any:
		return ", not an array"
	}
	return ", not an object"
}

// summary tells the first problem, and how many more there are.
func (d *document) summary() string {
	first := d.problems[0].Path + ": " + d.problems[0].Message
	if more := len(d.problems) - 1; more > 0 {
		first += fmt.Sprintf(" (and %d more)", more)
	}
	return clip(first)
}
