package mqtt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// device is one accepted connection.
type device struct {
	session *dps.Session
	link    broker.Link
	pause   time.Duration // before each answer
}

// javaPause is what answers to the SDK for Java are late by: it begins to wait for an answer after it has
// published the request, and misses one that is there at once (ContractAPIMqtt.executeProvisioningMessage).
const javaPause = 20 * time.Millisecond

// pauseFor returns how late a client's answers shall be. The SDK for Java is known by its ClientVersion,
// which repeats the API version.
func pauseFor(u azure.DPSUsername) time.Duration {
	if u.ClientVersion == u.APIVersion {
		return javaPause
	}
	return 0
}

var _ broker.Device = (*device)(nil)

// Established implements broker.Device.
func (*device) Established() {}

// Unsubscribe implements broker.Device; the Node SDK sends UNSUBSCRIBE before it disconnects.
func (*device) Unsubscribe(string) {}

// Will implements broker.Device: DPS takes a will and never publishes it.
func (*device) Will(context.Context, broker.Message) {}

// Gone implements broker.Device; nothing outlives the connection.
func (*device) Gone(error) {}

// Subscribe grants the one filter of DPS.
func (*device) Subscribe(filter string, qos byte) broker.Verdict {
	if filter == azure.DPSFilter {
		return broker.Verdict{Granted: min(qos, 1)}
	}
	return broker.Verdict{Action: broker.Refuse, Refusal: &rule.Refusal{Rule: "DPS-7/filter", Code: subackFailure,
		Seen: fmt.Sprintf("filter %q", clip(filter)), Expected: azure.DPSFilter}}
}

// Publish carries out a request; its answer follows the PUBACK.
func (d *device) Publish(ctx context.Context, m broker.Message) broker.Verdict {
	req, err := azure.ParseDPSRequest(m.Topic)
	if err != nil {
		return badTopic(m.Topic, err)
	}
	var a dps.Answer
	if req.Poll {
		a = d.session.Poll(ctx, req.OperationID)
	} else {
		a = d.session.Register(ctx, m.Payload)
	}
	if a.Lost {
		return broker.Verdict{}
	}
	topic := azure.FormatDPSAnswer(azure.DPSAnswer{Status: a.Status, RID: req.RID, RetryAfter: a.RetryAfter})
	v := broker.Verdict{Refusal: a.Refusal, Pause: d.pause, Answers: []broker.Outgoing{{Topic: topic, Payload: a.Body, QoS: 1}}}
	if _, listening := d.link.Subscribed(topic); !listening {
		v.Answers = nil
		if v.Refusal == nil {
			v.Refusal = &rule.Refusal{Rule: "DPS-6/unsubscribed", Silent: true,
				Seen: "an answer with status " + fmt.Sprint(a.Status) + " and no subscription that matches it", Expected: "a subscription to " + azure.DPSFilter}
		}
	}
	if v.Refusal != nil {
		v.Action = broker.Refuse
	}
	return v
}

// badTopic closes the connection over a topic that DPS does not serve.
func badTopic(topic string, err error) broker.Verdict {
	r := &rule.Refusal{Rule: "DPS-9/topic", Silent: true, Seen: fmt.Sprintf("topic %q", clip(topic)), Expected: azure.NearDPSTopic(topic)}
	if errors.Is(err, azure.ErrDPSRID) {
		r.Rule = "DPS-9/rid"
	}
	return broker.Verdict{Action: broker.Close, Refusal: r}
}
