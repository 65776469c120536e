package edge

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// The limits of reported properties (Azure/iotedge, ReportedPropertiesValidator).
const (
	maxPatch   = 32 << 10
	maxName    = 1 << 10
	maxValue   = 4 << 10
	maxDepth   = 10
	maxInteger = 4503599627370495
	minInteger = -4503599627370496
)

// readPatch reads and checks a patch of reported properties. The status belongs to the refusal.
func readPatch(text []byte) (values map[string]any, status int, r *rule.Refusal) {
	var v any
	if err := decode(text, &v); err != nil {
		return nil, statusNoObject, refusal("EDGE-26/json", "the patch is not JSON: "+err.Error(), quote(string(text)), "a JSON object")
	}
	values, ok := v.(map[string]any)
	if !ok {
		return nil, statusNoObject, refusal("EDGE-26/json", "the patch's root is no JSON object", quote(string(text)), `{"name":value}`)
	}
	if why := checkMembers(values, "", 1); why != "" {
		return nil, statusInvalid, refusal("EDGE-26/value", why, quote(string(text)), "names of at most 1 KB without . $ # and space, values of at most 4 KB, 10 levels, integers within ±2^52")
	}
	if len(text) > maxPatch {
		return nil, statusInvalid, refusal("EDGE-26/size", "the patch is too large", count(len(text))+" bytes", "at most "+count(maxPatch)+" bytes")
	}
	return values, 0, nil
}

// checkMembers says what is wrong with an object's members, if anything.
func checkMembers(o map[string]any, path string, depth int) string {
	if depth > maxDepth {
		return fmt.Sprintf("objects are nested deeper than %d levels at %s", maxDepth, shortened(path))
	}
	for k, v := range o {
		at := strings.TrimPrefix(path+"."+k, ".")
		switch {
		case k == "" || len(k) > maxName:
			return fmt.Sprintf("a name has %d bytes at %s", len(k), shortened(at))
		case strings.ContainsAny(k, ".$# ") || strings.ContainsFunc(k, func(c rune) bool { return c < 0x20 || c >= 0x7f && c < 0xa0 }):
			return "the name " + quote(k) + " holds . $ # a space or a control character"
		}
		if why := checkValue(v, at, depth); why != "" {
			return why
		}
	}
	return ""
}

func checkValue(v any, at string, depth int) string {
	switch v := v.(type) {
	case map[string]any:
		return checkMembers(v, at, depth+1)
	case []any:
		for i, member := range v {
			if why := checkValue(member, at+"["+strconv.Itoa(i)+"]", depth); why != "" {
				return why
			}
		}
	case string:
		if len(v) > maxValue {
			return fmt.Sprintf("the text at %s has %d bytes", shortened(at), len(v))
		}
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return ""
		}
		if n, err := v.Int64(); err != nil || n > maxInteger || n < minInteger {
			return fmt.Sprintf("the integer at %s is beyond ±2^52", shortened(at))
		}
	}
	return ""
}

func shortened(path string) string {
	const most = 80
	if len(path) > most {
		path = path[:most] + "…"
	}
	return strings.ToValidUTF8(path, "\uFFFD")
}
