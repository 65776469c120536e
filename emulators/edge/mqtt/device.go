package mqtt

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// device is one accepted connection. The broker calls it from one goroutine at a time, but for Gone.
type device struct {
	head    *Head
	who     edge.Admission
	origin  edge.Origin
	link    broker.Link
	keep    string // key of the kept session, empty with clean session 1
	session *edge.Session

	subbing sync.Mutex // guards subs, which changes on the connection's goroutine only
	subs    map[string]subscription

	// What its filters have switched on. Standard matching decides delivery beside it: $iothub/# gets twin
	// answers, and switches nothing on.
	methods, desired, devicebound, inputs atomic.Bool
}

var (
	_ broker.Device = (*device)(nil)
	_ edge.Downlink = (*device)(nil)
)

// Established implements broker.Device.
func (d *device) Established() {
	d.session = d.head.svc.Open(d.who, d.origin, d)
	if d.desired.Load() { // by a kept session
		d.session.DesiredReady()
	}
}

// Close implements edge.Downlink.
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

// Subscribe implements broker.Device: every filter is granted.
func (d *device) Subscribe(filter string, qos byte) broker.Verdict {
	v := broker.Verdict{Action: broker.Accept, Granted: min(qos, 1)}
	sub := subscription{broker.Subscription{Filter: filter, QoS: v.Granted}, d.head.svc.Wall()}
	if old, ok := d.subs[filter]; ok {
		sub.Since = old.Since
	}
	d.subbing.Lock()
	d.subs[filter] = sub
	d.subbing.Unlock()
	d.save()
	if d.session == nil {
		return v
	}
	switch kind := d.switchOn(filter); kind {
	case azure.EdgeFilterMethods:
		v.After = d.session.MethodsReady
	case azure.EdgeFilterTwinDesired:
		d.session.DesiredReady() // before the SUBACK: what changes after it is a change
	case azure.EdgeFilterDevicebound:
		v.After = d.session.C2DReady
	case azure.EdgeFilterInputs:
		v.After = d.session.InputsReady
	case azure.EdgeFilterOther:
		e := d.session.Event(journal.Refused)
		e.Topic = filter
		d.head.svc.Journal().Refuse(e, &rule.Refusal{Rule: "EDGE-20/filter", Silent: true, Detail: "the filter is granted and ignored", Seen: shown(filter),
			Expected: nearFilter(d.who.Identity)})
	}
	return v
}

// switchOn turns on what a filter stands for.
func (d *device) switchOn(filter string) azure.EdgeFilterKind {
	kind := azure.ParseEdgeFilter(filter)
	d.turn(kind, true)
	return kind
}

func (d *device) turn(kind azure.EdgeFilterKind, on bool) {
	switch kind {
	case azure.EdgeFilterMethods:
		d.methods.Store(on)
	case azure.EdgeFilterTwinDesired:
		d.desired.Store(on)
	case azure.EdgeFilterDevicebound:
		d.devicebound.Store(on)
	case azure.EdgeFilterInputs:
		d.inputs.Store(on)
	}
}

// Unsubscribe implements broker.Device.
func (d *device) Unsubscribe(filter string) {
	d.subbing.Lock()
	delete(d.subs, filter)
	d.subbing.Unlock()
	d.save()
	kind := azure.ParseEdgeFilter(filter)
	for other := range d.subs {
		if azure.ParseEdgeFilter(other) == kind {
			return
		}
	}
	d.turn(kind, false)
}

// Publish implements broker.Device.
func (d *device) Publish(ctx context.Context, m broker.Message) broker.Verdict {
	if d.session == nil || d.session.Ended() {
		return broker.Verdict{Action: broker.Drop}
	}
	if kind, rid := azure.ParseEdgeTwin(m.Topic); kind != azure.EdgeTwinNone {
		return d.twin(m, kind, rid)
	}
	if status, rid, ok := azure.EdgeMethodResult(m.Topic); ok {
		if r := d.session.MethodAnswer(rid, status, m.Payload); r != nil {
			return broker.Verdict{Action: broker.Refuse, Refusal: silent(r)}
		}
		return broker.Verdict{}
	}
	return d.telemetry(ctx, m, "")
}

