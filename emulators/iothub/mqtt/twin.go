package mqtt

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

var _ iothub.DesiredSink = (*device)(nil)

// twin answers a twin request. A request that fails is acknowledged, answered with its status and
// journalled as refused; the connection stays.
func (d *device) twin(m broker.Message, t azure.HubTopic) broker.Verdict {
	if t.RID == "" {
		return broker.Verdict{Action: broker.Refuse, Refusal: &rule.Refusal{Rule: "HUB-56/rid", Silent: true,
			Detail: "a twin request without a request id cannot be answered", Seen: shown(m.Topic), Expected: "…/?$rid={any id}"}}
	}
	if t.Kind == azure.HubTopicTwinGet {
		body, r := d.session.TwinForDevice()
		if r != nil {
			return d.twinError(t.RID, r)
		}
		return d.answer(azure.TwinResultTopic(200, t.RID, ""), body)
	}
	version, r := d.session.Report(m.Payload, t.Version)
	if r != nil {
		return d.twinError(t.RID, r)
	}
	return d.answer(azure.TwinResultTopic(204, t.RID, strconv.FormatInt(version, 10)), nil)
}

// answer is the answer to a request that was carried out. Where no subscription brings it to the client, the journal says
// so, and nothing else is different.
func (d *device) answer(topic string, body []byte) broker.Verdict {
	v := broker.Verdict{Action: broker.Accept, Answers: []broker.Outgoing{{Topic: topic, Payload: body}}}
	if _, listening := d.link.Subscribed(topic); !listening {
		v.Action, v.Refusal = broker.Refuse, &rule.Refusal{Rule: "HUB-50/unsubscribed", Silent: true,
			Seen: "an answer on " + shown(topic) + " and no subscription that matches it", Expected: "a subscription to $iothub/twin/res/#"}
	}
	return v
}

// twinError is the body of a failed twin request (amenzhinsky/iothub issue 70).
type twinErrorBody struct {
	ErrorCode    int    `json:"errorCode"`
	TrackingID   string `json:"trackingId"`
	Message      string `json:"message"`
	TimestampUTC string `json:"timestampUtc"`
}

func (d *device) twinError(rid string, r *rule.Refusal) broker.Verdict {
	if r.Silent { // a fault: the request is lost
		return broker.Verdict{}
	}
	id, at := d.head.hub.Tracking()
	body, err := json.Marshal(twinErrorBody{ErrorCode: r.Code, Message: r.Detail,
		TrackingID:   fmt.Sprintf("%s-G:0-TimeStamp:%s", id, at.Format("01/02/2006 15:04:05")),
		TimestampUTC: at.Format("2006-01-02T15:04:05.000Z")})
	if err != nil {
		panic(err) // strings and a number
	}
	status := r.Code / 1000
	answered := *r
	answered.Code = status
	return broker.Verdict{Action: broker.Refuse, Refusal: &answered,
		Answers: []broker.Outgoing{{Topic: azure.TwinResultTopic(status, rid, ""), Payload: body}}}
}

// Desired implements iothub.DesiredSink. Changes are never queued: a client that has not subscribed, or
// does not read, learns of them by reading the twin.
func (d *device) Desired(version int64, body []byte) {
	d.link.Send(broker.Outgoing{Topic: azure.TwinDesiredTopic(version), Payload: body})
}
