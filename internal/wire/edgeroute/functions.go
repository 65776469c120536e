package edgeroute

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// function is a built-in: the types that it takes, optional ones last, and what it gives.
type function struct {
	takes    []typ
	optional int  // how many of takes may be left out
	more     bool // any number of the last one
	gives    typ
	call     func(m *Message, args []any) any
}

// functions by their names in lower case (Azure/iotedge, Routing.Core/query/builtins).
var functions = map[string]function{
	"is_defined": {takes: []typ{anything}, gives: boolean, call: func(_ *Message, a []any) any { return a[0] != undefined }},
	"is_null":    {takes: []typ{anything}, gives: boolean, call: func(_ *Message, a []any) any { return a[0] == nil }},
	"is_string":  {takes: []typ{anything}, gives: boolean, call: is[string]},
	"is_number":  {takes: []typ{anything}, gives: boolean, call: is[float64]},
	"is_bool":    {takes: []typ{anything}, gives: boolean, call: is[bool]},
	"as_number":  {takes: []typ{anything}, gives: numeric, call: asNumber},

	"starts_with": twoTexts(boolean, func(s, t string) any { return strings.HasPrefix(s, t) }),
	"ends_with":   twoTexts(boolean, func(s, t string) any { return strings.HasSuffix(s, t) }),
	"contains":    twoTexts(boolean, func(s, t string) any { return strings.Contains(s, t) }),
	"index_of":    twoTexts(numeric, func(s, t string) any { return indexOf(s, t) }),
	"length":      oneText(numeric, func(s string) any { return float64(len(units(s))) }),
	"upper":       oneText(texts, func(s string) any { return strings.ToUpper(s) }),
	"lower":       oneText(texts, func(s string) any { return strings.ToLower(s) }),
	"substring":   {takes: []typ{texts, numeric, numeric}, optional: 1, gives: texts, call: substring},
	"concat":      {takes: []typ{texts, texts}, more: true, gives: texts, call: func(_ *Message, a []any) any { return concat(a) }},

	"abs":     oneNumber(math.Abs),
	"exp":     oneNumber(math.Exp),
	"square":  oneNumber(func(x float64) float64 { return x * x }),
	"sqrt":    oneNumber(math.Sqrt),
	"ceiling": oneNumber(math.Ceil),
	"floor":   oneNumber(math.Floor),
	"sign":    oneNumber(sign),
	"power": {takes: []typ{numeric, numeric}, gives: numeric, call: func(_ *Message, a []any) any {
		x, xOK := a[0].(float64)
		y, yOK := a[1].(float64)
		if !xOK || !yOK {
			return undefined
		}
		return defined(math.Pow(x, y))
	}},

	"twin_change_includes": {takes: []typ{texts}, gives: boolean, call: twinChangeIncludes},
}

func (f function) bind(p *parser, name token, args []*expr) (*expr, *Error) {
	least, most := len(f.takes)-f.optional, len(f.takes)
	if len(args) < least || len(args) > most && !f.more {
		want := strconv.Itoa(least)
		switch {
		case f.more:
			want = fmt.Sprintf("at least %d", least)
		case least != most:
			want = fmt.Sprintf("%d or %d", least, most)
		}
		return nil, p.at(name, "%s takes %s values, not %d", strings.ToLower(name.text), want, len(args))
	}
	for i, a := range args {
		if want := f.takes[min(i, most-1)]; want != anything && !a.typ.maybe(want) {
			return nil, p.at(name, "value %d of %s has to be %s, not %s", i+1, strings.ToLower(name.text), want, a.typ)
		}
	}
	return &expr{f.gives, func(m *Message) any {
		values := make([]any, len(args))
		for i, a := range args {
			values[i] = a.eval(m)
		}
		return f.call(m, values)
	}}, nil
}

// closest names the function that may have been meant.
func closest(name string) string {
	name = strings.ToLower(name)
	for _, known := range slices.Sorted(maps.Keys(functions)) {
		if strings.ReplaceAll(known, "_", "") == strings.ReplaceAll(name, "_", "") {
			return "; there is " + known
		}
	}
	return "; there are " + strings.Join(slices.Sorted(maps.Keys(functions)), ", ")
}

func is[T any](_ *Message, a []any) any {
	_, ok := a[0].(T)
	return ok
}

func asNumber(_ *Message, a []any) any {
	switch v := a[0].(type) {
	case float64:
		return v
	case string:
		if n, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
			return defined(n)
		}
	}
	return undefined
}

func oneText(gives typ, f func(string) any) function {
	return function{takes: []typ{texts}, gives: gives, call: func(_ *Message, a []any) any {
		if s, ok := a[0].(string); ok {
			return f(s)
		}
		return undefined
	}}
}

func twoTexts(gives typ, f func(s, t string) any) function {
	return function{takes: []typ{texts, texts}, gives: gives, call: func(_ *Message, a []any) any {
		s, sOK := a[0].(string)
		t, tOK := a[1].(string)
		if !sOK || !tOK {
			return undefined
		}
		return f(s, t)
	}}
}

func oneNumber(f func(float64) float64) function {
	return function{takes: []typ{numeric}, gives: numeric, call: func(_ *Message, a []any) any {
		if x, ok := a[0].(float64); ok {
			return defined(f(x))
		}
		return undefined
	}}
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

// units are a text's UTF-16 units, in which edgeHub's .NET counts.
func units(s string) []uint16 { return utf16.Encode([]rune(s)) }

// indexOf counts from 0; -1 is nowhere.
func indexOf(s, t string) float64 {
	at := strings.Index(s, t)
	if at < 0 {
		return -1
	}
	return float64(len(units(s[:at])))
}

// substring counts from 0; without a length it goes to the end.
func substring(_ *Message, a []any) any {
	text, ok := a[0].(string)
	start, startOK := a[1].(float64)
	s := units(text)
	if !ok || !startOK || start < 0 || start > float64(len(s)) {
		return undefined
	}
	s = s[int(start):]
	if len(a) == 3 {
		n, ok := a[2].(float64)
		if !ok || n < 0 || n > float64(len(s)) {
			return undefined
		}
		s = s[:int(n)]
	}
	return string(utf16.Decode(s))
}

func concat(values []any) any {
	var b strings.Builder
	for _, v := range values {
		s, ok := v.(string)
		if !ok {
			return undefined
		}
		b.WriteString(s)
	}
	return b.String()
}

// twinChangeIncludes says whether a notification of changed reported properties has something at a path.
func twinChangeIncludes(m *Message, a []any) any {
	path, ok := a[0].(string)
	if !ok || !strings.EqualFold(m.Source, TwinChanges) {
		return false
	}
	return m.part(path) != undefined
}

// TwinChanges is the source of notifications of changed reported properties.
const TwinChanges = "/twinChangeNotifications"
