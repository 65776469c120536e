package iotda

import (
	"strconv"
	"strings"
)

// sqlKind is the kind of a token.
type sqlKind int

const (
	sqlEnd sqlKind = iota
	sqlVariable
	sqlConstant
	sqlSymbol
)

// sqlToken is a token of a clause: text as written, the path of a variable (keys and indexes), the value of a
// constant.
type sqlToken struct {
	kind  sqlKind
	text  string
	path  []any
	value any
}

// sqlOperand yields a value of a notification, nil where it has none.
type sqlOperand func(doc any) any

type sqlParser struct {
	clause string
	tokens []sqlToken
	at     int
	depth  int
}

// newSQLParser takes a clause apart; its keyword may stand before it.
func newSQLParser(clause, text string) (*sqlParser, error) {
	p := &sqlParser{clause: clause}
	if len(text) > maxSQL {
		return p, invalid("%s: at most %d characters", clause, maxSQL)
	}
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		t, n := sqlScan(rest)
		if n == 0 {
			return p, invalid("%s: at %q: a variable, a constant or an operator", clause, clip(rest))
		}
		p.tokens = append(p.tokens, t)
		rest = rest[n:]
	}
	if len(p.tokens) > 0 && strings.EqualFold(p.tokens[0].text, clause) {
		p.at = 1
	}
	return p, nil
}

func (p *sqlParser) next() sqlToken {
	if p.at >= len(p.tokens) {
		return sqlToken{}
	}
	return p.tokens[p.at]
}

// accept takes a symbol, or a keyword in either case.
func (p *sqlParser) accept(text string) bool {
	t := p.next()
	if t.kind == sqlEnd || t.kind == sqlConstant || !strings.EqualFold(t.text, text) {
		return false
	}
	p.at++
	return true
}

func (p *sqlParser) expected(what string) error {
	at := "the end"
	if t := p.next(); t.kind != sqlEnd {
		at = strconv.Quote(clip(t.text))
	}
	return invalid("%s: at %s: expected %s", p.clause, at, what)
}

func (p *sqlParser) operand() (sqlOperand, error) {
	t := p.next()
	switch t.kind {
	case sqlConstant:
		p.at++
		return func(any) any { return t.value }, nil
	case sqlVariable:
		p.at++
		if p.next().text == "(" {
			return nil, invalid("%s: function %s: functions are not emulated", p.clause, clip(t.text))
		}
		return func(doc any) any { return sqlValue(doc, t.path) }, nil
	}
	return nil, p.expected("a variable such as notify_data.header.device_id, or a constant")
}

// sqlValue follows a path into a notification.
func sqlValue(doc any, path []any) any {
	for _, step := range path {
		switch here := doc.(type) {
		case map[string]any:
			key, _ := step.(string)
			doc = here[key]
		case []any:
			i, ok := step.(int)
			if !ok || i >= len(here) {
				return nil
			}
			doc = here[i]
		default:
			return nil
		}
	}
	return doc
}

// sqlScan reads one token; n is 0 where there is none.
func sqlScan(text string) (t sqlToken, n int) {
	switch first := text[0]; {
	case first == '\'':
		end := strings.IndexByte(text[1:], '\'')
		if end < 0 {
			return t, 0
		}
		return sqlToken{kind: sqlConstant, text: text[:end+2], value: text[1 : end+1]}, end + 2
	case first >= '0' && first <= '9', first == '-':
		n = 1
		for n < len(text) && (text[n] >= '0' && text[n] <= '9' || text[n] == '.') {
			n++
		}
		number, err := strconv.ParseFloat(text[:n], 64)
		if err != nil {
			return t, 0
		}
		return sqlToken{kind: sqlConstant, text: text[:n], value: number}, n
	case first == '"' || sqlLetter(first):
		return sqlScanVariable(text)
	}
	for _, symbol := range []string{"!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ",", "*"} {
		if strings.HasPrefix(text, symbol) {
			return sqlToken{kind: sqlSymbol, text: symbol}, len(symbol)
		}
	}
	return t, 0
}

func sqlLetter(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// sqlScanVariable reads a variable: keys joined by dots, in double quotes where they hold a hyphen, and indexes
// in brackets. The constants true, false and null look like one.
func sqlScanVariable(text string) (t sqlToken, n int) {
	t.kind = sqlVariable
	for {
		begin := n
		if n < len(text) && text[n] == '"' {
			end := strings.IndexByte(text[n+1:], '"')
			if end <= 0 {
				return t, 0
			}
			t.path = append(t.path, text[n+1:n+1+end])
			n += end + 2
		} else {
			for n < len(text) && sqlLetter(text[n]) {
				n++
			}
			if n == begin {
				return t, 0
			}
			t.path = append(t.path, text[begin:n])
		}
		for n < len(text) && text[n] == '[' {
			end := strings.IndexByte(text[n:], ']')
			if end < 0 {
				return t, 0
			}
			index, err := strconv.ParseUint(text[n+1:n+end], 10, 16)
			if err != nil {
				return t, 0
			}
			t.path = append(t.path, int(index))
			n += end + 1
		}
		if n >= len(text) || text[n] != '.' {
			break
		}
		n++
	}
	t.text = text[:n]
	if value, ok := map[string]any{"true": true, "false": false, "null": nil}[strings.ToLower(t.text)]; ok {
		t.kind, t.value = sqlConstant, value
	}
	return t, n
}
