package world

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml/token"
)

// Format writes a world as YAML that Parse reads back equal, keys and secrets included. Files have
// become PEM text.
func Format(w *World) []byte {
	var p printer
	p.mapping(reflect.ValueOf(w).Elem(), 0)
	if p.b.Len() == 0 {
		return []byte("{}\n")
	}
	return []byte(p.b.String())
}

type printer struct{ b strings.Builder }

func (p *printer) indent(n int) { p.b.WriteString(strings.Repeat("  ", n)) }

// mapping writes the keys of a struct that are set, each on a line of its own.
func (p *printer) mapping(v reflect.Value, level int) {
	for _, f := range fieldsOf(v.Type()) {
		if value := v.FieldByIndex(f.index); !unset(value) {
			p.indent(level)
			p.b.WriteString(f.key + ":")
			p.value(value, level)
		}
	}
}

func unset(v reflect.Value) bool {
	if v.Kind() != reflect.Struct {
		return v.IsZero()
	}
	for _, f := range fieldsOf(v.Type()) {
		if !unset(v.FieldByIndex(f.index)) {
			return false
		}
	}
	return true
}

// value writes what stands behind "key:", up to and with the line's end.
func (p *printer) value(v reflect.Value, level int) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Struct:
		if unset(v) {
			p.b.WriteString(" {}\n")
			return
		}
		p.b.WriteByte('\n')
		p.mapping(v, level+1)
	case reflect.Slice:
		switch {
		case v.Len() == 0:
			p.b.WriteString(" []\n")
		case v.Type().Elem().Kind() == reflect.String:
			p.b.WriteString(" [")
			for i := range v.Len() {
				if i > 0 {
					p.b.WriteString(", ")
				}
				p.b.WriteString(flowText(v.Index(i).String()))
			}
			p.b.WriteString("]\n")
		default:
			p.b.WriteByte('\n')
			p.list(v, level+1)
		}
	case reflect.Map:
		p.json(v.Interface(), level)
	default:
		p.scalar(v, level)
	}
}

// list writes the elements of a list of structs: "- " takes the place of the first key's indentation.
func (p *printer) list(v reflect.Value, level int) {
	for i := range v.Len() {
		var element printer
		element.mapping(v.Index(i), level+1)
		text := element.b.String()
		if text == "" {
			p.indent(level)
			p.b.WriteString("- {}\n")
			continue
		}
		p.indent(level)
		p.b.WriteString("- " + strings.TrimPrefix(text, strings.Repeat("  ", level+1)))
	}
}

func (p *printer) scalar(v reflect.Value, level int) {
	switch {
	case v.Type() == durationType:
		p.b.WriteString(" " + shortDuration(time.Duration(v.Int())) + "\n")
	case v.Kind() == reflect.String:
		p.text(v.String(), level)
	case v.Kind() == reflect.Float64:
		p.b.WriteString(" " + strconv.FormatFloat(v.Float(), 'f', -1, 64) + "\n")
	default:
		fmt.Fprintf(&p.b, " %v\n", v.Interface())
	}
}

// shortDuration writes 3s and 1h instead of 1h0m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// text writes a string: as a block when it has several lines, plain when nothing can misread it.
func (p *printer) text(s string, level int) {
	if !blockSafe(s) {
		p.b.WriteString(" " + flowText(s) + "\n")
		return
	}
	p.b.WriteString(" |\n")
	for line := range strings.SplitSeq(strings.TrimSuffix(s, "\n"), "\n") {
		p.indent(level + 1)
		p.b.WriteString(line + "\n")
	}
}

// blockSafe reports whether s is text of several printable lines without blanks at their ends, as PEM is.
func blockSafe(s string) bool {
	if strings.Count(s, "\n") < 2 || !strings.HasSuffix(s, "\n") {
		return false
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(s, "\n"), "\n") {
		if line == "" || strings.TrimSpace(line) != line {
			return false
		}
		for _, c := range line {
			if c > unicode.MaxASCII || !unicode.IsPrint(c) {
				return false
			}
		}
	}
	return true
}

// plainPattern holds what YAML reads as itself in every place, save the words below.
var plainPattern = regexp.MustCompile(`^[A-Za-z0-9/+][A-Za-z0-9 ._/+=-]*$`)

func flowText(s string) string {
	if plainPattern.MatchString(s) && !strings.HasSuffix(s, " ") && token.New(s, s, &token.Position{}).Type == token.StringType {
		return s
	}
	return quoteYAML(s)
}

// quoteYAML writes a double-quoted scalar. JSON's escapes are YAML's, but for the slash and HTML.
func quoteYAML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\r':
			b.WriteString(`\r`)
		case unicode.IsPrint(c):
			b.WriteRune(c)
		case c <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			fmt.Fprintf(&b, `\U%08x`, c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// json writes free JSON in block style, keys in order.
func (p *printer) json(v any, level int) {
	switch x := v.(type) {
	case map[string]any:
		if len(x) == 0 {
			p.b.WriteString(" {}\n")
			return
		}
		p.b.WriteByte('\n')
		for _, key := range slices.Sorted(maps.Keys(x)) {
			p.indent(level + 1)
			p.b.WriteString(flowText(key) + ":")
			p.json(x[key], level+1)
		}
	case []any:
		p.b.WriteString(" " + flowJSON(x) + "\n")
	default:
		p.b.WriteString(" " + flowJSON(x) + "\n")
	}
}

func flowJSON(v any) string {
	switch x := v.(type) {
	case []any:
		parts := make([]string, len(x))
		for i, e := range x {
			parts[i] = flowJSON(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(x)) {
			parts = append(parts, flowText(key)+": "+flowJSON(x[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case string:
		return flowText(x)
	case float64:
		text := strconv.FormatFloat(x, 'g', -1, 64)
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
		return text
	default:
		data, err := json.Marshal(x)
		if err != nil {
			panic(err) // Twin names the types that occur
		}
		return string(data)
	}
}
