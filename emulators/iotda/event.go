package iotda

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// The services of events that the platform knows by itself.
const (
	timeSync   = "$time_sync"
	sdkInfo    = "$sdk_info"
	ota        = "$ota"
	subDevices = "$sub_device_manager"
	deviceRule = "$device_rule"
	discovery  = "sub_device_discovery"
)

// passive services are taken and told of, and need no answer.
var passive = []string{"$log", "$device_config", tunnelManager, discovery}

// events takes a device's events and returns the platform's answers.
func (c *Session) events(from source, payload []byte) []Answer {
	var body struct {
		ObjectDeviceID string         `json:"object_device_id"`
		Services       *[]iotda.Event `json:"services"`
	}
	if err := iotda.Decode(payload, &body); err != nil {
		c.explain(from.name, c.badReport(err, payload, "services"))
		return nil
	}
	d, ok := c.target(from.name, body.ObjectDeviceID)
	switch {
	case !ok:
		return nil
	case body.Services == nil || len(*body.Services) == 0:
		c.explain(from.name, &rule.Refusal{Rule: "DA-35/services", Seen: clip(string(payload)), Expected: `{"services":[{"service_id":"…","event_type":"…","paras":{…}}]}`})
		return nil
	}
	var answers []Answer
	for _, e := range *body.Services {
		if reply := c.oneEvent(from, d, e); reply != nil {
			down := iotda.Topic{Kind: iotda.EventsDown, DeviceID: c.id.DeviceID}
			answers = append(answers, Answer{down.Format(), iotda.Encode(iotda.Events{ObjectDeviceID: d.DeviceID, Services: []iotda.Event{*reply}})})
		}
	}
	return answers
}

func (c *Session) oneEvent(from source, d Device, e iotda.Event) *iotda.Event {
	switch {
	case e.ServiceID == timeSync && e.EventType == "time_sync_request":
		return c.timeSync(from, e)
	case e.ServiceID == sdkInfo && e.EventType == "sdk_info_report":
		c.versions(from, d, e)
		return nil
	case e.ServiceID == ota:
		c.otaEvents(from, d, e)
		return nil
	case e.ServiceID == fileManager:
		return c.files(from, d, e)
	case e.ServiceID == subDevices, "$"+e.ServiceID == subDevices: // the Java SDK leaves the $ out
		return c.children(from, e)
	case e.ServiceID == deviceRule && e.EventType == "device_rule_config_request":
		return c.reply(e, deviceRule, "device_rule_config_response", map[string]any{"rulesInfos": []any{}})
	case !slices.Contains(passive, e.ServiceID) && !c.modelled(d, e):
		c.unknownEvent(from, e, "an event of the platform's own services ($time_sync, $sdk_info, $ota, …) or of the product's")
		return nil
	}
	c.tell(from, d, e)
	return nil
}

func (c *Session) unknownEvent(from source, e iotda.Event, expected string) {
	c.explain(from.name, &rule.Refusal{Rule: "DA-34/event", Seen: "service_id " + clip(e.ServiceID) + ", event_type " + clip(e.EventType), Expected: expected})
}

// modelled reports whether an event is one of the product's own.
func (c *Session) modelled(d Device, e iotda.Event) bool {
	p, err := c.svc.Product(c.id.Instance, d.ProductID)
	if err != nil {
		return false
	}
	service, ok := p.service(e.ServiceID)
	return ok && slices.ContainsFunc(service.Events, func(m ServiceEvent) bool { return m.EventType == e.EventType })
}

// reply makes the answer to an event: it echoes the event's id, or has one of its own.
func (c *Session) reply(e iotda.Event, service, kind string, paras any) *iotda.Event {
	return &iotda.Event{ServiceID: service, EventType: kind, EventTime: iotda.FormatTime(c.svc.clock.Wall()),
		EventID: orText(e.EventID, c.svc.ids.GUID()), Paras: iotda.Encode(paras)}
}

// parasOf reads an event's parameters.
func (c *Session) parasOf(from source, e iotda.Event, v any) bool {
	if err := iotda.Decode(e.Paras, v); err != nil {
		c.explain(from.name, &rule.Refusal{Rule: "DA-35/entry", Detail: e.EventType + ": " + err.Error(), Seen: "paras " + clip(string(e.Paras)), Expected: "paras as an object"})
		return false
	}
	return true
}

