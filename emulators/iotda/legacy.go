package iotda

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// The older interface of devices, v3: topics under /huawei/v1/devices/, names in camel case, and commands
// that are numbered from 1 to 65535 (pages iot_06_3008 to iot_06_3011).

// maxMid is the last number of an older command.
const maxMid = 65535

// legacy takes what a device publishes in the older form: a report, or the answer to a command.
func (c *Session) legacy(from source, payload []byte) {
	if from.topic.Suffix != "json" {
		c.message(from, payload)
		return
	}
	var body iotda.LegacyData
	if err := iotda.Decode(payload, &body); err != nil {
		c.explain(from.name, notJSON(err, payload))
		return
	}
	if body.MsgType == "deviceRsp" {
		c.legacyAnswered(from, body)
		return
	}
	if len(body.Data) == 0 {
		c.explain(from.name, &rule.Refusal{Rule: "DA-35/services", Seen: clip(string(payload)), Expected: `{"msgType":"deviceReq","data":[{"serviceId":"…","serviceData":{…}}]}`})
		return
	}
	d, err := c.svc.Device(c.id.Instance, c.id.DeviceID)
	if err != nil {
		return
	}
	var services []rawService
	for _, s := range body.Data {
		raw := rawService{ServiceID: s.ServiceID, Properties: s.ServiceData}
		if s.EventTime != "" {
			raw.EventTime = s.EventTime
		}
		services = append(services, raw)
	}
	c.accept(from, d, services)
}

// legacyAnswered takes the answer to an older command, in the form that the application gets from every device.
func (c *Session) legacyAnswered(from source, body iotda.LegacyData) {
	answer := iotda.Encode(iotda.CommandResponse{ResultCode: body.ErrCode, Paras: body.Body})
	if call := c.svc.waiting.take(midKey(c.id.DeviceID, body.Mid), c.id.Instance, c.id.DeviceID, iotda.Legacy); call != nil {
		call.hand(answer)
		return
	}
	c.explain(from.name, &rule.Refusal{Rule: "DA-26/unknown", Detail: "no command with this mid waits for an answer",
		Seen: fmt.Sprintf("mid %d", body.Mid), Expected: "the mid of the command, once, within its time"})
}

// midKey tells the numbers of one device's commands from all other request ids, which have no separator.
func midKey(device string, mid int) string { return key(device, strconv.Itoa(mid)) }

// noteLegacy notes that a device has subscribed to topics of the older interface by their name: it is one of
// those devices, and not one that subscribes to everything.
func (c *Session) noteLegacy(filter string) {
	if strings.HasPrefix(filter, iotda.LegacyPrefix) {
		c.older.Store(true)
	}
}

// legacyCommand calls a command of a device that has subscribed to the older command topic, and waits for
// its answer. ok is whether the device is such a one; errors as of Command.
func (s *Service) legacyCommand(ctx context.Context, instance string, d Device, call iotda.CommandCall) (r Reply, ok bool, err error) {
	c := s.session(instance, d.DeviceID)
	if c == nil || d.GatewayID != "" || !c.older.Load() {
		return Reply{}, false, nil
	}
	mid := int(s.mids.Add(1)-1)%maxMid + 1
	k := midKey(d.DeviceID, mid)
	pending, end := s.begin(k, waiter{instance: instance, device: d.DeviceID, kind: iotda.Legacy})
	defer end()
	down := iotda.Topic{Kind: iotda.LegacyDown, DeviceID: d.DeviceID, Suffix: "json"}.Format()
	payload := iotda.Encode(iotda.LegacyCommand{MsgType: "cloudReq", ServiceID: call.ServiceID, Command: call.CommandName, Paras: call.Paras, Mid: mid})
	if !c.down.Deliver(down, payload, false) {
		return Reply{}, false, nil // it has unsubscribed
	}
	r, err = s.await(ctx, instance, d.DeviceID, pending, s.ids.GUID(), fmt.Sprintf(`{"msgType":"deviceRsp","mid":%d,"errcode":0} on %s`,
		mid, iotda.Topic{Kind: iotda.Legacy, DeviceID: d.DeviceID, Suffix: "json"}.Format()))
	return r, true, err
}
