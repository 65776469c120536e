package fakecloud

import "github.com/fakecloud/fakecloud/emulators/iothub"

// Message is a stored device-to-cloud message.
type Message = iothub.Message

// Telemetry returns the stored messages of a hub, named by its host, after the number since, oldest first,
// at most limit of them (0 is no limit), and the number to continue after. An empty device takes all
// devices; an unknown hub has none.
func (c *Cloud) Telemetry(hub, device string, since uint64, limit int) (messages []Message, next uint64) {
	return c.gen().cores.hub.Telemetry(hub, device, since, limit)
}