func (c *Session) timeSync(from source, e iotda.Event) *iotda.Event {
	received := c.svc.clock.Wall().UnixMilli()
	var ask struct {
		Sent json.RawMessage `json:"device_send_time"` // a number, or text as Huawei's Python SDK sends it
	}
	if !c.parasOf(from, e, &ask) {
		return nil
	}
	paras := map[string]any{"server_recv_time": received, "server_send_time": c.svc.clock.Wall().UnixMilli()}
	if len(ask.Sent) > 0 {
		paras["device_send_time"] = ask.Sent
	}
	return c.reply(e, timeSync, "time_sync_response", paras)
}

// versions stores what a device tells of its software.
func (c *Session) versions(from source, d Device, e iotda.Event) {
	var told struct {
		SDK *string `json:"device_sdk_version"`
		SW  *string `json:"sw_version"`
		FW  *string `json:"fw_version"`
	}
	if !c.parasOf(from, e, &told) {
		return
	}
	_, _ = c.svc.updateDevice(c.id.Instance, d.DeviceID, func(d *Device) error {
		for at, version := range map[*string]*string{&d.SDKVersion: told.SDK, &d.SWVersion: told.SW, &d.FWVersion: told.FW} {
			if version != nil {
				*at = clip(*version)
			}
		}
		return nil
	})
}

// Publish takes a message of the device: it judges and stores it and returns the answers, which follow its
// ack. rejected is whether it is not even to be acked (DA-43).
func (c *Session) Publish(name string, payload []byte) (answers []Answer, rejected bool) {
	c.drops = 0
	if len(payload) > MaxMessage {
		c.explain(clip(name), &rule.Refusal{Rule: "DA-43/size", Seen: byteCount(len(payload)), Expected: "at most " + byteCount(MaxMessage)})
		return nil, true
	}
	topic, err := iotda.ParseTopic(name)
	from := source{name, topic}
	own := topic.DeviceID == "" || topic.DeviceID == c.id.DeviceID
	switch {
	case err != nil:
		c.explain(name, &rule.Refusal{Rule: "DA-38/topic", Detail: err.Error(), Seen: "topic " + clip(name), Expected: nearestTopic(name, c.id.DeviceID)})
	case c.id.Scope != "" && topic.Kind != iotda.BootstrapUp:
		c.explain(name, &rule.Refusal{Rule: "DA-38/topic", Detail: "a connection to the provisioning service only asks for its server", Seen: "topic " + clip(name),
			Expected: iotda.Topic{Kind: iotda.BootstrapUp, DeviceID: c.id.DeviceID}.Format()})
	case !own && topic.Kind != iotda.ShadowGet:
		own := topic
		own.DeviceID = c.id.DeviceID
		c.explain(name, &rule.Refusal{Rule: "DA-38/device", Detail: "the topic is another device's", Seen: "device id " + clip(topic.DeviceID), Expected: own.Format()})
	case !topic.Kind.IsUp():
		c.explain(name, &rule.Refusal{Rule: "DA-38/topic", Detail: "only the platform publishes to this topic", Seen: "topic " + clip(name), Expected: nearestTopic(name, c.id.DeviceID)})
	default:
		answers = c.dispatch(from, payload)
	}
	return answers, false
}

func byteCount(n int) string { return strconv.Itoa(n) + " bytes" }

func (c *Session) dispatch(from source, payload []byte) []Answer {
	switch from.topic.Kind {
	case iotda.Report:
		c.report(from, payload)
	case iotda.GatewayReport:
		c.gatewayReport(from, payload)
	case iotda.MessagesUp:
		c.message(from, payload)
	case iotda.CommandAnswer, iotda.SetResponse, iotda.GetResponse:
		c.answered(from, payload)
	case iotda.ShadowGet:
		return c.shadowGet(from, payload)
	case iotda.EventsUp:
		return c.events(from, payload)
	case iotda.BootstrapUp:
		return c.bootstrap(from.name, payload)
	case iotda.Legacy:
		c.legacy(from, payload)
	case iotda.User, iotda.Custom:
		if r := c.mayPublish(from); r != nil {
			c.explain(from.name, r)
			return nil
		}
		if r := c.lookalike(from.name); r != nil {
			c.explain(from.name, r)
		}
		c.message(from, payload)
	}
	return nil
}
