package iotda

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// MaxMessage is the largest payload ("Limitations", iot_04_0010); a compressed one may not unpack to more.
const MaxMessage = 1 << 20

// maxChildReports is how many children one gateway report may hold; the page names no certain figure.
const maxChildReports = 100

// source is where a report comes from: its topic and what the topic says of it.
type source struct {
	name  string
	topic iotda.Topic
}

// rawService is one service of a report before its parts are judged.
type rawService struct {
	ServiceID  any `json:"service_id"`
	Properties any `json:"properties"`
	EventTime  any `json:"event_time"`
}

func notJSON(err error, payload []byte) *rule.Refusal {
	return &rule.Refusal{Rule: "DA-35/json", Detail: err.Error(), Seen: clip(string(payload)), Expected: "one JSON object in UTF-8"}
}

// unpack undoes the compression that the topic names.
func (c *Session) unpack(from source, payload []byte) ([]byte, bool) {
	if !from.topic.Gzip {
		return payload, true
	}
	r, err := gzip.NewReader(bytes.NewReader(payload))
	var plain []byte
	if err == nil {
		plain, err = io.ReadAll(io.LimitReader(r, MaxMessage+1))
	}
	if err == nil && len(plain) > MaxMessage {
		err = errors.New("it unpacks to more than 1 MB")
	}
	if err != nil {
		c.explain(from.name, &rule.Refusal{Rule: "DA-37/gzip", Detail: "the payload cannot be unpacked: " + err.Error(),
			Seen: fmt.Sprintf("%d bytes, first % x", len(payload), payload[:min(len(payload), 4)]), Expected: "gzip of the JSON, beginning with 1f 8b, or a topic without encoding=gzip"})
		return nil, false
	}
	return plain, true
}

// report takes a device's own property report (section 2.1 of the rules: nothing is answered).
func (c *Session) report(from source, payload []byte) {
	payload, ok := c.unpack(from, payload)
	if !ok {
		return
	}
	var body struct {
		Services *[]rawService `json:"services"`
	}
	if err := iotda.Decode(payload, &body); err != nil {
		c.explain(from.name, c.badReport(err, payload, "services"))
		return
	}
	if body.Services == nil || len(*body.Services) == 0 {
		c.explain(from.name, &rule.Refusal{Rule: "DA-35/services", Seen: clip(string(payload)), Expected: `{"services":[{"service_id":"…","properties":{…}}]}`})
		return
	}
	if d, err := c.svc.Device(c.id.Instance, c.id.DeviceID); err == nil {
		c.accept(from, d, *body.Services)
	}
}

// badReport tells a list of another type from what is no JSON.
func (c *Session) badReport(err error, payload []byte, list string) *rule.Refusal {
	r := notJSON(err, payload)
	if json.Valid(payload) {
		r.Rule, r.Expected = "DA-35/services", fmt.Sprintf("{%q:[…]}", list)
	}
	return r
}

// gatewayReport takes a gateway's report for its children; another's child is skipped (DA-46).
func (c *Session) gatewayReport(from source, payload []byte) {
	payload, ok := c.unpack(from, payload)
	if !ok {
		return
	}
	var body struct {
		Devices *[]struct {
			DeviceID string       `json:"device_id"`
			Services []rawService `json:"services"`
		} `json:"devices"`
	}
	if err := iotda.Decode(payload, &body); err != nil {
		c.explain(from.name, c.badReport(err, payload, "devices"))
		return
	}
	if body.Devices == nil || len(*body.Devices) == 0 {
		c.explain(from.name, &rule.Refusal{Rule: "DA-35/services", Seen: clip(string(payload)), Expected: `{"devices":[{"device_id":"…","services":[…]}]}`})
		return
	}
	devices := *body.Devices
	if len(devices) > maxChildReports {
		c.explain(from.name, &rule.Refusal{Rule: "DA-46/count", Seen: fmt.Sprintf("%d devices", len(devices)), Expected: fmt.Sprintf("at most %d in one report", maxChildReports)})
		devices = devices[:maxChildReports]
	}
	for i, child := range devices {
		unread := &rule.Refusal{Rule: "DA-35/entry", Seen: fmt.Sprintf("devices[%d]: device_id %q, %d services", i, clip(child.DeviceID), len(child.Services)),
			Expected: `{"device_id":"…","services":[{"service_id":"…","properties":{…}}]}`}
		if child.DeviceID == "" {
			c.explain(from.name, unread)
			continue
		}
		d, ok := c.target(from.name, child.DeviceID)
		switch {
		case !ok:
		case len(child.Services) == 0:
			c.explain(from.name, unread)
		default:
			c.accept(from, d, child.Services)
		}
	}
}

