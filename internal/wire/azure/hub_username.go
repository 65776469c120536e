package azure

import (
	"errors"
	"net/url"
	"strings"
)

// HubUsername is what an MQTT client of IoT Hub says in its CONNECT username.
type HubUsername struct {
	Host     string // hub host name as sent
	DeviceID string // as sent: the embedded C SDK escapes / % # & in ids, nobody else does
	ModuleID string // empty for a device
	// APIVersion is empty when the client names none, which the hub accepts.
	APIVersion       string
	DeviceClientType string // product information, decoded
	ModelID          string // Plug and Play model (DTMI), decoded
	AuthChain        string // C# behind a gateway
}

// Errors of ParseHubUsername.
var (
	ErrUsernameEmpty  = errors.New("the username is empty")
	ErrUsernameDevice = errors.New("the username names no device")
	ErrUsernameHost   = errors.New("the username names no host")
	ErrUsernameModule = errors.New("the username names an empty module")
	ErrUsernameTail   = errors.New("the username has more segments than host, device, module and query")
)

// ParseHubUsername reads {host}/{device}[/{module}][/?{query}]. The query may also come without its
// question mark (documents of 2017), with slashes between its members (an old C# client), without keys
// (old embedded C SDK), or not at all. A question mark opens the query only at the start of a segment:
// inside an id it is a legal character.
func ParseHubUsername(text string) (HubUsername, error) {
	var u HubUsername
	if text == "" {
		return u, ErrUsernameEmpty
	}
	host, rest, _ := strings.Cut(text, "/")
	if host == "" {
		return u, ErrUsernameHost
	}
	u.Host = host
	u.DeviceID, rest, _ = strings.Cut(rest, "/")
	if u.DeviceID == "" || isHubQuery(u.DeviceID) {
		u.DeviceID = ""
		return u, ErrUsernameDevice
	}
	if rest == "" {
		return u, nil
	}
	if !opensQuery(rest) {
		var slash bool
		u.ModuleID, rest, slash = strings.Cut(rest, "/")
		switch {
		case u.ModuleID == "":
			return u, ErrUsernameModule
		case !slash || rest == "":
			return u, nil
		case !opensQuery(rest):
			return u, ErrUsernameTail
		}
	}
	u.readQuery(rest)
	return u, nil
}

// isHubQuery reports whether a segment in a device id's place is really the query.
func isHubQuery(segment string) bool {
	return strings.HasPrefix(segment, "?api-version=") || strings.HasPrefix(segment, "api-version=")
}

// opensQuery reports whether rest, which follows an id and a slash, is the query: it starts with a
// question mark or with a query member.
func opensQuery(rest string) bool {
	if strings.HasPrefix(rest, "?") {
		return true
	}
	for _, key := range hubQueryKeys {
		if strings.HasPrefix(rest, key+"=") {
			return true
		}
	}
	return false
}

const (
	keyAPIVersion = "api-version"
	keyClientType = "DeviceClientType"
	keyModelID    = "model-id"
	keyAuthChain  = "auth-chain"
)

var hubQueryKeys = []string{keyAPIVersion, keyClientType, keyModelID, keyAuthChain}

func (u *HubUsername) readQuery(query string) {
	if rest, ok := strings.CutPrefix(query, "?"); ok {
		query = rest
	} else if i := strings.IndexByte(query, '/'); i >= 0 && !strings.Contains(query, "&") {
		query = query[:i] + "&" + query[i+1:]
	}
	for member := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(member, "=")
		var field *string
		switch key {
		case keyAPIVersion:
			field = &u.APIVersion
		case keyClientType:
			field = &u.DeviceClientType
		case keyModelID:
			field = &u.ModelID
		case keyAuthChain:
			field = &u.AuthChain
		}
		if field != nil && *field == "" { // of two, the first counts
			*field = unescape(value)
		}
	}
}

// unescape decodes %XX; a plus stays a plus. Text with a broken escape is taken as it stands.
func unescape(text string) string {
	if decoded, err := url.PathUnescape(text); err == nil {
		return decoded
	}
	return text
}

// Escape encodes everything but letters, digits and - _ . ~ as %XX with upper-case digits, as the SDKs
// that encode do.
func Escape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// Format writes the username in today's documented form, with the query members that are set.
func (u HubUsername) Format() string {
	var b strings.Builder
	b.WriteString(u.Host + "/" + u.DeviceID)
	if u.ModuleID != "" {
		b.WriteString("/" + u.ModuleID)
	}
	separator := "/?"
	for _, m := range [][2]string{{keyAPIVersion, u.APIVersion}, {keyClientType, u.DeviceClientType},
		{keyModelID, u.ModelID}, {keyAuthChain, u.AuthChain}} {
		if m[1] != "" {
			b.WriteString(separator + m[0] + "=" + Escape(m[1]))
			separator = "&"
		}
	}
	return b.String()
}

// ClientID returns the MQTT client id that belongs to the username: {device} or {device}/{module}.
func (u HubUsername) ClientID() string {
	if u.ModuleID == "" {
		return u.DeviceID
	}
	return u.DeviceID + "/" + u.ModuleID
}

// Decoded returns u with %XX in its ids decoded, as the embedded C SDK sends them.
func (u HubUsername) Decoded() HubUsername {
	u.DeviceID, u.ModuleID = unescape(u.DeviceID), unescape(u.ModuleID)
	return u
}
