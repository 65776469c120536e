package mindsphere

import (
	"maps"
	"slices"
	"strings"
)

// In region eu2 a channel travels as one property of an IoT Hub message: its application is the name, its
// topic the value, as in devices/{clientId}/messages/events/amo_v3=m ("MindConnect Async API").

// FromProperties returns the outbound channel that a message's properties name; found is false when none of
// them does.
func FromProperties(properties map[string]string) (c Channel, found bool) {
	for _, known := range outbound {
		if properties[known.App] == known.Name {
			return known, true
		}
	}
	return Channel{}, false
}

// Property returns the property that carries c. For answers the source names none: it mirrors the requests'.
func (c Channel) Property() (name, value string) { return c.App, c.Name }

// Apps returns the application names of a direction, each once.
func Apps(d Direction) []string {
	var apps []string
	for _, c := range Channels(d) {
		if !slices.Contains(apps, c.App) {
			apps = append(apps, c.App)
		}
	}
	return apps
}

// NearProperty returns the property of an outbound channel that is closest to what a message's properties name.
func NearProperty(properties map[string]string) string {
	const most, longest = 16, 64 // looked at, of any number that a message may have
	best, fewest := outbound[0], -1
	for i, name := range slices.Sorted(maps.Keys(properties)) {
		if i == most {
			break
		}
		tail := strings.ToLower(name + "/" + properties[name])
		tail = tail[:min(len(tail), longest)]
		if c := nearest(tail, outbound); fewest < 0 || distance(tail, c) < fewest {
			best, fewest = c, distance(tail, c)
		}
	}
	return best.App + "=" + best.Name
}

// ShowProperties writes properties down for a message, shortened.
func ShowProperties(properties map[string]string) string {
	const most = 256
	var all []string
	for name, value := range properties {
		all = append(all, name+"="+value)
	}
	if len(all) == 0 {
		return "no property"
	}
	slices.Sort(all)
	text := strings.Join(all, " ")
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
