package iotda

import (
	"errors"
	"fmt"
	"strings"
)

// Kind is what a topic is for: the path after $oc/devices/{device_id}/sys/ for system topics.
type Kind string

// The system topics, as seen from the device. Those with a request id end in /request_id={id}.
const (
	MessagesUp     Kind = "messages/up"
	MessagesDown   Kind = "messages/down"
	Report         Kind = "properties/report"
	GatewayReport  Kind = "gateway/sub_devices/properties/report"
	Set            Kind = "properties/set"
	SetResponse    Kind = "properties/set/response"
	Get            Kind = "properties/get"
	GetResponse    Kind = "properties/get/response"
	ShadowGet      Kind = "shadow/get"
	ShadowResponse Kind = "shadow/get/response"
	Command        Kind = "commands"
	CommandAnswer  Kind = "commands/response"
	EventsUp       Kind = "events/up"
	EventsDown     Kind = "events/down"
	BootstrapUp    Kind = "bootstrap/up"
	BootstrapDown  Kind = "bootstrap/down"
)

// The other topics.
const (
	User       Kind = "user"   // $oc/devices/{device_id}/user/{suffix}
	Legacy     Kind = "legacy" // /huawei/v1/devices/{device_id}/data/{json,binary}
	LegacyDown Kind = "legacy-down"
	Broadcast  Kind = "broadcast" // $oc/broadcast/{suffix}
	Custom     Kind = "custom"    // any topic that does not start with $oc
)

// up says of each system topic whether devices publish to it, and withID whether it has a request id.
var systemTopics = map[Kind]struct{ up, withID bool }{
	MessagesUp: {up: true}, MessagesDown: {}, Report: {up: true}, GatewayReport: {up: true},
	Set: {withID: true}, SetResponse: {up: true, withID: true}, Get: {withID: true}, GetResponse: {up: true, withID: true},
	ShadowGet: {up: true, withID: true}, ShadowResponse: {withID: true}, Command: {withID: true}, CommandAnswer: {up: true, withID: true},
	EventsUp: {up: true}, EventsDown: {}, BootstrapUp: {up: true}, BootstrapDown: {},
}

// Up returns the paths of the system topics that devices publish to.
func Up() []Kind {
	return []Kind{Report, MessagesUp, GatewayReport, CommandAnswer, SetResponse, GetResponse, ShadowGet, EventsUp, BootstrapUp}
}

// IsUp reports whether devices publish to this kind of topic.
func (k Kind) IsUp() bool {
	switch k {
	case User, Legacy, Custom:
		return true
	}
	return systemTopics[k].up
}

// IsSystem reports whether the platform delivers to this kind of topic without a subscription.
func (k Kind) IsSystem() bool {
	_, ok := systemTopics[k]
	return ok
}

// Errors of ParseTopic.
var (
	ErrTopic     = errors.New("no topic of IoTDA")
	ErrRequestID = errors.New("the topic has no request_id")
	ErrQuery     = errors.New("the topic's query is not request_id or encoding=gzip")
)

// maxRequestID bounds what is echoed to a device.
const maxRequestID = 256

// LegacyPrefix is what the topics of the older interface begin with.
const LegacyPrefix = "/huawei/v1/devices/"

const (
	devicePrefix = "$oc/devices/"
	requestID    = "request_id="
)

// Topic is a parsed topic name.
type Topic struct {
	Kind      Kind
	DeviceID  string // empty for custom topics and broadcasts
	Suffix    string // what follows user/ or broadcast/, json or binary of a legacy topic, the whole custom topic
	RequestID string // from /request_id= or ?request_id=
	Gzip      bool   // ?encoding=gzip
}

// ParseTopic reads a topic name. Names that do not start with $oc are custom topics, whatever they are.
func ParseTopic(name string) (Topic, error) {
	switch {
	case strings.HasPrefix(name, devicePrefix):
		return parseDeviceTopic(name)
	case strings.HasPrefix(name, "$oc/broadcast/"):
		return Topic{Kind: Broadcast, Suffix: strings.TrimPrefix(name, "$oc/broadcast/")}, nil
	case strings.HasPrefix(name, "$"):
		return Topic{}, ErrTopic
	case strings.HasPrefix(name, LegacyPrefix):
		return parseLegacy(name), nil
	}
	return Topic{Kind: Custom, Suffix: name}, nil
}

