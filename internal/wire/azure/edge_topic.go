package azure

import (
	"strings"
)

// EdgeFilterKind says what a filter switches on at an IoT Edge gateway, which grants every filter.
type EdgeFilterKind byte

// The kinds of filters that a gateway knows (Azure/iotedge, SessionStateParser).
const (
	EdgeFilterOther EdgeFilterKind = iota // granted and ignored
	EdgeFilterDevicebound
	EdgeFilterInputs // a module's inputs
	EdgeFilterTwinResult
	EdgeFilterTwinDesired
	EdgeFilterMethods
)

// ParseEdgeFilter classes a filter. Whose id stands in it is not looked at.
func ParseEdgeFilter(filter string) EdgeFilterKind {
	switch {
	case strings.HasPrefix(filter, methodsPost):
		return EdgeFilterMethods
	case strings.HasPrefix(filter, twinDesired):
		return EdgeFilterTwinDesired
	case strings.HasSuffix(filter, deviceboundEnd[1:]+"#"):
		return EdgeFilterDevicebound
	case filter == twinResult+"#":
		return EdgeFilterTwinResult
	case strings.HasPrefix(filter, devicesPrefix) && strings.HasSuffix(filter, "/#"):
		if head, tail, ok := strings.Cut(filter[len(devicesPrefix):], modulesPart); ok && head != "" && len(tail) > len("/#") {
			return EdgeFilterInputs
		}
	}
	return EdgeFilterOther
}

// EdgeTwinKind says what is wrong with a topic below $iothub/twin/, if anything.
type EdgeTwinKind byte

// The kinds of twin topics at a gateway.
const (
	EdgeTwinNone     EdgeTwinKind = iota // no twin topic
	EdgeTwinGet                          // read
	EdgeTwinReported                     // patch of reported properties
	EdgeTwinResource                     // another verb, or something after it
)

const twinPrefix = "$iothub/twin/"

// ParseEdgeTwin takes a twin request apart. rid is empty where the client gave none.
func ParseEdgeTwin(topic string) (kind EdgeTwinKind, rid string) {
	if !strings.HasPrefix(topic, twinPrefix) {
		return EdgeTwinNone, ""
	}
	switch t := ParseHubTopic(topic); t.Kind {
	case HubTopicTwinGet:
		return EdgeTwinGet, t.RID
	case HubTopicTwinReported:
		return EdgeTwinReported, t.RID
	}
	return EdgeTwinResource, ""
}

// EdgeMethodResult reads $iothub/methods/res/{status}/?$rid={rid}. A status that is no number counts as
// 400, and the request id is compared in lower case.
func EdgeMethodResult(topic string) (status int, rid string, ok bool) {
	rest, found := strings.CutPrefix(topic, methodsResult)
	if !found {
		return 0, "", false
	}
	text, query, slash := strings.Cut(rest, "/")
	if !slash {
		return 0, "", false
	}
	t := parseRequest(HubTopic{Kind: HubTopicMethodResult}, query)
	if t.Kind != HubTopicMethodResult {
		return 0, "", false
	}
	status = 400
	if n, good := parseInt(text); good {
		status = n
	}
	return status, strings.ToLower(t.RID), true
}

func parseInt(text string) (int, bool) {
	n := 0
	if text == "" || len(text) > 9 {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// InputTopic returns the topic on which a module of the gateway gets a message.
func InputTopic(device, module, input string, bag []Property) string {
	return identityPrefix(device, module) + "/inputs/" + input + "/" + FormatBag(bag)
}
