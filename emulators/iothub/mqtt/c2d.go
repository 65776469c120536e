package mqtt

import (
	"strconv"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

var _ iothub.C2DSink = (*device)(nil)

// Message implements iothub.C2DSink. The PUBACK completes a message; where QoS 0 was granted, sending does.
func (d *device) Message(m iothub.C2DMessage, complete func()) bool {
	topic, ok := d.devicebound(deviceboundBag(d.id, m))
	if !ok {
		return false
	}
	if tooLong := azure.TopicTooLong(topic); tooLong != "" {
		d.head.hub.Journal().Append(journal.Event{Platform: iothub.Platform, Endpoint: d.id.Hub, Conn: d.origin.Conn, Address: d.origin.Address,
			Device: d.id.Name(), Kind: journal.C2D, Dir: journal.Out, Detail: tooLong,
			Properties: map[string]string{"sequenceNumber": strconv.FormatUint(m.Seq, 10)}})
		return true
	}
	return d.link.Send(broker.Outgoing{
		Topic: topic, Payload: m.Body, Shown: m.Shown, QoS: 1,
		Acked: complete,
		Sent: func(qos byte) {
			if qos == 0 {
				complete()
			}
		},
	})
}

// devicebound returns the topic for a message in the spelling of the ids that the client has subscribed to;
// ok is false where it has subscribed to none.
func (d *device) devicebound(bag []azure.Property) (topic string, ok bool) {
	topic = azure.DeviceboundTopic(d.id.DeviceID, d.id.ModuleID, bag)
	if _, ok = d.link.Subscribed(topic); ok {
		return topic, true
	}
	topic = azure.DeviceboundTopic(azure.EscapeTopicID(d.id.DeviceID), azure.EscapeTopicID(d.id.ModuleID), bag)
	_, ok = d.link.Subscribed(topic)
	return topic, ok
}

// expiryFormat is what the C# SDK parses exactly.
const expiryFormat = "2006-01-02T15:04:05.0000000Z"

// deviceboundBag is a message's property bag: system properties first, as the Java SDK starts at the
// first %24; always $.to, as the C# SDK fails without a bag.
func deviceboundBag(id iothub.Identity, m iothub.C2DMessage) []azure.Property {
	to := m.To
	if to == "" {
		to = "/devices/" + strings.Replace(id.Name(), "/", "/modules/", 1) + "/messages/deviceBound"
	}
	bag := []azure.Property{}
	for _, p := range [][2]string{{"$.mid", m.MessageID}, {"$.to", to}, {"$.cid", m.CorrelationID}, {"$.uid", m.UserID},
		{"$.exp", expiry(m)}, {"$.ct", m.ContentType}, {"$.ce", m.ContentEncoding}, {"iothub-ack", ack(m)}} {
		if p[1] != "" {
			bag = append(bag, azure.Property{Name: p[0], Value: p[1]})
		}
	}
	for _, p := range m.Properties {
		bag = append(bag, azure.Property{Name: p.Name, Value: p.Value, Null: p.Null})
	}
	return bag
}

func expiry(m iothub.C2DMessage) string {
	if !m.ExpirySet {
		return ""
	}
	return m.Expiry.UTC().Truncate(time.Microsecond).Format(expiryFormat)
}

func ack(m iothub.C2DMessage) string {
	if m.Ack == iothub.AckNone {
		return ""
	}
	return string(m.Ack)
}
