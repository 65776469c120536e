package iothub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// The limits of twins ("Understand and use device twins", section "Device twin size" and following).
const (
	maxSection  = 32 << 10 // desired or reported: bytes of keys and values
	maxTags     = 8 << 10
	maxKeyBytes = 1 << 10
	maxString   = 4 << 10
	maxDepth    = 10 // objects within objects, the root not counted
	maxInteger  = 4503599627370495
	minInteger  = -4503599627370496
)

// Further error codes, of twins ("Troubleshoot IoT Hub error codes"; amenzhinsky/iothub issue 70).
const (
	CodeArgumentInvalid = 400004
	CodeMalformedJSON   = 400006
	CodePrecondition    = 412001
)

// flaw is what is wrong with a twin's value.
type flaw struct {
	cause                  string // of HUB-53
	detail, seen, expected string
}

func twinRefusal(id rule.ID, code int, detail, seen, expected string) *rule.Refusal {
	return &rule.Refusal{Rule: id, Code: code, Detail: detail, Seen: seen, Expected: expected}
}

// asRefusal returns the refusal that an update ended with; an identity that is gone is HUB-12's.
func asRefusal(err error, id Identity) *rule.Refusal {
	var r *rule.Refusal
	if errors.As(err, &r) {
		return r
	}
	return deletedRefusal(id.Name())
}

// readPatch reads and checks a patch of reported properties.
func readPatch(text []byte) (map[string]any, *rule.Refusal) {
	var value any
	if err := decodeJSON(text, &value); err != nil {
		return nil, twinRefusal("HUB-53/json", CodeMalformedJSON, "the patch is not JSON: "+err.Error(), quote(string(text)), "a JSON object")
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, twinRefusal("HUB-53/root", CodeArgumentInvalid, "the patch's root is no JSON object", quote(string(text)), "{\"name\":value}")
	}
	if f := checkObject(object); f != nil {
		return nil, twinRefusal(rule.ID("HUB-53/"+f.cause), CodeArgumentInvalid, f.detail, f.seen, f.expected)
	}
	return object, nil
}

// decodeJSON reads exactly one JSON value and keeps numbers as they are written.
func decodeJSON(text []byte, into any) error {
	if !utf8.Valid(text) {
		return errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("empty")
		}
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("something follows the value at byte %d", d.InputOffset())
	}
	return nil
}

func checkObject(o map[string]any) *flaw { return checkMembers(o, "", 0) }

func checkMembers(o map[string]any, path string, depth int) *flaw {
	if depth > maxDepth {
		return &flaw{"depth", "objects are nested too deep at " + clip(path), fmt.Sprintf("depth %d", depth), fmt.Sprintf("at most %d objects within each other", maxDepth)}
	}
	for k, v := range o {
		if f := checkKey(k, path); f != nil {
			return f
		}
		if f := checkValue(v, path+"."+k, depth); f != nil {
			return f
		}
	}
	return nil
}

func checkKey(k, path string) *flaw {
	const allowed = "a key of at most 1 KB without control characters, dot, $ and space"
	at := ""
	if path != "" {
		at = " in " + clip(path[1:])
	}
	switch {
	case k == "":
		return &flaw{"key", "an empty key" + at, `""`, allowed}
	case len(k) > maxKeyBytes:
		return &flaw{"key", "a key is too long" + at, fmt.Sprintf("%d bytes", len(k)), allowed}
	case strings.ContainsAny(k, ".$ "):
		return &flaw{"key", "a key has a dot, a $ or a space" + at, quote(k), allowed}
	case strings.ContainsFunc(k, isControl):
		return &flaw{"key", "a key has a control character" + at, quote(k), allowed}
	}
	return nil
}

