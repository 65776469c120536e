package edgeroute

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error says where a route is wrong.
type Error struct {
	Column int // from 1, in bytes
	Detail string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Detail) }

type kind byte

const (
	end kind = iota
	word
	system // $name or $body.path
	text
	number
	symbol
)

type token struct {
	kind  kind
	text  string // of a text its value
	value float64
	at    int // byte offset
}

func (t token) shown() string {
	switch t.kind {
	case end:
		return "the end"
	case text:
		return strconv.Quote(clip(t.text))
	}
	return clip(t.text)
}

func clip(s string) string {
	const most = 40
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// The characters that end a name and a path (grammar, ID_CHARS and QUERY_PATH_CHARS).
const (
	endsName = "()<>@,;:\\\"/[]?={} \t\n\r"
	endsPath = "()<>@,;:\\\"/?={} \t\n\r"
)

// MaxLength bounds a route's text; the hub bounds a twin's value to as much.
const MaxLength = 4096

type lexer struct {
	input string
	at    int
}

func (l *lexer) fail(at int, format string, args ...any) *Error {
	return &Error{Column: at + 1, Detail: fmt.Sprintf(format, args...)}
}

// tokens takes the whole text apart.
func tokens(input string) ([]token, *Error) {
	l := &lexer{input: input}
	if len(input) > MaxLength {
		return nil, l.fail(MaxLength, "a route has at most %d bytes", MaxLength)
	}
	var all []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		all = append(all, t)
		if t.kind == end {
			return all, nil
		}
	}
}

func (l *lexer) next() (token, *Error) {
	for l.at < len(l.input) && strings.IndexByte(" \t\r\n", l.input[l.at]) >= 0 {
		l.at++
	}
	start := l.at
	if start == len(l.input) {
		return token{kind: end, at: start}, nil
	}
	switch c := l.input[start]; {
	case c == '"' || c == '\'':
		return l.quoted(c)
	case c == '$':
		l.at++
		l.skip(endsPath)
		if l.at == start+1 {
			return token{}, l.fail(start, "a system property's name is missing after $")
		}
		return token{kind: system, text: l.input[start:l.at], at: start}, nil
	case digit(c) || (c == '-' || c == '.') && start+1 < len(l.input) && (digit(l.input[start+1]) || c == '-' && l.input[start+1] == '.'):
		if t, ok := l.number(); ok {
			return t, nil
		}
	}
	if t, ok := l.symbol(); ok {
		return t, nil
	}
	l.skip(endsName)
	if l.at == start {
		r, size := utf8.DecodeRuneInString(l.input[start:])
		l.at += size
		return token{}, l.fail(start, "%q is not part of a route", r)
	}
	return token{kind: word, text: l.input[start:l.at], at: start}, nil
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func (l *lexer) skip(stop string) {
	for l.at < len(l.input) && strings.IndexByte(stop, l.input[l.at]) < 0 {
		l.at++
	}
}

// number reads a literal; a name that begins with a digit is none.
func (l *lexer) number() (token, bool) {
	start := l.at
	stop := start
	for stop < len(l.input) && strings.IndexByte(endsName+"*%|", l.input[stop]) < 0 {
		if c := l.input[stop]; stop > start && (c == '+' || c == '-') && !strings.ContainsAny(l.input[stop-1:stop], "eE") {
			break
		}
		stop++
	}
	literal := l.input[start:stop]
	value, err := strconv.ParseFloat(literal, 64)
	if hex, ok := strings.CutPrefix(strings.ToLower(literal), "0x"); ok {
		var n uint64
		n, err = strconv.ParseUint(hex, 16, 63)
		value = float64(n)
	}
	if err != nil || strings.ContainsAny(literal, "_pP") {
		return token{}, false
	}
	l.at = stop
	return token{kind: number, text: literal, value: value, at: start}, true
}

// symbols, the longer ones first.
var symbols = []string{"!=", "<>", "<=", ">=", "||", "??", "(", ")", ",", "+", "-", "*", "/", "%", "=", "<", ">", "{", "}"}

func (l *lexer) symbol() (token, bool) {
	for _, s := range symbols {
		if strings.HasPrefix(l.input[l.at:], s) {
			t := token{kind: symbol, text: s, at: l.at}
			l.at += len(s)
			return t, true
		}
	}
	return token{}, false
}

// quoted reads a text in either kind of quotes; \", \', \\ and \u0000 are its escapes.
func (l *lexer) quoted(quote byte) (token, *Error) {
	start := l.at
	var b strings.Builder
	for l.at++; l.at < len(l.input); l.at++ {
		switch c := l.input[l.at]; c {
		case quote:
			l.at++
			return token{kind: text, text: b.String(), at: start}, nil
		case '\\':
			if err := l.escape(&b); err != nil {
				return token{}, err
			}
		default:
			b.WriteByte(c)
		}
	}
	return token{}, l.fail(start, "the text that begins here has no closing %c", quote)
}

func (l *lexer) escape(b *strings.Builder) *Error {
	rest := l.input[l.at+1:]
	switch {
	case rest != "" && strings.IndexByte(`"'\`, rest[0]) >= 0:
		b.WriteByte(rest[0])
		l.at++
		return nil
	case len(rest) >= 5 && rest[0] == 'u':
		if n, err := strconv.ParseUint(rest[1:5], 16, 16); err == nil {
			b.WriteRune(rune(n))
			l.at += 5
			return nil
		}
	}
	return l.fail(l.at, `a backslash stands before ", ', \ or uXXXX only`)
}
