package world

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a world text.
const (
	maxSize     = 16 << 20 // bytes: 10,000 devices with certificates fit
	maxDepth    = 64       // mappings and sequences within each other
	maxIndent   = 512      // columns before a line's first word
	maxExpanded = 100_000  // nodes that aliases may repeat
	maxProblems = 1000
)

// Parse reads a world text that may hold several YAML documents, of which later ones override earlier
// ones by id. JSON is YAML too. name stands in messages. file: keys are refused, as the text has no
// place of its own; Load resolves them. The error is Problems: unknown keys, wrong types, illegal ids
// and keys, duplicates. References and completeness are for Validate, so that a text may be a patch.
func Parse(name string, data []byte) (*World, error) {
	return parse(&reader{file: name}, data)
}

func parse(r *reader, data []byte) (*World, error) {
	r.seen = map[string]Position{}
	r.origins = map[string]Position{}
	w := &World{}
	for _, body := range r.documents(data) {
		one := &World{}
		r.anchors = map[string]ast.Node{}
		r.seenIDs = map[string]Position{}
		r.value(body, reflect.ValueOf(one).Elem(), field{}, "", 0)
		w = Merge(w, one)
	}
	w.origins = r.origins
	return w, r.problems.err()
}

// documents returns the bodies of the YAML documents, empty ones left out.
func (r *reader) documents(data []byte) (bodies []ast.Node) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if len(data) > maxSize {
		r.report(nil, "", fmt.Sprintf("is %s long; at most %d MiB are read", plural(len(data), "byte"), maxSize>>20))
		return nil
	}
	if at := firstBadByte(data); at >= 0 {
		line := 1 + bytes.Count(data[:at], []byte("\n"))
		column := at - bytes.LastIndexByte(data[:at], '\n')
		r.problems = append(r.problems, Problem{Position: Position{r.file, line, column}, Text: "is not text in UTF-8"})
		return nil
	}
	// The YAML library is not ours: should it panic on a text, that is a problem of this text only.
	defer func() {
		if cause := recover(); cause != nil {
			r.problems = append(r.problems, Problem{Position: Position{File: r.file}, Text: "is YAML that cannot be read; simplify it"})
			bodies = nil
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if tk := tooDeep(tokens); tk != nil {
		r.problems = append(r.problems, Problem{Position: r.position(tk),
			Text: fmt.Sprintf("nested too deeply: at most %d levels and %d columns of indentation are read", maxDepth, maxIndent)})
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	for _, doc := range file.Docs {
		switch doc.Body.(type) {
		case nil, *ast.NullNode, *ast.CommentGroupNode, *ast.DirectiveNode:
		default:
			bodies = append(bodies, doc.Body)
		}
	}
	return bodies
}

// firstBadByte returns the offset of the first byte that is no UTF-8 or a control character, or -1.
func firstBadByte(data []byte) int {
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		if c == utf8.RuneError && size == 1 || c < 0x20 && c != '\n' && c != '\r' && c != '\t' {
			return i
		}
		i += size
	}
	return -1
}

// tooDeep finds where a text nests too deeply for a recursive parser. It looks at tokens only: brackets
// that are open, the column of each line's first token, and indicators that open a level on their line.
func tooDeep(tokens token.Tokens) *token.Token {
	open, line, inLine := 0, 0, 0
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, inLine = tk.Position.Line, 0
			if tk.Position.Column > maxIndent && open == 0 {
				return tk
			}
		}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			open++
		case token.SequenceEndType, token.MappingEndType:
			open = max(0, open-1)
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			inLine++
		}
		if open > maxDepth || open == 0 && inLine > maxDepth || inLine > maxSize>>10 {
			return tk
		}
	}
	return nil
}

func (r *reader) syntax(err error) {
	var yamlError yaml.Error
	if errors.As(err, &yamlError) && yamlError.GetToken() != nil {
		text := yamlError.GetMessage()
		if strings.Contains(text, "'\t'") {
			text = "a tab cannot indent; use spaces"
		}
		r.problems = append(r.problems, Problem{Position: r.position(yamlError.GetToken()), Text: "is not YAML here: " + text})
		return
	}
	r.problems = append(r.problems, Problem{Position: Position{File: r.file}, Text: "is not YAML: " + err.Error()})
}

func (r *reader) position(tk *token.Token) Position {
	if tk == nil || tk.Position == nil {
		return Position{File: r.file}
	}
	return Position{File: r.file, Line: tk.Position.Line, Column: tk.Position.Column}
}

// ParseTwin reads an initial twin alone, JSON or YAML.
func ParseTwin(name string, data []byte) (*Twin, error) {
	r := &reader{file: name, seen: map[string]Position{}, origins: map[string]Position{},
		anchors: map[string]ast.Node{}, seenIDs: map[string]Position{}}
	twin := &Twin{}
	for _, body := range r.documents(data) {
		r.value(body, reflect.ValueOf(twin).Elem(), field{}, "", 0)
	}
	return twin, r.problems.err()
}
