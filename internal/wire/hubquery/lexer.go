package hubquery

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// SyntaxError is a text that is no query. Line and Column count from 1, the latter in characters.
type SyntaxError struct {
	Line, Column int
	Found        string // what stands there, as written; empty at the end of the text
	Problem      string // what is wrong, one sentence without a full stop
}

// Error names the place and what is wrong.
func (e *SyntaxError) Error() string {
	at := fmt.Sprintf("line %d, column %d", e.Line, e.Column)
	if e.Found == "" {
		return e.Problem + ", at the end of the query (" + at + ")"
	}
	return e.Problem + ", near '" + e.Found + "' (" + at + ")"
}

type kind byte

const (
	end    kind = iota
	word        // keyword or name
	quoted      // [[name]]: never a keyword
	text        // string literal
	number
	symbol
)

type token struct {
	kind  kind
	at    int    // byte offset in the query
	raw   string // as written
	value string // of a word its name, of a text what it says
	num   float64
}

func (t token) is(s string) bool { return t.kind == symbol && t.raw == s }

func (t token) keyword(s string) bool { return t.kind == word && strings.EqualFold(t.raw, s) }

// maxFound is how much of the query an error repeats, in bytes.
const maxFound = 40

// fail makes the error of what stands at a byte of the query.
func fail(query string, at int, found, problem string, args ...any) error {
	before := query[:min(at, len(query))]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	if len(found) > maxFound {
		found = strings.ToValidUTF8(found[:maxFound], "") + "…"
	}
	return &SyntaxError{Line: line, Column: column, Found: found, Problem: fmt.Sprintf(problem, args...)}
}

// symbols, longest first.
var symbols = []string{"!=", "<>", "<=", ">=", "[[", "]]", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",", "."}

func lex(query string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(query); {
		r, size := utf8.DecodeRuneInString(query[i:])
		switch {
		case r == ' ' || r == '\t' || r == '\r' || r == '\n':
			i += size
		case r == utf8.RuneError && size == 1:
			return nil, fail(query, i, "", "the query is not UTF-8")
		case r == '\'' || r == '"':
			t, err := lexText(query, i)
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, t)
			i += len(t.raw)
		case r >= '0' && r <= '9', r == '.' && i+1 < len(query) && isDigit(query[i+1]) && !endsPath(tokens, i):
			t, err := lexNumber(query, i)
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, t)
			i += len(t.raw)
		case startsName(r):
			n := i + size
			for n < len(query) {
				r, size := utf8.DecodeRuneInString(query[n:])
				if !startsName(r) && !unicode.IsDigit(r) {
					break
				}
				n += size
			}
			tokens = append(tokens, token{kind: word, at: i, raw: query[i:n], value: query[i:n]})
			i = n
		default:
			t, err := lexSymbol(query, i)
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, t)
			i += len(t.raw)
		}
	}
	return append(tokens, token{kind: end, at: len(query)}), nil
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func startsName(r rune) bool {
	return r == '_' || r == '$' || r != utf8.RuneError && unicode.IsLetter(r)
}

// endsPath reports whether the token right before at may be continued by a dot.
func endsPath(tokens []token, at int) bool {
	if len(tokens) == 0 {
		return false
	}
	last := tokens[len(tokens)-1]
	return last.at+len(last.raw) == at && (last.kind == word || last.kind == quoted || last.is("]"))
}

func lexSymbol(query string, at int) (token, error) {
	rest := query[at:]
	if name, ok := strings.CutPrefix(rest, "[["); ok {
		if n := strings.Index(name, "]]"); n > 0 && !strings.ContainsAny(name[:n], "[]'\"") {
			return token{kind: quoted, at: at, raw: rest[:n+4], value: name[:n]}, nil
		}
	}
	for _, s := range symbols {
		if strings.HasPrefix(rest, s) {
			if s == "[[" || s == "]]" {
				s = s[:1]
			}
			return token{kind: symbol, at: at, raw: s}, nil
		}
	}
	_, size := utf8.DecodeRuneInString(rest)
	return token{}, fail(query, at, rest[:size], "this character has no meaning here")
}

func lexNumber(query string, at int) (token, error) {
	n := at
	for n < len(query) && (isDigit(query[n]) || isLetter(query[n]) || query[n] == '.' ||
		(query[n] == '+' || query[n] == '-') && (query[n-1]|0x20) == 'e' && !isHex(query[at:n])) {
		n++
	}
	t := token{kind: number, at: at, raw: query[at:n]}
	if isHex(t.raw) {
		v, err := strconv.ParseUint(t.raw[2:], 16, 53)
		t.num = float64(v)
		if err == nil {
			return t, nil
		}
		return t, fail(query, at, t.raw, "this is no hexadecimal number")
	}
	v, err := strconv.ParseFloat(t.raw, 64)
	if err != nil || strings.ContainsAny(t.raw, "xXpPiInN_") {
		return t, fail(query, at, t.raw, "this is no number")
	}
	t.num = v
	return t, nil
}

func isLetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

func isHex(raw string) bool { return strings.HasPrefix(raw, "0x") || strings.HasPrefix(raw, "0X") }

// lexText reads a string literal. Its escapes are those of the vendor's page: \' \" \\ and \uXXXX.
func lexText(query string, at int) (token, error) {
	quote := query[at]
	var b strings.Builder
	for i := at + 1; i < len(query); i++ {
		switch c := query[i]; c {
		case quote:
			return token{kind: text, at: at, raw: query[at : i+1], value: b.String()}, nil
		case '\\':
			if i++; i == len(query) {
				break
			}
			switch c := query[i]; c {
			case '\'', '"', '\\':
				b.WriteByte(c)
			case 'u':
				if i+4 >= len(query) {
					return token{}, fail(query, i-1, query[i-1:], "\\u needs four hexadecimal digits")
				}
				v, err := strconv.ParseUint(query[i+1:i+5], 16, 16)
				if err != nil {
					return token{}, fail(query, i-1, query[i-1:i+5], "\\u needs four hexadecimal digits")
				}
				b.WriteRune(rune(v))
				i += 4
			default:
				_, size := utf8.DecodeRuneInString(query[i:])
				return token{}, fail(query, i-1, query[i-1:i+size], "unknown escape; known are \\' \\\" \\\\ and \\uXXXX")
			}
		default:
			b.WriteByte(c)
		}
	}
	return token{}, fail(query, at, query[at:], "this text has no closing quotation mark")
}
