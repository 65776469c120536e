package azure

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Property is one member of a property bag.
type Property struct {
	Name  string
	Value string
	Null  bool // the name stands without =
}

// ErrBag marks a property bag that cannot be read.
var ErrBag = errors.New("malformed property bag")

// maxBag bounds the members of one bag. Names and values count into the hub's message size, so a bag of
// an accepted message could hold some ten thousand; this stays above what MQTT's 64 KiB topic can carry.
const maxBag = 32 << 10

// ParseBag reads name=value&name2=value2&name3= as it stands behind "events/" of a topic. Names and
// values are %XX decoded, a plus is a plus, one trailing slash is dropped (C# always sends it), other
// slashes belong to the text (the C SDK does not escape them). Empty text is an empty bag. A member
// without a name, a second = in a member and a broken escape are errors: the vendor's own bag reader in
// the C# device SDK (UrlEncodedDictionarySerializer) throws on them.
func ParseBag(text string) ([]Property, error) {
	text = strings.TrimSuffix(text, "/")
	if text == "" {
		return nil, nil
	}
	n := strings.Count(text, "&") + 1
	if n > maxBag {
		return nil, fmt.Errorf("%w: more than %d members", ErrBag, maxBag)
	}
	bag := make([]Property, 0, n)
	for member := range strings.SplitSeq(text, "&") {
		p, err := parseMember(member)
		if err != nil {
			return nil, err
		}
		bag = append(bag, p)
	}
	return bag, nil
}

func parseMember(member string) (Property, error) {
	name, value, equals := strings.Cut(member, "=")
	switch {
	case name == "" && equals:
		return Property{}, fmt.Errorf("%w: %q has no name before the =", ErrBag, clip(member))
	case name == "":
		return Property{}, fmt.Errorf("%w: an empty member, from a leading, trailing or doubled &", ErrBag)
	case strings.Contains(value, "="):
		return Property{}, fmt.Errorf("%w: a second = in %q; write it as %%3D", ErrBag, clip(member))
	}
	var err error
	if name, err = decode(name); err != nil {
		return Property{}, err
	}
	if value, err = decode(value); err != nil {
		return Property{}, err
	}
	return Property{Name: name, Value: value, Null: !equals}, nil
}

func decode(text string) (string, error) {
	if !strings.Contains(text, "%") {
		return text, nil
	}
	decoded, err := url.PathUnescape(text)
	if err != nil {
		return "", fmt.Errorf("%w: broken %%XX escape in %q", ErrBag, clip(text))
	}
	return decoded, nil
}

// clip keeps error texts short whatever a client sends.
func clip(text string) string {
	const most = 60
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

// FormatBag writes a bag with everything escaped, $ as %24 and / as %2F, which is what the C# and Java
// SDKs can read; null is a name alone, empty a name with =.
func FormatBag(bag []Property) string {
	var b strings.Builder
	for i, p := range bag {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(Escape(p.Name))
		if !p.Null {
			b.WriteByte('=')
			b.WriteString(Escape(p.Value))
		}
	}
	return b.String()
}

// systemNames are the hub's short names of system properties in a bag, with the names that an event
// carries to its readers (docs "Understand IoT Hub message format").
var systemNames = map[string]string{
	"$.mid":    "message-id",
	"$.cid":    "correlation-id",
	"$.uid":    "user-id",
	"$.to":     "to",
	"$.ct":     "content-type",
	"$.ce":     "content-encoding",
	"$.exp":    "absolute-expiry-time",
	"$.ctime":  "iothub-creation-time-utc",
	"$.on":     "iothub-outputname",
	"$.sub":    "dt-subject",
	"$.ifid":   "iothub-interface-id",
	"$.schema": "iothub-message-schema",
	"$.cdid":   "iothub-connection-device-id",
	"$.cmid":   "iothub-connection-module-id",
}

// SystemProperty returns the event property that a bag's short name stands for. ok is false for an
// application property.
func SystemProperty(short string) (name string, ok bool) {
	if !strings.HasPrefix(short, "$.") {
		return "", false
	}
	name, ok = systemNames[short]
	return name, ok
}
