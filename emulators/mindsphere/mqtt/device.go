package mqtt

import (
	"context"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// device is one accepted connection. The broker calls it from one goroutine at a time, but for Gone.
type device struct {
	head      *Head
	id        mindsphere.Identity
	origin    mindsphere.Origin
	link      broker.Link
	keep      bool      // the session outlives the connection; changed under Head.mu
	inherited []waiting // of an earlier session, which does not go on after this connection
	session   *mindsphere.Session
	held      []heldAnswer
}

var _ broker.Device = (*device)(nil)

// Established implements broker.Device.
func (d *device) Established() {
	d.session = d.head.svc.Open(d.id, d.origin, d)
	d.head.enter(d)
}

// Close implements mindsphere.Downlink.
func (d *device) Close(cause error) { d.link.Close(quiet(cause)) }

// Gone implements broker.Device.
func (d *device) Gone(error) {
	d.head.leave(d)
	if d.session != nil {
		d.session.Close()
	}
}

// subackFailure is the return code of a refused filter.
const subackFailure = 0x80

// Subscribe implements broker.Device.
func (d *device) Subscribe(filter string, qos byte) broker.Verdict {
	if qos > 1 {
		return closing(&rule.Refusal{Rule: "MS-16/qos2", Detail: "QoS 2 is not supported", Seen: "a subscription to " + shown(filter) + " with QoS 2", Expected: "QoS 0 or 1"})
	}
	if r := d.judgeFilter(filter); r != nil {
		return broker.Verdict{Action: broker.Refuse, Refusal: r}
	}
	if !wire.Covers(filter, d.id.Tenant, d.id.ClientID) {
		d.head.svc.Journal().Refuse(d.event(filter), &rule.Refusal{Rule: "MS-15/unserved", Silent: true,
			Seen: shown(filter), Expected: wire.NearFilter(filter, d.id.Tenant, d.id.ClientID)})
	}
	d.head.subscribe(d, broker.Subscription{Filter: filter, QoS: qos})
	return broker.Verdict{Granted: qos, After: func() { d.release(filter) }}
}

// judgeFilter decides MS-16.
func (d *device) judgeFilter(filter string) *rule.Refusal {
	r := &rule.Refusal{Code: subackFailure, Seen: shown(filter), Expected: wire.NearFilter(filter, d.id.Tenant, d.id.ClientID)}
	switch wire.JudgeFilter(filter, d.id.Tenant, d.id.ClientID) {
	case wire.FilterOwn:
		return nil
	case wire.FilterOutput:
		r.Rule, r.Detail = "MS-16/output", "the filter covers the agent's own output topics"
	case wire.FilterForeign:
		r.Rule, r.Detail = "MS-16/foreign", "the filter is in another branch than the agent's"
	case wire.FilterBroad:
		r.Rule, r.Detail = "MS-16/wildcard", "the filter reaches beyond the agent's own branch"
	case wire.FilterTooLong:
		r.Rule, r.Detail = "MS-16/length", "the filter is too long or too deep"
	default:
		r.Rule, r.Detail = "MS-16/form", "the filter is none of MindConnect MQTT"
	}
	return r
}

// Unsubscribe implements broker.Device.
func (d *device) Unsubscribe(filter string) { d.head.unsubscribe(d, filter) }

// Publish implements broker.Device.
func (d *device) Publish(ctx context.Context, m broker.Message) broker.Verdict {
	if d.session == nil || d.session.Ended() {
		return broker.Verdict{Action: broker.Drop}
	}
	ch, r := d.judgeTopic(m.Topic)
	if r != nil {
		return closing(r)
	}
	out := d.session.Publish(ctx, ch, m.Payload)
	switch {
	case out.Close:
		return closing(out.Refusal)
	case out.Refusal != nil:
		return broker.Verdict{Action: broker.Refuse, Refusal: silent(out.Refusal), After: d.after(out.Answers)}
	}
	return broker.Verdict{After: d.after(out.Answers)}
}

// after sends answers once the message is acknowledged.
func (d *device) after(answers []mindsphere.Message) func() {
	if len(answers) == 0 {
		return nil
	}
	return func() {
		for _, m := range answers {
			d.answer(m)
		}
	}
}

// judgeTopic decides MS-17.
func (d *device) judgeTopic(topic string) (wire.Channel, *rule.Refusal) {
	t, err := wire.ParseTopic(topic)
	r := &rule.Refusal{Seen: shown(topic), Expected: wire.NearTopic(topic, d.id.Tenant, d.id.ClientID)}
	switch {
	case err != nil:
		r.Rule, r.Detail = "MS-17/form", err.Error()
	case t.Tenant != d.id.Tenant || t.ClientID != d.id.ClientID:
		r.Rule, r.Detail = "MS-17/foreign", "the topic is in another branch than the agent's"
	case t.Direction == wire.Inbound:
		r.Rule, r.Detail = "MS-17/input", "the topic is one to subscribe to"
	case !wire.Known(wire.Outbound, t.Channel):
		r.Rule, r.Detail = "MS-17/app", "there is no such application or topic"
	default:
		return t.Channel, nil
	}
	return wire.Channel{}, r
}

// Will implements broker.Device: a will counts like a message, where it is a legal one.
func (d *device) Will(ctx context.Context, m broker.Message) {
	if d.session == nil {
		return
	}
	ch, r := d.judgeTopic(m.Topic)
	if r == nil {
		r = d.session.Publish(ctx, ch, m.Payload).Refusal
	}
	if r != nil {
		d.head.svc.Journal().Refuse(d.event(m.Topic), silent(r))
	}
}

// event begins an event of this connection.
func (d *device) event(topic string) journal.Event {
	return journal.Event{Platform: mindsphere.Platform, Endpoint: d.id.Tenant, Conn: d.origin.Conn, Address: d.origin.Address,
		Device: d.id.ClientID, Dir: journal.In, Topic: topic}
}
