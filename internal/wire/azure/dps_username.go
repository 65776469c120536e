package azure

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// DPSAPIVersion is the api-version that the device SDKs send today.
const DPSAPIVersion = "2019-03-31"

// dpsAPIVersions are the versions seen in SDKs, logs and the REST reference; which of them the service
// still serves is unconfirmed, so all are accepted.
var dpsAPIVersions = map[string]bool{
	"2017-08-31-preview": true, "2017-11-15": true, "2018-04-01": true, "2018-09-01-preview": true,
	"2018-11-01": true, DPSAPIVersion: true, "2021-06-01": true, "2021-10-01": true, "2025-07-01-preview": true,
}

// MaxDPSRegistrationID is the longest registration, enrollment group and device id in characters.
const MaxDPSRegistrationID = 128

// maxDPSUsername bounds a username; real ones stay below 300 bytes.
const maxDPSUsername = 4 << 10

// Errors of ParseDPSUsername.
var (
	ErrDPSUsername       = errors.New("not {idScope}/registrations/{registrationId}/api-version={version}")
	ErrDPSRegistrationID = errors.New("not a registration id: 1 to 128 of letters, digits and - . _ : with a letter, digit or - at the end")
	ErrDPSAPIVersion     = errors.New("no api-version that DPS knows")
)

// DPSUsername is the username of a DPS device connection.
type DPSUsername struct {
	Scope          string // ID scope
	RegistrationID string
	APIVersion     string
	ClientVersion  string // decoded where its percent-encoding is whole, else as received
}

// ParseDPSUsername reads
// "{idScope}/registrations/{registrationId}/api-version={version}[&ClientVersion={text}]". There is no
// question mark before api-version (MicrosoftDocs iot-mqtt-connect-to-iot-dps.md). The client version may
// be percent-encoded in any way or not at all; unknown parameters are ignored.
func ParseDPSUsername(text string) (DPSUsername, error) {
	var u DPSUsername
	if len(text) > maxDPSUsername {
		return u, fmt.Errorf("%w: longer than %d bytes", ErrDPSUsername, maxDPSUsername)
	}
	parts := strings.SplitN(text, "/", 4)
	if len(parts) != 4 || parts[0] == "" || parts[1] != "registrations" {
		return u, ErrDPSUsername
	}
	id, err := url.PathUnescape(parts[2])
	if err != nil || !ValidDPSRegistrationID(id) {
		return u, ErrDPSRegistrationID
	}
	u.Scope, u.RegistrationID = parts[0], id
	for field := range strings.SplitSeq(parts[3], "&") {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "api-version":
			u.APIVersion = value
		case "ClientVersion":
			u.ClientVersion = value
			if plain, err := url.PathUnescape(value); err == nil {
				u.ClientVersion = plain
			}
		}
	}
	if !dpsAPIVersions[u.APIVersion] {
		return u, ErrDPSAPIVersion
	}
	return u, nil
}

// FormatDPSUsername writes a username; the client version, percent-encoded here, may be empty.
func FormatDPSUsername(u DPSUsername) string {
	text := u.Scope + "/registrations/" + u.RegistrationID + "/api-version=" + u.APIVersion
	if u.ClientVersion != "" {
		text += "&ClientVersion=" + strings.ReplaceAll(url.QueryEscape(u.ClientVersion), "+", "%20")
	}
	return text
}

// NearDPSUsername returns the closest legal form of a username that was refused, with placeholders for
// what it does not hold.
func NearDPSUsername(text string) string {
	u := DPSUsername{Scope: "{idScope}", RegistrationID: "{registrationId}", APIVersion: DPSAPIVersion}
	head, query := text, ""
	if i := strings.Index(text, "api-version"); i >= 0 {
		head, query = text[:i], text[i:]
	}
	scope, id := nearDPSNames(strings.FieldsFunc(head, func(r rune) bool { return r == '/' || r == '?' || r == '&' }))
	if scope != "" && len(scope) <= MaxDPSRegistrationID && !strings.Contains(scope, ".") { // with a dot it is a hub's host
		u.Scope = scope
	}
	if ValidDPSRegistrationID(id) {
		u.RegistrationID = id
	}
	_, version, _ := strings.Cut(query, "=")
	version, _, _ = strings.Cut(version, "&")
	if dpsAPIVersions[version] {
		u.APIVersion = version
	}
	return FormatDPSUsername(u)
}

// nearDPSNames finds what is meant as ID scope and as registration id among the words before the api-version: the
// ones around "registrations", or else the first and the last. A single word is told by its form.
func nearDPSNames(words []string) (scope, id string) {
	at := slices.IndexFunc(words, func(w string) bool {
		return strings.EqualFold(w, "registrations") || strings.EqualFold(w, "registration")
	})
	switch {
	case at > 0:
		scope = words[0]
	case at < 0 && len(words) == 1 && !formedAsIDScope(words[0]):
		return "", words[0]
	case at < 0 && len(words) > 0:
		scope, at = words[0], len(words)-2
	}
	if at >= 0 && at+1 < len(words) {
		id = words[at+1]
	}
	return scope, id
}

// formedAsIDScope reports whether a word looks like 0ne00FAKE01: 0, two letters for the cloud, eight characters.
func formedAsIDScope(w string) bool {
	letter := func(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
	return len(w) == len("0ne00FAKE01") && w[0] == '0' && letter(w[1]) && letter(w[2]) && !strings.ContainsAny(w, "-._:")
}

// ClaimsDPS reports whether a username has the form of a DPS device's, whatever its ID scope, and
// returns that scope.
func ClaimsDPS(username string) (scope string, ok bool) {
	scope, rest, _ := strings.Cut(username, "/")
	if scope == "" || !strings.HasPrefix(rest, "registrations/") {
		return "", false
	}
	return scope, true
}

// ValidDPSRegistrationID reports whether id is legal for a registration or an enrollment group
// (concepts-service.md): 1 to 128 letters, digits and - . _ : ending in a letter, a digit or -.
func ValidDPSRegistrationID(id string) bool {
	if id == "" || len(id) > MaxDPSRegistrationID {
		return false
	}
	for i := 0; i < len(id); i++ {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
		case (c == '.' || c == '_' || c == ':') && i < len(id)-1:
		default:
			return false
		}
	}
	return true
}