// isControl reports C0 and C1 control characters.
func isControl(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

func checkValue(v any, path string, depth int) *flaw {
	switch v := v.(type) {
	case map[string]any:
		return checkMembers(v, path, depth+1)
	case []any:
		for i, member := range v {
			if f := checkValue(member, path+"["+strconv.Itoa(i)+"]", depth); f != nil {
				return f
			}
		}
	case string:
		if len(v) > maxString {
			return &flaw{"string", "a string is too long at " + clip(path[1:]), fmt.Sprintf("%d bytes", len(v)), fmt.Sprintf("at most %d bytes", maxString)}
		}
	case json.Number:
		return checkNumber(v, path)
	}
	return nil
}

func checkNumber(n json.Number, path string) *flaw {
	text := n.String()
	if strings.ContainsAny(text, ".eE") {
		return nil
	}
	i, err := strconv.ParseInt(text, 10, 64)
	if err == nil && i >= minInteger && i <= maxInteger {
		return nil
	}
	return &flaw{"integer", "an integer is out of range at " + clip(path[1:]), clip(text), fmt.Sprintf("%d to %d", int64(minInteger), int64(maxInteger))}
}

// sizeOf counts as the hub does: bytes of keys and of values (strings as UTF-8 without control
// characters, numbers 8, booleans 4).
func sizeOf(v any) int {
	switch v := v.(type) {
	case map[string]any:
		n := 0
		for k, member := range v {
			n += len(k) + sizeOf(member)
		}
		return n
	case []any:
		n := 0
		for _, member := range v {
			n += sizeOf(member)
		}
		return n
	case string:
		n := len(v)
		for _, r := range v {
			if isControl(r) {
				n -= utf8.RuneLen(r)
			}
		}
		return n
	case bool:
		return 4
	case nil:
		return 0
	default:
		return 8
	}
}

// merge puts patch over into: objects merge, null removes, anything else replaces. meta follows in the
// same shape and may be nil.
func merge(into, patch map[string]any, meta *Metadata, at Metadata) {
	meta.touch(at)
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(into, k)
			meta.drop(k)
		case map[string]any:
			below, ok := into[k].(map[string]any)
			if !ok {
				below = map[string]any{}
				meta.drop(k)
			}
			into[k] = below
			merge(below, v, meta.member(k), at)
		default:
			into[k] = cloneValue(v)
			meta.drop(k)
			meta.member(k).touch(at)
		}
	}
}

func (m *Metadata) touch(at Metadata) {
	if m != nil {
		m.Updated, m.Version = at.Updated, at.Version
	}
}

func (m *Metadata) drop(k string) {
	if m != nil {
		delete(m.Members, k)
	}
}

// member returns the metadata of a member, made where there is none.
func (m *Metadata) member(k string) *Metadata {
	if m == nil {
		return nil
	}
	if m.Members == nil {
		m.Members = map[string]*Metadata{}
	}
	if m.Members[k] == nil {
		m.Members[k] = &Metadata{}
	}
	return m.Members[k]
}

func (m *Metadata) clone() *Metadata {
	if m == nil {
		return nil
	}
	c := &Metadata{Updated: m.Updated, Version: m.Version}
	if m.Members != nil {
		c.Members = make(map[string]*Metadata, len(m.Members))
		for k, member := range m.Members {
			c.Members[k] = member.clone()
		}
	}
	return c
}

func cloneObject(o map[string]any) map[string]any {
	c := make(map[string]any, len(o))
	for k, v := range o {
		c[k] = cloneValue(v)
	}
	return c
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return cloneObject(v)
	case []any:
		c := make([]any, len(v))
		for i, member := range v {
			c[i] = cloneValue(member)
		}
		return c
	}
	return v
}

// withVersion writes an object with its "$version".
func withVersion(o map[string]any, version int64) json.RawMessage {
	c := make(map[string]any, len(o)+1)
	for k, v := range o {
		c[k] = v
	}
	c["$version"] = version
	return mustJSON(c)
}

// mustJSON writes what came from JSON; that cannot fail.
func mustJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
