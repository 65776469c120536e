package mqtt

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// maxSubscriptions is how many filters one connection may have (HUB-46).
const maxSubscriptions = 5

// device is one accepted connection. The broker calls it from one goroutine at a time, but for Gone.
type device struct {
	head    *Head
	id      iothub.Identity
	origin  iothub.Origin
	link    broker.Link
	events  string // own telemetry topic without trailing slash
	filters []broker.Subscription
	keep    string // key of the kept session, empty with clean session 1
	session *iothub.Session
	pause   time.Duration // before acks and answers beside telemetry's
}

// javaPause is what acks and answers of twins and methods to the SDK for Java are late by. Its three message
// handlers share one map of unacknowledged messages under three locks (Mqtt.java), so an ack that is there
// before publish() has returned is lost, and the call with it.
const javaPause = 20 * time.Millisecond

// javaClient is how the DeviceClientType of the SDK for Java begins.
const javaClient = "com.microsoft.azure.sdk.iot.iot-device-client"

// pauseFor returns how late a client's acks shall be.
func pauseFor(u azure.HubUsername) time.Duration {
	if strings.HasPrefix(u.DeviceClientType, javaClient) {
		return javaPause
	}
	return 0
}

var _ broker.Device = (*device)(nil)

func newDevice(h *Head, id iothub.Identity, c *broker.Connect, u azure.HubUsername) *device {
	return &device{
		head: h, id: id, link: c.Link, pause: pauseFor(u),
		origin: iothub.Origin{Conn: c.Peer.Conn, Address: address(c), ModelID: u.ModelID, APIVersion: u.APIVersion},
		events: azure.EventsPrefix(id.DeviceID, id.ModuleID),
	}
}

func address(c *broker.Connect) string {
	if c.Peer.Remote == nil {
		return ""
	}
	return c.Peer.Remote.String()
}

// Established implements broker.Device.
func (d *device) Established() {
	d.session = d.head.hub.Open(d.id, d.origin, d)
}

// Close implements iothub.Downlink.
func (d *device) Close(cause error) {
	var r *rule.Refusal
	if errors.As(cause, &r) {
		cause = silent(r)
	}
	d.link.Close(cause)
}

// Gone implements broker.Device.
func (d *device) Gone(error) {
	if d.session != nil {
		d.session.Close()
	}
}

// Subscribe implements broker.Device.
func (d *device) Subscribe(filter string, qos byte) broker.Verdict {
	kind := azure.ParseHubFilter(filter, d.id.DeviceID, d.id.ModuleID)
	if kind == azure.HubFilterOther {
		return d.refuseFilter(filter)
	}
	granted := min(qos, 1)
	i := slices.IndexFunc(d.filters, func(s broker.Subscription) bool { return s.Filter == filter })
	switch {
	case i >= 0:
		d.filters[i].QoS = granted
	case len(d.filters) >= maxSubscriptions:
		return closing(&rule.Refusal{Rule: "HUB-46/count", Detail: "a sixth subscription on one connection",
			Seen: shown(filter) + " beside " + d.subscribed(), Expected: "at most 5 subscriptions"})
	default:
		d.filters = append(d.filters, broker.Subscription{Filter: filter, QoS: granted})
	}
	d.save()
	v := broker.Verdict{Action: broker.Accept, Granted: granted}
	switch kind {
	case azure.HubFilterMethods:
		v.After = d.session.MethodsReady
	case azure.HubFilterDevicebound:
		v.After = d.session.C2DReady
	}
	return v
}

func (d *device) subscribed() string {
	names := make([]string, len(d.filters))
	for i, f := range d.filters {
		names[i] = f.Filter
	}
	return strings.Join(names, ", ")
}

func (d *device) refuseFilter(filter string) broker.Verdict {
	r := &rule.Refusal{Rule: "HUB-40/filter", Detail: "IoT Hub knows no such filter for " + d.id.Name(),
		Seen: shown(filter), Expected: nearFilter(filter, d.id.DeviceID, d.id.ModuleID)}
	if d.id.Switches.RejectFilters {
		r.Code = 0x80
		return broker.Verdict{Action: broker.Refuse, Refusal: r}
	}
	return closing(r)
}

// Unsubscribe implements broker.Device.
func (d *device) Unsubscribe(filter string) {
	d.filters = slices.DeleteFunc(d.filters, func(s broker.Subscription) bool { return s.Filter == filter })
	d.save()
}

// Publish implements broker.Device.
func (d *device) Publish(ctx context.Context, m broker.Message) broker.Verdict {
	if d.session == nil || d.session.Ended() {
		return broker.Verdict{Action: broker.Drop}
	}
	if bag, ok := d.ownBag(m.Topic); ok {
		return d.telemetry(ctx, m, bag)
	}
	v := d.other(m)
	v.Pause = d.pause
	return v
}

