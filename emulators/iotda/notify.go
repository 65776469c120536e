package iotda

import (
	"bytes"
	"slices"

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
	Header *notifyHeader `json:"header,omitempty"`
	Body   any           `json:"body,omitempty"`
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
	if n.RequestID == "" {
		n.RequestID = s.ids.GUID()
	}
	payload := s.notice(n, notifyData{Header: headerOf(d), Body: n.Body})
	kind := journal.Property
	switch n.Resource {
	case "device.message":
		kind = journal.Telemetry
	case "device.status":
		kind = journal.Twin
	}
	e := journal.Event{Platform: Platform, Endpoint: instance, Device: d.DeviceID, Kind: kind, Topic: n.topic, Payload: payload,
		Properties: map[string]string{"resource": n.Resource, "event": n.Event, "requestId": n.RequestID}}
	if n.session != nil {
		e.Conn, e.Address = n.session.conn, n.session.address
	}
	s.journal.Append(e)
	if routes := s.forwardedBy(instance, d.AppID, n); len(routes) > 0 {
		s.forward(routes, parcel{instance, d.DeviceID, payload})
	}
}

func headerOf(d Device) *notifyHeader {
	return &notifyHeader{AppID: d.AppID, DeviceID: d.DeviceID, NodeID: d.NodeID, ProductID: d.ProductID,
		GatewayID: d.Gateway(), Tags: append([]Tag{}, d.Tags...)}
}

func (s *Service) notice(n Notification, data notifyData) []byte {
	now := s.clock.Wall()
	return iotda.Encode(notice{Resource: n.Resource, Event: n.Event, EventTime: iotda.FormatTime(now), EventTimeMs: now.UTC().Format(iotda.MillisLayout),
		RequestID: n.RequestID, NotifyData: data})
}

// announce forwards a change of the platform's own records, where a rule wants it. The journal has it as the
// call that goes out, not for itself: a change is the application's doing, and a large registry would push
// out what devices do. data is made for those that want it only.
func (s *Service) announce(instance, app, device string, n Notification, data func() notifyData) {
	routes := s.forwardedBy(instance, app, n)
	if len(routes) == 0 {
		return
	}
	n.RequestID = s.ids.GUID()
	s.forward(routes, parcel{instance, device, s.notice(n, data())})
}

// The events of what is told of.
const (
	created = "create"
	updated = "update"
	deleted = "delete"
	reports = "report"
)

// tellDevice announces that a device was created or updated (pages iot_06_v5_01206, 01207): a body without secrets.
func (s *Service) tellDevice(instance string, d Device, event string) {
	s.announce(instance, d.AppID, d.DeviceID, Notification{Resource: "device", Event: event}, func() notifyData {
		d.Auth.Secret, d.Auth.SecondarySecret = "", ""
		return notifyData{Body: s.ViewDevice(instance, d)}
	})
}

// tellDeletedDevice announces that a device was deleted (page iot_06_v5_01208): a header alone.
func (s *Service) tellDeletedDevice(instance string, d Device) {
	s.announce(instance, d.AppID, d.DeviceID, Notification{Resource: "device", Event: deleted}, func() notifyData {
		return notifyData{Header: headerOf(d)}
	})
}

// sameToTell reports whether two states of a device differ in nothing that an application sees.
func sameToTell(a, b Device) bool {
	return a.Name == b.Name && a.Description == b.Description && a.GatewayID == b.GatewayID && a.Frozen == b.Frozen &&
		a.FWVersion == b.FWVersion && a.SWVersion == b.SWVersion && a.SDKVersion == b.SDKVersion &&
		a.Auth.SecureAccess == b.Auth.SecureAccess && a.Auth.Fingerprint == b.Auth.Fingerprint &&
		slices.Equal(a.Tags, b.Tags) && bytes.Equal(a.ExtensionInfo, b.ExtensionInfo)
}

// tellProduct announces that a product was created or updated (pages iot_06_v5_01209, 01210).
func (s *Service) tellProduct(instance string, p Product, event string) {
	s.announce(instance, p.AppID, "", Notification{Resource: "product", Event: event}, func() notifyData {
		return notifyData{Body: s.ViewProduct(instance, p)}
	})
}

// tellDeletedProduct announces that a product was deleted (page iot_06_v5_01211).
func (s *Service) tellDeletedProduct(instance string, p Product) {
	s.announce(instance, p.AppID, "", Notification{Resource: "product", Event: deleted}, func() notifyData {
		return notifyData{Body: map[string]string{"app_id": p.AppID, "product_id": p.ProductID, "name": p.Name}}
	})
}

// messageStatus is the body of device.message.status.
type messageStatus struct {
	Topic     string     `json:"topic"`
	MessageID string     `json:"message_id"`
	Name      string     `json:"name"`
	Status    string     `json:"status"`
	Timestamp string     `json:"timestamp"`
	Error     *ErrorInfo `json:"error_info,omitempty"`
}

// tellMessage announces the state that a message to a device has come to (page iot_06_v5_01203).
func (s *Service) tellMessage(instance, device string, m Message) {
	d, err := s.Device(instance, device)
	if err != nil {
		return
	}
	s.announce(instance, d.AppID, device, Notification{Resource: "device.message.status", Event: updated}, func() notifyData {
		at := m.Finished
		if at.IsZero() {
			at = m.Created
		}
		body := messageStatus{Topic: m.Topic, MessageID: m.ID, Name: m.Name, Status: m.Status, Timestamp: iotda.FormatTime(at)}
		if m.Error != nil {
			body.Error = m.Error.Info()
		}
		return notifyData{Header: headerOf(d), Body: body}
	})
}

// tellTask announces that a batch task has another status than before (page iot_06_v5_01204).
func (s *Service) tellTask(instance, before string, t Task) {
	if t.Status() == before {
		return
	}
	s.announce(instance, t.AppID, "", Notification{Resource: "batchtask", Event: updated}, func() notifyData {
		return notifyData{Body: map[string]string{"app_id": t.AppID, "task_id": t.ID, "task_type": t.Type, "status": t.Status(), "status_desc": t.Status()}}
	})
}
