package mqtt

import (
	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

var _ iothub.MethodSink = (*device)(nil)

// Call implements iothub.MethodSink. Calls are QoS 0, whatever was granted.
func (d *device) Call(rid, method string, payload []byte) bool {
	return d.link.Send(broker.Outgoing{Topic: azure.MethodTopic(method, rid), Payload: payload})
}

// methodResult takes an answer to a direct method. One that nobody waits for is acknowledged and
// journalled as refused; the connection stays (HUB-49).
func (d *device) methodResult(m broker.Message, t azure.HubTopic) broker.Verdict {
	r := d.session.MethodAnswer(t.RID, iothub.MethodResult{Status: t.Status, Payload: m.Payload})
	if r != nil {
		return broker.Verdict{Action: broker.Refuse, Refusal: silent(r)}
	}
	return broker.Verdict{Action: broker.Accept}
}
