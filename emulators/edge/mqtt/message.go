package mqtt

import (
	"fmt"
	"time"

	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// message translates a PUBLISH to an events topic.
func message(m broker.Message, t azure.HubTopic) (edge.Message, error) {
	msg := edge.Message{DeviceID: t.DeviceID, ModuleID: t.ModuleID, Body: m.Payload}
	bag, err := azure.ParseBag(t.Bag)
	if err != nil {
		return msg, err
	}
	for _, p := range bag {
		name, system := azure.SystemProperty(p.Name)
		switch {
		case p.Name == "$.cdid" || p.Name == "$.cmid": // the topic says it
		case p.Name == "$.on":
			msg.Output = p.Value
			msg.System = append(msg.System, edge.Property{Name: name, Value: p.Value})
		case system:
			msg.System = append(msg.System, edge.Property{Name: name, Value: p.Value})
		default:
			msg.App = append(msg.App, edge.Property{Name: p.Name, Value: p.Value, Null: p.Null})
		}
	}
	if m.Retain {
		msg.App = append(msg.App, edge.Property{Name: "mqtt-retain", Value: "true"})
	}
	if m.Dup {
		msg.App = append(msg.App, edge.Property{Name: "mqtt-dup", Value: "true"})
	}
	return msg, nil
}

// Desired implements edge.Downlink.
func (d *device) Desired(version int64, body []byte) bool {
	return d.desired.Load() && d.link.Send(broker.Outgoing{Topic: azure.TwinDesiredTopic(version), Payload: body, QoS: 1})
}

// Call implements edge.Downlink.
func (d *device) Call(rid, method string, payload []byte) bool {
	return d.methods.Load() && d.link.Send(broker.Outgoing{Topic: azure.MethodTopic(method, rid), Payload: payload, QoS: 1})
}

// Message implements edge.Downlink. The PUBACK completes a message; where QoS 0 was granted, sending does.
func (d *device) Message(m edge.C2D, complete func()) bool {
	id := d.who.Identity
	return d.devicebound.Load() && d.send(azure.DeviceboundTopic(id.DeviceID, id.ModuleID, deviceboundBag(id, m)), m.Body, m.Properties, complete)
}

// clockSkew is how much younger edgeHub takes a message from the hub to be than its enqueued time
// (DeviceClientMessageConverter).
const clockSkew = 30 * time.Second

// Wants implements edge.Downlink. A message goes to subscriptions that are older than itself; where none of those
// matches edgeHub rejects it (MqttAdapter.TryMatchSubscription).
func (d *device) Wants(m edge.C2D) *rule.Refusal {
	if !d.devicebound.Load() {
		return nil
	}
	id := d.who.Identity
	topic := azure.DeviceboundTopic(id.DeviceID, id.ModuleID, nil)
	newest := m.EnqueuedAt.Add(clockSkew)
	var since time.Time
	d.subbing.Lock()
	defer d.subbing.Unlock()
	for filter, sub := range d.subs {
		switch {
		case !broker.Matches(filter, topic):
		case !sub.Since.After(newest):
			return nil
		case since.IsZero() || sub.Since.Before(since):
			since = sub.Since
		}
	}
	if since.IsZero() {
		return &rule.Refusal{Rule: "EDGE-34/filter", Silent: true, Detail: "no subscription of the child matches the topic of its messages: rejected at the hub",
			Seen: "topic " + shown(topic), Expected: "a subscription to " + topic + "#"}
	}
	return &rule.Refusal{Rule: "EDGE-34/older", Silent: true, Detail: "the message is older than the child's subscription: rejected at the hub",
		Seen:     fmt.Sprintf("message id %s, sent at %s, subscribed at %s", shown(m.MessageID), m.EnqueuedAt.UTC().Format(time.RFC3339), since.UTC().Format(time.RFC3339)),
		Expected: fmt.Sprintf("a message that is sent after the subscription, or at most %s before", clockSkew)}
}

// Input implements edge.Downlink.
func (d *device) Input(input string, m *edge.Message, complete func()) bool {
	id := d.who.Identity
	return d.inputs.Load() && d.send(azure.InputTopic(id.DeviceID, id.ModuleID, input, inputBag(m)), m.Body, m.App, complete)
}

// send sends with QoS 1, or what the message asks for (mqtt-qos).
func (d *device) send(topic string, body []byte, properties []edge.Property, complete func()) bool {
	if tooLong := azure.TopicTooLong(topic); tooLong != "" {
		e := d.session.Event(journal.C2D)
		e.Dir, e.Detail = journal.Out, tooLong
		d.head.svc.Journal().Append(e)
		return true
	}
	qos := byte(1)
	for _, p := range properties {
		if p.Name == "mqtt-qos" && p.Value == "0" {
			qos = 0
		}
	}
	return d.link.Send(broker.Outgoing{Topic: topic, Payload: body, QoS: qos, Acked: complete, Sent: func(qos byte) {
		if qos == 0 {
			complete()
		}
	}})
}

// shortNames are a bag's names of system properties that a gateway delivers (Azure/iotedge,
// OutgoingSystemPropertiesMap).
var shortNames = map[string]string{
	"absolute-expiry-time": "$.exp", "correlation-id": "$.cid", "message-id": "$.mid", "to": "$.to", "user-id": "$.uid",
	"content-type": "$.ct", "content-encoding": "$.ce", "iothub-message-schema": "$.schema", "iothub-creation-time-utc": "$.ctime",
	"dt-subject": "$.sub",
}

// inputBag is what a module gets of a message: the sender, its system properties, the application's.
func inputBag(m *edge.Message) []azure.Property {
	device, module := m.Sender()
	bag := []azure.Property{{Name: "$.cdid", Value: device}}
	if module != "" {
		bag = append(bag, azure.Property{Name: "$.cmid", Value: module})
	}
	for _, p := range m.System {
		if short, ok := shortNames[p.Name]; ok {
			bag = append(bag, azure.Property{Name: short, Value: p.Value})
		}
	}
	return appendApp(bag, m.App)
}

func deviceboundBag(id edge.Identity, m edge.C2D) []azure.Property {
	to := m.To
	if to == "" {
		to = "/devices/" + id.DeviceID + "/messages/deviceBound"
		if id.ModuleID != "" {
			to = "/devices/" + id.DeviceID + "/modules/" + id.ModuleID + "/messages/deviceBound"
		}
	}
	var expiry string
	if !m.Expiry.IsZero() {
		expiry = m.Expiry.UTC().Truncate(time.Microsecond).Format("2006-01-02T15:04:05.0000000Z")
	}
	bag := []azure.Property{}
	for _, p := range [][2]string{{"$.mid", m.MessageID}, {"$.to", to}, {"$.cid", m.CorrelationID}, {"$.uid", m.UserID},
		{"$.exp", expiry}, {"$.ct", m.ContentType}, {"$.ce", m.ContentEncoding}, {"iothub-ack", m.Ack}} {
		if p[1] != "" {
			bag = append(bag, azure.Property{Name: p[0], Value: p[1]})
		}
	}
	return appendApp(bag, m.Properties)
}

func appendApp(bag []azure.Property, app []edge.Property) []azure.Property {
	for _, p := range app {
		bag = append(bag, azure.Property{Name: p.Name, Value: p.Value, Null: p.Null})
	}
	return bag
}