func parseLegacy(name string) Topic {
	device, rest, _ := strings.Cut(strings.TrimPrefix(name, LegacyPrefix), "/")
	direction, form, _ := strings.Cut(rest, "/")
	if device != "" && (form == "json" || form == "binary") {
		switch direction {
		case "data":
			return Topic{Kind: Legacy, DeviceID: device, Suffix: form}
		case "command":
			return Topic{Kind: LegacyDown, DeviceID: device, Suffix: form}
		}
	}
	return Topic{Kind: Custom, Suffix: name}
}

func parseDeviceTopic(name string) (Topic, error) {
	device, rest, _ := strings.Cut(strings.TrimPrefix(name, devicePrefix), "/")
	rest, isSystem := strings.CutPrefix(rest, "sys/")
	id, hasID := "", false
	if isSystem { // an id is opaque: a question mark in it begins no query
		rest, id, hasID = strings.Cut(rest, "/"+requestID)
	}
	rest, query, hasQuery := strings.Cut(rest, "?")
	t := Topic{DeviceID: device}
	if device == "" {
		return t, ErrTopic
	}
	if hasQuery {
		if err := t.query(query); err != nil {
			return t, err
		}
	}
	if suffix, ok := strings.CutPrefix(rest, "user/"); ok && suffix != "" && !isSystem {
		t.Kind, t.Suffix = User, suffix
		return t, nil
	}
	known, ok := systemTopics[Kind(rest)]
	switch {
	case !isSystem, !ok, hasID && !known.withID, strings.Contains(id, "/"), len(id) > maxRequestID:
		return t, ErrTopic
	case known.withID && id == "":
		t.Kind = Kind(rest)
		return t, ErrRequestID
	case known.withID:
		t.RequestID = id
	}
	t.Kind = Kind(rest)
	return t, nil
}

// query reads what follows the question mark, which is part of the MQTT topic.
func (t *Topic) query(text string) error {
	for pair := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case name == "request_id" && value != "" && len(value) <= maxRequestID:
			t.RequestID = value
		case name == "encoding" && value == "gzip":
			t.Gzip = true
		default:
			return fmt.Errorf("%w: %q", ErrQuery, pair)
		}
	}
	return nil
}

// Format returns the topic name.
func (t Topic) Format() string {
	var name string
	switch t.Kind {
	case Custom:
		return t.Suffix
	case Broadcast:
		return "$oc/broadcast/" + t.Suffix
	case Legacy:
		return LegacyPrefix + t.DeviceID + "/data/" + t.Suffix
	case LegacyDown:
		return LegacyPrefix + t.DeviceID + "/command/" + t.Suffix
	case User:
		name = devicePrefix + t.DeviceID + "/user/" + t.Suffix
	default:
		name = devicePrefix + t.DeviceID + "/sys/" + string(t.Kind)
		if systemTopics[t.Kind].withID {
			return name + "/" + requestID + t.RequestID
		}
	}
	sign := "?"
	if t.RequestID != "" {
		name, sign = name+sign+requestID+t.RequestID, "&"
	}
	if t.Gzip {
		name += sign + "encoding=gzip"
	}
	return name
}

// Filter is what a topic filter asks for.
type Filter struct {
	// DeviceID is the device whose topics the filter is limited to; empty when it is not.
	DeviceID string
	// System is whether the filter lies under $oc.
	System bool
	// UserTopic is whether it is a custom topic, under user/ or without $oc.
	UserTopic bool
}

// ParseFilter reads a topic filter. ok is false where the filter reaches beyond one device's $oc topics,
// or into unknown ones.
func ParseFilter(filter string) (f Filter, ok bool) {
	if rest, older := strings.CutPrefix(filter, LegacyPrefix); older {
		device, _, _ := strings.Cut(rest, "/")
		if !strings.ContainsAny(device, "+#") {
			f.DeviceID = device
		}
		f.UserTopic = true
		return f, true
	}
	if !strings.HasPrefix(filter, "$") {
		return Filter{UserTopic: true}, true // wildcards at the start do not match $ topics (MQTT 3.1.1, 4.7.2)
	}
	f.System = true
	if strings.HasPrefix(filter, "$oc/broadcast/") {
		return f, true
	}
	rest, found := strings.CutPrefix(filter, devicePrefix)
	if !found {
		return f, false
	}
	device, rest, _ := strings.Cut(rest, "/")
	f.DeviceID = device
	if device == "" || strings.ContainsAny(device, "+#") {
		f.DeviceID = ""
		return f, false
	}
	f.UserTopic = strings.HasPrefix(rest, "user/")
	return f, f.UserTopic || rest == "#" || rest == "sys/#" || strings.HasPrefix(rest, "+/") || strings.HasPrefix(rest, "sys/")
}
