package azure

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// SAS is a parsed shared access signature.
type SAS struct {
	Resource string    // sr as received, still percent-encoded: the text that was signed
	Sig      []byte    // decoded signature
	Expiry   time.Time // se
	ExpiryS  string    // se as received
	Policy   string    // skn, decoded; empty for a device key
}

// sasPrefix opens every token.
const sasPrefix = "SharedAccessSignature "

// maxSAS bounds a token; real ones stay below 1 KiB.
const maxSAS = 8 << 10

// Errors of ParseSAS. They never carry the token's text.
var (
	ErrNotSAS = errors.New("not a SharedAccessSignature")
	ErrBadSAS = errors.New("malformed SharedAccessSignature")
)

// IsSAS reports whether text claims to be a token.
func IsSAS(text string) bool { return strings.HasPrefix(text, sasPrefix) }

// ParseSAS reads "SharedAccessSignature sr=…&sig=…&se=…[&skn=…]"; the fields may come in any order and
// skn may be empty (the Java SDK sends it so). Unknown fields are ignored.
func ParseSAS(token string) (SAS, error) {
	var s SAS
	if !IsSAS(token) {
		return s, ErrNotSAS
	}
	if len(token) > maxSAS {
		return s, fmt.Errorf("%w: longer than %d bytes", ErrBadSAS, maxSAS)
	}
	var haveSig bool
	for field := range strings.SplitSeq(strings.TrimSpace(token[len(sasPrefix):]), "&") {
		name, value, _ := strings.Cut(field, "=")
		var err error
		switch name {
		case "sr":
			s.Resource = value
		case "sig":
			s.Sig, err = decodeSig(value)
			haveSig = true
		case "se":
			s.ExpiryS = value
			s.Expiry, err = parseExpiry(value)
		case "skn":
			s.Policy, err = url.PathUnescape(value)
		}
		if err != nil {
			return s, fmt.Errorf("%w: field %s", ErrBadSAS, name)
		}
	}
	switch {
	case s.Resource == "":
		return s, fmt.Errorf("%w: no sr", ErrBadSAS)
	case !haveSig:
		return s, fmt.Errorf("%w: no sig", ErrBadSAS)
	case s.ExpiryS == "":
		return s, fmt.Errorf("%w: no se", ErrBadSAS)
	}
	return s, nil
}

func decodeSig(value string) ([]byte, error) {
	text, err := url.PathUnescape(value) // + stays +, as base64 needs
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(text)
}

// maxExpiry is the last second of the year 9999; later ones (the Node service SDK sends milliseconds)
// are clamped to it.
const maxExpiry = 253402300799

func parseExpiry(value string) (time.Time, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, ErrBadSAS
	}
	return time.Unix(min(n, maxExpiry), 0).UTC(), nil
}

// Signature returns base64(HMAC-SHA256(key, sr + "\n" + se)) over the texts as they stand in the token.
func Signature(key []byte, resource, expiry string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(resource + "\n" + expiry))
	return mac.Sum(nil)
}

// SignedBy reports whether key made the signature over the resource text as received: SDKs escape with
// upper or lower case hexadecimal, and both verify.
func (s SAS) SignedBy(key []byte) bool {
	return hmac.Equal(s.Sig, Signature(key, s.Resource, s.ExpiryS))
}

// Target returns the decoded resource with its host, the part before the first slash, in lower case.
func (s SAS) Target() (string, error) {
	text, err := url.PathUnescape(s.Resource)
	if err != nil {
		return "", fmt.Errorf("%w: field sr", ErrBadSAS)
	}
	host, path, slash := strings.Cut(text, "/")
	if !slash {
		return strings.ToLower(host), nil
	}
	return strings.ToLower(host) + "/" + path, nil
}

// Covers reports whether resource is a prefix of target by whole path segments.
func Covers(resource, target string) bool {
	resource = strings.TrimSuffix(resource, "/")
	return resource == target || strings.HasPrefix(target, resource+"/")
}

// FormatSAS signs resource (decoded) with key until expiry; policy may be empty.
func FormatSAS(resource string, key []byte, expiry time.Time, policy string) string {
	sr, se := url.QueryEscape(resource), strconv.FormatInt(expiry.Unix(), 10)
	sig := base64.StdEncoding.EncodeToString(Signature(key, sr, se))
	token := sasPrefix + "sr=" + sr + "&sig=" + url.QueryEscape(sig) + "&se=" + se
	if policy != "" {
		token += "&skn=" + url.QueryEscape(policy)
	}
	return token
}

// MaskSAS hides the signature of a token, for the journal: whatever stands behind a sig= of any spelling, and all but
// the first word of a text that has none, which may be a key.
func MaskSAS(token string) string {
	shown, rest := "", token
	for {
		i := afterSig(rest)
		if i < 0 {
			break
		}
		shown += rest[:i] + "***"
		j := strings.IndexByte(rest[i:], '&')
		if j < 0 {
			return shown
		}
		rest = rest[i+j:]
	}
	if shown != "" {
		return shown + rest
	}
	if first, _, more := strings.Cut(token, " "); more {
		return first + " ***"
	}
	return "***"
}

// afterSig returns where the value of the first sig= of any spelling begins, -1 without one.
func afterSig(text string) int {
	const name = "sig="
	for i := range len(text) - len(name) + 1 {
		if strings.EqualFold(text[i:i+len(name)], name) {
			return i + len(name)
		}
	}
	return -1
}

// MaskPassword hides what is secret in a password: the signature of a token, and any other password whole.
func MaskPassword(password []byte) string {
	switch text := string(password); {
	case text == "":
		return ""
	case IsSAS(text):
		return MaskSAS(text)
	}
	return "***"
}

// DeriveKey returns a group member's key: HMAC-SHA256(group key, registration id as presented).
func DeriveKey(groupKey []byte, registrationID string) []byte {
	mac := hmac.New(sha256.New, groupKey)
	mac.Write([]byte(registrationID))
	return mac.Sum(nil)
}
