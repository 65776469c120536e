package azure

import (
	"net/url"
	"strings"
)

// HubPathKind is what a device asks for with a path of the hub's HTTPS API.
type HubPathKind byte

// The kinds of path.
const (
	HubPathOther         HubPathKind = iota
	HubPathEvents                    // POST devices/{id}[/modules/{m}]/messages/events
	HubPathDevicebound               // GET devices/{id}/messages/deviceBound
	HubPathSettle                    // DELETE devices/{id}/messages/deviceBound/{lock}
	HubPathAbandon                   // POST devices/{id}/messages/deviceBound/{lock}/abandon
	HubPathFiles                     // POST devices/{id}/files
	HubPathNotifications             // POST devices/{id}/files/notifications[/{correlation id}]
)

// HubPath is a path of the device API, its parts decoded.
type HubPath struct {
	Kind     HubPathKind
	DeviceID string
	ModuleID string // empty for a device
	// ID is the lock of a message or the correlation id of an upload.
	ID string
}

// maxHubPath bounds a path; three ids of 128 characters, each escaped, stay far below.
const maxHubPath = 4 << 10

// ParseHubPath reads a path of the device API as it stands in the request line, without query. Its words
// may have any case (both deviceBound and devicebound are seen), ids are percent-encoded, and a trailing
// slash does not count (the C SDK posts to files/). Kind is HubPathOther where the path is none of a
// device's; DeviceID is then set where it begins as one.
func ParseHubPath(escaped string) HubPath {
	var p HubPath
	if len(escaped) > maxHubPath {
		return p
	}
	parts, err := segments(escaped)
	if err != nil || len(parts) < 2 || !strings.EqualFold(parts[0], "devices") || parts[1] == "" {
		return p
	}
	p.DeviceID = parts[1]
	rest := parts[2:]
	if len(rest) > 2 && strings.EqualFold(rest[0], "modules") && rest[1] != "" {
		p.ModuleID, rest = rest[1], rest[2:]
	}
	at := func(words ...string) bool {
		if len(rest) < len(words) {
			return false
		}
		for i, w := range words {
			if !strings.EqualFold(rest[i], w) {
				return false
			}
		}
		return true
	}
	switch n := len(rest); {
	case n == 2 && at("messages", "events"):
		p.Kind = HubPathEvents
	case n == 2 && at("messages", "devicebound"):
		p.Kind = HubPathDevicebound
	case n == 3 && at("messages", "devicebound"):
		p.Kind, p.ID = HubPathSettle, unquoted(rest[2])
	case n == 4 && at("messages", "devicebound") && strings.EqualFold(rest[3], "abandon"):
		p.Kind, p.ID = HubPathAbandon, unquoted(rest[2])
	case n == 1 && at("files"):
		p.Kind = HubPathFiles
	case n == 2 && at("files", "notifications"):
		p.Kind = HubPathNotifications
	case n == 3 && at("files", "notifications"):
		p.Kind, p.ID = HubPathNotifications, rest[2]
	}
	return p
}

// unquoted drops the quotes of an ETag, with which some clients write a lock.
func unquoted(text string) string { return strings.Trim(text, `"`) }

// segments splits a path and decodes its parts; a trailing slash adds none.
func segments(escaped string) ([]string, error) {
	parts := strings.Split(strings.Trim(escaped, "/"), "/")
	for i, p := range parts {
		decoded, err := url.PathUnescape(p)
		if err != nil {
			return nil, err
		}
		parts[i] = decoded
	}
	return parts, nil
}

// FormatHubPath writes a path as the documents print it.
func FormatHubPath(p HubPath) string {
	path := "/devices/" + Escape(p.DeviceID)
	if p.ModuleID != "" {
		path += "/modules/" + Escape(p.ModuleID)
	}
	switch p.Kind {
	case HubPathEvents:
		return path + "/messages/events"
	case HubPathDevicebound:
		return path + "/messages/deviceBound"
	case HubPathSettle:
		return path + "/messages/deviceBound/" + Escape(p.ID)
	case HubPathAbandon:
		return path + "/messages/deviceBound/" + Escape(p.ID) + "/abandon"
	case HubPathFiles:
		return path + "/files"
	case HubPathNotifications:
		if p.ID != "" {
			return path + "/files/notifications/" + Escape(p.ID)
		}
		return path + "/files/notifications"
	}
	return path
}

// DPSPathKind is what a device asks of DPS over HTTPS.
type DPSPathKind byte

// The kinds of path.
const (
	DPSPathOther    DPSPathKind = iota
	DPSPathRegister             // PUT {scope}/registrations/{id}/register
	DPSPathPoll                 // GET {scope}/registrations/{id}/operations/{operation id}
	DPSPathLookup               // POST {scope}/registrations/{id}
)

// DPSPath is a path of DPS's device API, its parts decoded.
type DPSPath struct {
	Kind           DPSPathKind
	Scope          string
	RegistrationID string
	OperationID    string
}

// ParseDPSPath reads a path as it stands in the request line, without query. Kind is DPSPathOther where it
// is none of a device's; Scope is set where it has the form {scope}/registrations/….
func ParseDPSPath(escaped string) DPSPath {
	var p DPSPath
	if len(escaped) > maxHubPath {
		return p
	}
	parts, err := segments(escaped)
	if err != nil || len(parts) < 3 || !strings.EqualFold(parts[1], "registrations") || parts[0] == "" || parts[2] == "" {
		return p
	}
	p.Scope, p.RegistrationID = parts[0], parts[2]
	switch {
	case len(parts) == 3:
		p.Kind = DPSPathLookup
	case len(parts) == 4 && strings.EqualFold(parts[3], "register"):
		p.Kind = DPSPathRegister
	case len(parts) == 5 && strings.EqualFold(parts[3], "operations"):
		p.Kind, p.OperationID = DPSPathPoll, parts[4]
	}
	return p
}

// FormatDPSPath writes a path.
func FormatDPSPath(p DPSPath) string {
	path := "/" + Escape(p.Scope) + "/registrations/" + Escape(p.RegistrationID)
	switch p.Kind {
	case DPSPathRegister:
		return path + "/register"
	case DPSPathPoll:
		return path + "/operations/" + Escape(p.OperationID)
	}
	return path
}

// ValidHubAPIVersion reports whether text is a date version, optionally a preview: 2021-04-12,
// 2025-08-01-preview. IoT Hub, DPS and the resource manager have the same form.
func ValidHubAPIVersion(text string) bool {
	text = strings.TrimSuffix(text, "-preview")
	if len(text) != len("2021-04-12") {
		return false
	}
	for i := range len(text) {
		dash := i == 4 || i == 7
		if dash != (text[i] == '-') || !dash && (text[i] < '0' || text[i] > '9') {
			return false
		}
	}
	month, day := text[5:7], text[8:]
	return month >= "01" && month <= "12" && day >= "01" && day <= "31"
}