// target returns the device that a body names: the connected one, or a child of it. Anything else is
// explained.
func (c *Session) target(topic, id string) (Device, bool) {
	d, err := c.svc.Device(c.id.Instance, orText(id, c.id.DeviceID))
	if err == nil && (d.DeviceID == c.id.DeviceID || d.GatewayID == c.id.DeviceID) {
		return d, true
	}
	r := &rule.Refusal{Rule: "DA-46/child", Detail: fmt.Sprintf("device %q is no child of %s", clip(id), c.id.DeviceID), Seen: "device id " + clip(id)}
	var children []string
	for _, child := range c.svc.Children(c.id.Instance, c.id.DeviceID) {
		children = append(children, child.DeviceID)
	}
	switch {
	case err == nil && d.GatewayID != "":
		r.Expected = "its own gateway " + d.GatewayID
	case err == nil:
		r.Expected = "the device itself, which is no child"
	case len(children) == 0:
		r.Expected = "a child of " + c.id.DeviceID + ", which has none"
	default:
		r.Expected = "a child of " + c.id.DeviceID + ": " + listed(children)
	}
	c.explain(topic, r)
	return Device{}, false
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// accept judges the services of a report against the product model, stores what fits and tells of it.
func (c *Session) accept(from source, d Device, services []rawService) {
	p, err := c.svc.Product(c.id.Instance, d.ProductID)
	if err != nil {
		return
	}
	var taken []iotda.ServiceData
	for i, raw := range services {
		if data, ok := c.judge(from.name, p, i, raw); ok {
			taken = append(taken, data)
		}
	}
	if len(taken) == 0 {
		return
	}
	c.svc.storeReported(c.id.Instance, d.DeviceID, taken)
	c.svc.notify(c.id.Instance, d, Notification{Resource: "device.property", Event: "report", RequestID: from.topic.RequestID,
		Body: iotda.PropertyReport{Services: taken}, session: c, topic: from.name})
}

// judge returns what is left of one service of a report.
func (c *Session) judge(topic string, p Product, i int, raw rawService) (iotda.ServiceData, bool) {
	id, isText := raw.ServiceID.(string)
	properties, isObject := raw.Properties.(map[string]any)
	if !isText || id == "" || !isObject {
		c.explain(topic, &rule.Refusal{Rule: "DA-35/entry", Seen: fmt.Sprintf("services[%d]: service_id %s, properties %s", i, shown(raw.ServiceID), shown(raw.Properties)),
			Expected: "service_id as text and properties as an object"})
		return iotda.ServiceData{}, false
	}
	service, known := p.service(id)
	if !known {
		c.explain(topic, &rule.Refusal{Rule: "DA-34/service", Detail: fmt.Sprintf("product %s has no service %q", p.ProductID, clip(id)),
			Seen: "service_id " + clip(id), Expected: p.nearService(id)})
		return iotda.ServiceData{}, false
	}
	kept := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		value := properties[name]
		where := id + "." + clip(name)
		property, known := service.property(name)
		if !known {
			c.explain(topic, &rule.Refusal{Rule: "DA-34/property", Detail: fmt.Sprintf("service %s has no property %q", id, clip(name)),
				Seen: where, Expected: closest(name, service.propertyNames())})
			continue
		}
		if r := property.check(where, value); r != nil {
			c.explain(topic, r)
			continue
		}
		kept[name] = value
	}
	if len(kept) == 0 {
		return iotda.ServiceData{}, false
	}
	return iotda.ServiceData{ServiceID: id, Properties: kept, EventTime: c.eventTime(topic, id, raw.EventTime)}, true
}

func (p Product) nearService(id string) string {
	ids := p.serviceIDs()
	if len(ids) == 0 {
		return "a service of the product, which has none"
	}
	return closest(id, ids)
}

// closest names the closest legal name, or all.
func closest(name string, names []string) string {
	if best := nearest(name, names); best != "" {
		return best
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return "one of " + listed(names)
}

// eventTime returns a report's time, or the time of receipt where it has none that can be read.
func (c *Session) eventTime(topic, service string, sent any) string {
	now := iotda.FormatTime(c.svc.clock.Wall())
	if sent == nil {
		return now
	}
	text, isText := sent.(string)
	if _, ok := iotda.ParseTime(text); ok && isText {
		return text
	}
	e := c.event(journal.Property, topic)
	e.Rule, e.Seen, e.Expected = "DA-31/time", service+": event_time "+shown(sent), "20151212T121212Z or 2020-08-12T12:12:12.333Z, in UTC"
	c.svc.journal.Append(e)
	return now
}
