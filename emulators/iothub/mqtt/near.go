package mqtt

import (
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// nearTopic explains a topic that IoT Hub does not know and names the closest legal one.
func nearTopic(topic string, id iothub.Identity) *rule.Refusal {
	events := azure.EventsPrefix(id.DeviceID, id.ModuleID) + "/"
	lower := strings.ToLower(topic)
	r := &rule.Refusal{Rule: "HUB-35/topic", Seen: shown(topic), Expected: events}
	switch {
	case strings.HasPrefix(topic, "/") && strings.HasPrefix(topic[1:], "devices/"):
		r.Detail = "the topic begins with a slash"
	case strings.HasPrefix(lower, "$iothub/twin/patch/properties/desired"):
		r.Rule, r.Detail = "HUB-57/desired", "desired properties come from the hub; a device reports its own"
		r.Expected = "$iothub/twin/PATCH/properties/reported/?$rid={id}"
	case strings.HasPrefix(lower, "$iothub/methods/post"):
		r.Rule, r.Detail = "HUB-58/call", "a device answers methods, it does not call them"
		r.Expected = "$iothub/methods/res/{status}/?$rid={id of the call}"
	case strings.HasPrefix(lower, "$iothub/methods/res"):
		r.Detail = "a method's answer has an integer status, and a slash before the question mark"
		r.Expected = "$iothub/methods/res/{status}/?$rid={id of the call}"
	case strings.HasPrefix(lower, "$iothub/twin"):
		r.Detail = "no such twin topic; case counts"
		r.Expected = "$iothub/twin/GET/?$rid={id} or $iothub/twin/PATCH/properties/reported/?$rid={id}"
	case strings.HasPrefix(lower, "$dps/"):
		r.Detail = "this is a topic of the Device Provisioning Service, the connection is to IoT Hub"
	case strings.Contains(lower, "devicebound"):
		r.Detail = "devicebound is the way to the device; telemetry goes to events"
	case strings.HasPrefix(lower, "devices/") && strings.Contains(lower, "messages/event"):
		r.Detail = "the topic is close to the events topic; case and spelling count"
	default:
		r.Detail = "IoT Hub is no general broker: it knows no such topic"
	}
	return r
}

// nearFilter names the filter that was probably meant.
func nearFilter(filter, device, module string) string {
	own := azure.DeviceboundFilters(device, module)[0]
	lower := strings.ToLower(filter)
	switch {
	case strings.HasPrefix(lower, "$iothub/twin/res"):
		return "$iothub/twin/res/#"
	case strings.HasPrefix(lower, "$iothub/twin"):
		return "$iothub/twin/PATCH/properties/desired/#"
	case strings.HasPrefix(lower, "$iothub/method"):
		return "$iothub/methods/POST/#"
	case strings.HasPrefix(lower, "devices/"):
		return own
	default:
		return own + ", $iothub/twin/res/#, $iothub/twin/PATCH/properties/desired/# or $iothub/methods/POST/#"
	}
}