// telemetry judges a message to an events topic, and the last will there.
func (d *device) telemetry(ctx context.Context, m broker.Message, will string) broker.Verdict {
	t := azure.ParseHubTopic(m.Topic)
	if t.Kind != azure.HubTopicEvents {
		return dropped(&rule.Refusal{Rule: "EDGE-19/topic", Detail: "the gateway knows no such topic", Seen: shown(m.Topic),
			Expected: azure.EventsPrefix(d.who.Identity.DeviceID, d.who.Identity.ModuleID) + "/"})
	}
	msg, err := message(m, t)
	if err != nil {
		return dropped(&rule.Refusal{Rule: "EDGE-19/bag", Detail: err.Error(), Seen: shown(t.Bag), Expected: "name=value pairs joined by &, names and values percent-encoded"})
	}
	if d.origin.ModelID != "" {
		msg.System = append(msg.System, edge.Property{Name: "dt-dataschema", Value: d.origin.ModelID})
	}
	if will != "" {
		msg.App = append(msg.App, edge.Property{Name: "MessageType", Value: will})
	}
	switch out := d.session.Telemetry(ctx, msg); {
	case out.Close:
		return broker.Verdict{Action: broker.Close, Refusal: silent(out.Refusal)}
	case out.Refusal != nil:
		return dropped(out.Refusal)
	}
	return broker.Verdict{}
}

// dropped acknowledges a message and notes why it went nowhere.
func dropped(r *rule.Refusal) broker.Verdict {
	return broker.Verdict{Action: broker.Refuse, Refusal: silent(r)}
}

// Will implements broker.Device.
func (d *device) Will(ctx context.Context, m broker.Message) {
	if d.session == nil {
		return
	}
	if v := d.telemetry(ctx, m, "Will"); v.Refusal != nil {
		d.head.svc.Journal().Refuse(d.session.Event(journal.Refused), v.Refusal)
	}
}

// twin answers a twin request.
func (d *device) twin(m broker.Message, kind azure.EdgeTwinKind, rid string) broker.Verdict {
	const expected = "$iothub/twin/GET/?$rid={id} or $iothub/twin/PATCH/properties/reported/?$rid={id}"
	switch {
	case kind == azure.EdgeTwinResource:
		return broker.Verdict{Action: broker.Close, Refusal: &rule.Refusal{Rule: "EDGE-27/resource", Silent: true, Detail: "there is no such twin request", Seen: shown(m.Topic), Expected: expected}}
	case kind == azure.EdgeTwinGet && rid == "":
		return broker.Verdict{Action: broker.Close, Refusal: &rule.Refusal{Rule: "EDGE-27/rid", Silent: true, Detail: "a twin request without a request id", Seen: shown(m.Topic), Expected: expected}}
	case kind == azure.EdgeTwinGet:
		return answer(azure.TwinResultTopic(200, rid, ""), d.session.Twin())
	}
	status, r := d.session.Report(m.Payload)
	v := broker.Verdict{}
	if rid != "" && status != 0 { // without one it is applied and not answered
		v = answer(azure.TwinResultTopic(status, rid, ""), nil)
	}
	if r != nil {
		v.Action, v.Refusal = broker.Refuse, silent(r)
	}
	return v
}

func answer(topic string, body []byte) broker.Verdict {
	return broker.Verdict{Answers: []broker.Outgoing{{Topic: topic, Payload: body, QoS: 1}}}
}

// silent returns r as 3.1.1 shows it: not at all.
func silent(r *rule.Refusal) *rule.Refusal {
	quiet := *r
	quiet.Code, quiet.Silent = 0, true
	return &quiet
}

func nearFilter(id edge.Identity) string {
	if id.ModuleID != "" {
		return "devices/" + id.DeviceID + "/modules/" + id.ModuleID + "/#, or a $iothub filter"
	}
	return "devices/" + id.DeviceID + "/messages/devicebound/#, or a $iothub filter"
}
