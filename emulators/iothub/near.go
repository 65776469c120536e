package iothub

import (
	"sort"
	"strings"

	"github.com/fakecloud/fakecloud/internal/near"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// nearest returns the known name that seen was probably meant to be, with what differs; empty when none
// is close.
func nearest(seen string, known []string) (name, why string) {
	for _, k := range known {
		if k != seen && strings.EqualFold(k, seen) {
			return k, "which differs in case: ids are case-sensitive"
		}
	}
	trimmed := strings.TrimSpace(seen)
	best := 3
	for _, k := range known[:min(len(known), near.Most)] {
		if k == trimmed && trimmed != seen {
			return k, "which has no spaces around it"
		}
		limit := min(best, len(seen)/3+1)
		if d := near.Edits(seen, k, limit); d < limit {
			name, best = k, d
		}
	}
	if name != "" {
		why = "which is close to it"
	}
	return name, why
}

// deviceIDs returns the ids of a hub's devices, unordered but for hubs small enough to list.
func (s *Service) deviceIDs(hub string) []string {
	prefix := hub + keySeparator
	keys := s.devices.Keys(prefix)
	for i := range keys {
		keys[i] = keys[i][len(prefix):]
	}
	if len(keys) <= near.Most {
		sort.Strings(keys)
	}
	return keys
}

func (s *Service) nearestHost(seen string) (host, why string) {
	var hosts []string
	for _, h := range s.Hubs() {
		hosts = append(hosts, h.Host)
	}
	if name, _, dotted := strings.Cut(strings.ToLower(seen), "."); !dotted {
		for _, h := range hosts {
			if strings.HasPrefix(h, name+".") {
				return h, "which is its full name"
			}
		}
	}
	return nearest(strings.ToLower(seen), hosts)
}

// holders returns the hubs that have a device: DPS's assignment first, then in order of the hubs.
func (s *Service) holders(device string) []string {
	var at []string
	assigned, _ := s.assigned.Get(device)
	for _, h := range s.Hubs() {
		if _, ok := s.devices.Get(key(h.Host, device)); !ok {
			continue
		}
		if h.Host == assigned {
			at = append([]string{assigned}, at...)
		} else {
			at = append(at, h.Host)
		}
	}
	return at
}

// Claim says whether a CONNECT is for IoT Hub and for which hub. local are the names beside the hubs' own
// that may stand for a hub on this connection. Through such a local name the hub is the one that holds
// the device: as DPS assigned it, else the first, else the default hub. A host under the vendor's suffix
// is claimed even when no hub has it, so that the refusal is IoT Hub's own. near is the closest legal
// username where the CONNECT is not claimed but looks as if it was meant for a hub.
func (s *Service) Claim(username, clientID string, local ...string) (endpoint string, ok bool, near string) {
	u, err := azure.ParseHubUsername(username)
	if u.Host != "" {
		if h, err := s.GetHub(u.Host); err == nil {
			return h.Host, true, ""
		}
		if vendorHost(u.Host) {
			return strings.ToLower(u.Host), true, ""
		}
	}
	device, _ := split(clientID)
	if err == nil {
		for _, l := range local {
			if strings.EqualFold(l, u.Host) {
				return s.hubOf(u.DeviceID)
			}
		}
		device = u.DeviceID
	}
	return "", false, s.nearUsername(username, u, device)
}

// hubOf returns the hub behind a local name for a device.
func (s *Service) hubOf(device string) (endpoint string, ok bool, near string) {
	decoded := azure.HubUsername{DeviceID: device}.Decoded().DeviceID
	for _, id := range []string{device, decoded} {
		if at := s.holders(id); len(at) > 0 {
			return at[0], true, ""
		}
	}
	if hubs := s.Hubs(); len(hubs) > 0 {
		return hubs[0].Host, true, ""
	}
	return "", false, ""
}

func (s *Service) nearUsername(username string, u azure.HubUsername, device string) string {
	host, _ := s.nearestHost(u.Host)
	at := s.holders(device)
	switch {
	case host != "":
	case len(at) > 0:
		host = at[0]
	case strings.Contains(username, "api-version=") && !strings.Contains(username, "/registrations/") && len(s.Hubs()) > 0:
		host = s.Hubs()[0].Host
	default:
		return ""
	}
	if device == "" {
		device = "{device}"
	}
	return azure.HubUsername{Host: host, DeviceID: device, APIVersion: currentAPI}.Format()
}

// currentAPI is the api-version of today's documents.
const currentAPI = "2021-04-12"

// refusal makes the core's verdict; Code is the hub's own error code.
func refusal(id rule.ID, detail, seen, expected string) *rule.Refusal {
	return &rule.Refusal{Rule: id, Code: errorCode(id), Detail: detail, Seen: seen, Expected: expected}
}

// errorCode returns the hub's error code for a refusal at sign-in ("Troubleshoot IoT Hub error codes").
func errorCode(id rule.ID) int {
	switch id.Row() {
	case "HUB-8":
		return CodeUnauthorizedAccess
	case "HUB-12":
		return CodeDeviceDisabled
	}
	return CodeUnauthorized
}

// The hub's error codes, as its logs and HTTPS answers show them.
const (
	CodeUnauthorizedAccess = 401002
	CodeUnauthorized       = 401003
	CodeDeviceDisabled     = 403012
	CodeMessageTooLarge    = 413001
)

// listed joins names for a person, at most ten.
func listed(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// clip cuts a client's text to a sane length.
func clip(text string) string {
	const most = 300
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
