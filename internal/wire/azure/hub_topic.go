package azure

import (
	"fmt"
	"strconv"
	"strings"
)

// maxTopic is the length of a topic in MQTT, in bytes.
const maxTopic = 0xffff

// TopicTooLong says what is wrong with a message whose properties make its topic longer than MQTT takes, once they
// are escaped; empty is nothing. Hub and gateways pass such a message over: it holds up no other, and waits for its
// time to live or for a client that polls.
func TopicTooLong(topic string) string {
	if len(topic) <= maxTopic {
		return ""
	}
	return fmt.Sprintf("message passed over: its properties make a topic of %d bytes, MQTT takes %d", len(topic), maxTopic)
}

// HubTopicKind says what a device wants with a topic.
type HubTopicKind byte

// The kinds of topics that a device publishes to.
const (
	HubTopicOther        HubTopicKind = iota // nothing that IoT Hub knows
	HubTopicEvents                           // telemetry
	HubTopicTwinGet                          // $iothub/twin/GET/?$rid=…
	HubTopicTwinReported                     // $iothub/twin/PATCH/properties/reported/?$rid=…
	HubTopicMethodResult                     // $iothub/methods/res/{status}/?$rid=…
)

// HubTopic is a topic that a device publishes to, taken apart.
type HubTopic struct {
	Kind     HubTopicKind
	DeviceID string // of telemetry, as sent
	ModuleID string
	Bag      string // of telemetry: everything after "events/", still escaped
	RID      string // $rid of a request or result
	Version  string // $version of a reported patch, empty when not given
	Status   int    // of a method's result
}

const (
	devicesPrefix  = "devices/"
	modulesPart    = "/modules/"
	eventsPart     = "/messages/events"
	twinGet        = "$iothub/twin/GET/"
	twinReported   = "$iothub/twin/PATCH/properties/reported/"
	methodsResult  = "$iothub/methods/res/"
	methodsPost    = "$iothub/methods/POST/"
	twinResult     = "$iothub/twin/res/"
	twinDesired    = "$iothub/twin/PATCH/properties/desired/"
	deviceboundEnd = "/messages/devicebound/"
)

// ParseHubTopic takes a topic apart. Telemetry may stand without its trailing slash, and everything
// after "events/" is the property bag.
func ParseHubTopic(topic string) HubTopic {
	if rest, ok := strings.CutPrefix(topic, devicesPrefix); ok {
		return parseEvents(rest)
	}
	if rest, ok := strings.CutPrefix(topic, twinGet); ok {
		return parseRequest(HubTopic{Kind: HubTopicTwinGet}, rest)
	}
	if rest, ok := strings.CutPrefix(topic, twinReported); ok {
		return parseRequest(HubTopic{Kind: HubTopicTwinReported}, rest)
	}
	if rest, ok := strings.CutPrefix(topic, methodsResult); ok {
		status, query, slash := strings.Cut(rest, "/")
		n, err := strconv.Atoi(status)
		if err != nil || !slash {
			return HubTopic{}
		}
		return parseRequest(HubTopic{Kind: HubTopicMethodResult, Status: n}, query)
	}
	return HubTopic{}
}

// parseEvents reads {device}[/modules/{module}]/messages/events[/{bag}].
func parseEvents(rest string) HubTopic {
	head, tail, found := strings.Cut(rest, eventsPart)
	if !found || tail != "" && tail[0] != '/' {
		return HubTopic{}
	}
	t := HubTopic{Kind: HubTopicEvents, DeviceID: head, Bag: strings.TrimPrefix(tail, "/")}
	if device, module, ok := strings.Cut(head, modulesPart); ok {
		t.DeviceID, t.ModuleID = device, module
		if module == "" {
			return HubTopic{}
		}
	}
	if t.DeviceID == "" || strings.Contains(t.DeviceID, "/") || strings.Contains(t.ModuleID, "/") {
		return HubTopic{}
	}
	return t
}

// parseRequest reads ?$rid=…[&$version=…]; other members are ignored.
func parseRequest(t HubTopic, query string) HubTopic {
	if query != "" && query[0] != '?' {
		return HubTopic{}
	}
	for member := range strings.SplitSeq(strings.TrimPrefix(query, "?"), "&") {
		name, value, _ := strings.Cut(member, "=")
		switch unescape(name) {
		case "$rid":
			t.RID = value
		case "$version":
			t.Version = value
		}
	}
	return t
}

// EventsTopic returns the topic for telemetry of a device or, where module is not empty, of a module.
func EventsTopic(device, module string, bag []Property) string {
	return EventsPrefix(device, module) + "/" + FormatBag(bag)
}

// EventsPrefix returns the telemetry topic without trailing slash and bag.
func EventsPrefix(device, module string) string { return identityPrefix(device, module) + eventsPart }

// identityPrefix returns how an identity's topics and filters begin: devices/{id}[/modules/{id}]. An id may
// hold # and +, which MQTT keeps for filters (3.1.1, section 4.7.1); such an id stands percent-encoded.
func identityPrefix(device, module string) string {
	prefix := devicesPrefix + withoutWildcards(device)
	if module != "" {
		prefix += modulesPart + withoutWildcards(module)
	}
	return prefix
}

func withoutWildcards(id string) string {
	if strings.ContainsAny(id, "+#") {
		return EscapeTopicID(id)
	}
	return id
}

// EscapeTopicID percent-encodes what may not stand in a topic, and the percent sign with it. Some clients
// write every id so.
func EscapeTopicID(id string) string {
	return strings.NewReplacer("%", "%25", "#", "%23", "+", "%2B").Replace(id)
}

// TwinResultTopic returns the topic of a twin request's answer; version, the new one of a reported
// patch, may be empty. $rid comes first and the status has three digits: SDKs parse by position.
func TwinResultTopic(status int, rid, version string) string {
	topic := twinResult + strconv.Itoa(status) + "/?$rid=" + rid
	if version != "" {
		topic += "&$version=" + version
	}
	return topic
}

// TwinDesiredTopic returns the topic of a change of desired properties.
func TwinDesiredTopic(version int64) string {
	return twinDesired + "?$version=" + strconv.FormatInt(version, 10)
}

// MethodTopic returns the topic of a call of a direct method. The slash before the question mark is part
// of it: the C and Java SDKs take the fourth segment as the name.
func MethodTopic(method, rid string) string {
	return methodsPost + method + "/?$rid=" + rid
}

// DeviceboundTopic returns the topic of a cloud-to-device message.
func DeviceboundTopic(device, module string, bag []Property) string {
	return identityPrefix(device, module) + deviceboundEnd + FormatBag(bag)
}
