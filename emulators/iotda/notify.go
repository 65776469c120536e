package iotda

import (
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// Notification is what data forwarding tells of (pages iot_06_v5_01201 and following).
type Notification struct {
	Resource  string // device.property, device.message, device.status, device, …
	Event     string // report, update, create, delete
	RequestID string // the device's ?request_id=, else made
	Body      any

	session *Session
	topic   string
}

// notice is the JSON of a Notification.
type notice struct {
	Resource    string     `json:"resource"`
	Event       string     `json:"event"`
	EventTime   string     `json:"event_time"`
	EventTimeMs string     `json:"event_time_ms"`
	RequestID   string     `json:"request_id"`
	NotifyData  notifyData `json:"notify_data"`
}

type notifyData struct {
	Header notifyHeader `json:"header"`
	Body   any          `json:"body"`
}

type notifyHeader struct {
	AppID     string `json:"app_id"`
	DeviceID  string `json:"device_id"`
	NodeID    string `json:"node_id"`
	ProductID string `json:"product_id"`
	GatewayID string `json:"gateway_id"`
	Tags      []Tag  `json:"tags"`
}

// notify writes a notification about a device into the journal, in the form in which it is forwarded, and
// forwards it.
func (s *Service) notify(instance string, d Device, n Notification) {
	now := s.clock.Wall()
	if n.RequestID == "" {
		n.RequestID = s.ids.GUID()
	}
	payload := iotda.Encode(notice{
		Resource: n.Resource, Event: n.Event, EventTime: iotda.FormatTime(now), EventTimeMs: now.UTC().Format(iotda.MillisLayout), RequestID: n.RequestID,
		NotifyData: notifyData{Header: notifyHeader{AppID: d.AppID, DeviceID: d.DeviceID, NodeID: d.NodeID, ProductID: d.ProductID,
			GatewayID: d.Gateway(), Tags: append([]Tag{}, d.Tags...)}, Body: n.Body},
	})
	kind := journal.Property
	switch n.Resource {
	case "device.message":
		kind = journal.Telemetry
	case "device.command.status", "device.message.status":
		kind = journal.Command
	case "device.status":
		kind = journal.Twin
	}
	e := journal.Event{Platform: Platform, Endpoint: instance, Device: d.DeviceID, Kind: kind, Topic: n.topic, Payload: payload,
		Properties: map[string]string{"resource": n.Resource, "event": n.Event, "requestId": n.RequestID}}
	if n.session != nil {
		e.Conn, e.Address = n.session.conn, n.session.address
	}
	s.journal.Append(e)
	s.forward(instance, d, n, payload)
}
