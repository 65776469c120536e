package mindsphere

import "slices"

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
