package mqtt

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// device is one accepted connection. The broker calls it from one goroutine at a time, but for Gone.
type device struct {
	service *iotda.Service
	id      iotda.Identity
	link    broker.Link
	origin  iotda.Origin
	filters map[string]bool // granted; the value is whether it is a custom topic
	session *iotda.Session
	will    string // topic of the client's, empty for none
}

var (
	_ broker.Device  = (*device)(nil)
	_ iotda.Downlink = (*device)(nil)
)

// Established implements broker.Device.
func (d *device) Established() {
	d.session = d.service.Open(d.id, d.origin, d)
	if d.will != "" {
		d.session.LeftWill(d.will)
	}
}

// Gone implements broker.Device.
func (d *device) Gone(error) {
	if d.session != nil {
		d.session.Close()
	}
}

// Will implements broker.Device: IoTDA has no wills.
func (*device) Will(context.Context, broker.Message) {}

// Deliver implements iotda.Downlink. Subscribed topics come with the QoS of their subscription, system
// topics without one with QoS 0.
func (d *device) Deliver(topic string, payload []byte, system bool) bool {
	return d.link.Send(d.outgoing(topic, payload, system))
}

// Acknowledges implements iotda.Downlink.
func (d *device) Acknowledges(topic string) bool {
	qos, _ := d.link.Subscribed(topic)
	return qos > 0
}

// DeliverAcked implements iotda.Downlink.
func (d *device) DeliverAcked(topic string, payload []byte, acked func()) (again func(), ok bool) {
	o := broker.Outgoing{Topic: topic, Payload: payload, QoS: 1, Acked: acked, Flight: &broker.Flight{}}
	ok = d.link.Send(o)
	o.Dup = true // also where a fault has lost the first
	return func() { d.link.Send(o) }, ok
}

func (d *device) outgoing(topic string, payload []byte, system bool) broker.Outgoing {
	o := broker.Outgoing{Topic: topic, Payload: payload, QoS: 1, Unsubscribed: system, Shown: shown(topic, payload)}
	if _, subscribed := d.link.Subscribed(topic); !subscribed {
		o.QoS = 0
	}
	return o
}

// secrets are what events and bootstrap answers carry that lets whoever has it in: device secrets, tokens
// and the signatures of addresses.
var secrets = regexp.MustCompile(`("(?:deviceSecret|access_token|tunnel_access_token)":")[^"]*|(Signature=)[^"&]*`)

// shown is a payload as the journal shows it; nil where it holds no secret.
func shown(topic string, payload []byte) []byte {
	if !strings.HasSuffix(topic, "/events/down") && !strings.HasSuffix(topic, "/bootstrap/down") || !secrets.Match(payload) {
		return nil
	}
	return secrets.ReplaceAll(payload, []byte("$1$2***"))
}

// Close implements iotda.Downlink.
func (d *device) Close(cause error) {
	var r *rule.Refusal
	if errors.As(cause, &r) {
		silent := *r
		silent.Silent = true
		cause = &silent
	}
	d.link.Close(cause)
}

// Subscribe implements broker.Device.
func (d *device) Subscribe(filter string, qos byte) broker.Verdict {
	_, again := d.filters[filter]
	custom := strings.Contains(filter, "/user/") || !strings.HasPrefix(filter, "$")
	if !again {
		if r := d.room(custom); r != nil {
			return broker.Verdict{Action: broker.Refuse, Refusal: r}
		}
	}
	if r := d.session.Subscribe(filter); r != nil {
		return broker.Verdict{Action: broker.Refuse, Refusal: r}
	}
	d.filters[filter] = custom
	return broker.Verdict{Granted: min(qos, 1), After: d.session.Subscribed}
}

// room refuses one subscription too many (DA-41).
func (d *device) room(custom bool) *rule.Refusal {
	customs := 0
	for _, is := range d.filters {
		if is {
			customs++
		}
	}
	switch {
	case len(d.filters) >= maxSubscriptions:
		return &rule.Refusal{Rule: "DA-41/count", Code: subackFailure, Seen: fmt.Sprintf("subscription %d", len(d.filters)+1), Expected: fmt.Sprintf("at most %d", maxSubscriptions)}
	case custom && customs >= maxCustom:
		return &rule.Refusal{Rule: "DA-41/custom", Code: subackFailure, Seen: fmt.Sprintf("custom topic %d", customs+1), Expected: fmt.Sprintf("at most %d", maxCustom)}
	}
	return nil
}

// Unsubscribe implements broker.Device.
func (d *device) Unsubscribe(filter string) { delete(d.filters, filter) }

// Publish implements broker.Device.
func (d *device) Publish(_ context.Context, m broker.Message) broker.Verdict {
	if m.Retain {
		d.session.Retains(m.Topic)
	}
	answers, rejected := d.session.Publish(m.Topic, m.Payload)
	v := broker.Verdict{}
	if rejected {
		v.Action = broker.Drop
	}
	for _, a := range answers {
		v.Answers = append(v.Answers, d.outgoing(a.Topic, a.Payload, true))
	}
	return v
}