// ownBag returns the property bag in the identity's own telemetry topic. An id with # or + can stand in
// a topic only percent-encoded, so that form counts as well.
func (d *device) ownBag(topic string) (bag string, ok bool) {
	if bag, ok := d.ownEvents(topic); ok {
		return bag, true
	}
	t := azure.ParseHubTopic(topic)
	u := azure.HubUsername{DeviceID: t.DeviceID, ModuleID: t.ModuleID}.Decoded()
	return t.Bag, t.Kind == azure.HubTopicEvents && u.DeviceID == d.id.DeviceID && u.ModuleID == d.id.ModuleID
}

// ownEvents returns the bag of the identity's own telemetry topic without taking it apart: most of all
// packets are such.
func (d *device) ownEvents(topic string) (bag string, ok bool) {
	rest, ok := strings.CutPrefix(topic, d.events)
	if !ok || rest == "" {
		return "", ok
	}
	return rest[1:], rest[0] == '/'
}

func (d *device) telemetry(ctx context.Context, m broker.Message, bag string) broker.Verdict {
	msg, err := d2c(m, bag)
	if err != nil {
		return closing(&rule.Refusal{Rule: "HUB-29/bag", Detail: err.Error(), Seen: shown(bag), Expected: "name=value pairs joined by &, names and values percent-encoded"})
	}
	if r := d.session.Telemetry(ctx, msg); r != nil {
		return closing(r)
	}
	v := broker.Verdict{Action: broker.Accept}
	if d.session.AwaitsAck() {
		v.After = d.session.Acknowledged
	}
	return v
}

// other judges a topic that is not the identity's own telemetry topic as it stands.
func (d *device) other(m broker.Message) broker.Verdict {
	t := azure.ParseHubTopic(m.Topic)
	switch t.Kind {
	case azure.HubTopicEvents:
		return closing(d.foreignTopic(m.Topic, t))
	case azure.HubTopicTwinGet, azure.HubTopicTwinReported:
		return d.twin(m, t)
	case azure.HubTopicMethodResult:
		return d.methodResult(m, t)
	}
	return closing(nearTopic(m.Topic, d.id))
}

// foreignTopic explains a telemetry topic of another identity.
func (d *device) foreignTopic(topic string, t azure.HubTopic) *rule.Refusal {
	other := azure.HubUsername{DeviceID: t.DeviceID, ModuleID: t.ModuleID}.ClientID()
	r := &rule.Refusal{Rule: "HUB-34/device", Detail: "the topic is that of " + shown(other) + ", connected is " + d.id.Name(),
		Seen: shown(topic), Expected: d.events + "/"}
	switch {
	case t.DeviceID == d.id.DeviceID:
		r.Rule = "HUB-36/module"
	case strings.EqualFold(t.DeviceID, d.id.DeviceID):
		r.Detail += ": they differ in case"
	}
	return r
}

// Will implements broker.Device.
func (d *device) Will(ctx context.Context, m broker.Message) {
	bag, ok := d.ownBag(m.Topic)
	if !ok || d.session == nil {
		return
	}
	msg, err := d2c(m, bag)
	if err != nil {
		return // judged at CONNECT
	}
	msg.Will = true
	msg.App = append(msg.App, iothub.Property{Name: "iothub-MessageType", Value: "Will"})
	if r := d.session.Telemetry(ctx, msg); r != nil {
		d.head.hub.Journal().Refuse(d.session.Event(journal.Refused), silent(r))
	}
}

// checkWill judges a will at CONNECT (HUB-26).
func (d *device) checkWill(m *broker.Message) *rule.Refusal {
	if m == nil {
		return nil
	}
	bag, ok := d.ownBag(m.Topic)
	if !ok {
		return &rule.Refusal{Rule: "HUB-26/topic", Detail: "a will must go to the identity's own events topic",
			Seen: shown(m.Topic), Expected: d.events + "/"}
	}
	if _, err := azure.ParseBag(bag); err != nil {
		return &rule.Refusal{Rule: "HUB-26/bag", Detail: err.Error(), Seen: shown(bag), Expected: "name=value pairs joined by &"}
	}
	return nil
}

// closing is the verdict of a bare close for r.
func closing(r *rule.Refusal) broker.Verdict {
	return broker.Verdict{Action: broker.Close, Refusal: silent(r)}
}

// silent returns r as 3.1.1 shows it: not at all.
func silent(r *rule.Refusal) *rule.Refusal {
	quiet := *r
	quiet.Code, quiet.Silent = 0, true
	return &quiet
}
