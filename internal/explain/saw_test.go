package explain

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// What becomes of a connection that was accepted long before: its CONNACK is not among the events.
func TestDeviceSawOfPackets(t *testing.T) {
	t.Parallel()
	const topic = "foo/bar"
	refused := journal.Event{Seq: 5, Kind: journal.Refused, Dir: journal.In, Rule: "EDGE-19/topic", Topic: topic}
	ack := journal.Event{Seq: 6, Kind: journal.Puback, Dir: journal.Out, Topic: topic}
	ping := journal.Event{Seq: 7, Kind: journal.Publish, Dir: journal.In, Topic: "other"}
	hungUp := journal.Event{Seq: 9, Kind: journal.Closed, Detail: "EOF"}
	for name, c := range map[string]struct {
		events []journal.Event
		want   string
	}{
		"acknowledged and dropped":        {[]journal.Event{refused, ack, ping}, onlyAck},
		"an answer of a later packet":     {[]journal.Event{refused, ack, ping, {Seq: 8, Kind: journal.Publish, Dir: journal.Out, Topic: "later"}}, onlyAck},
		"an answer after the ack":         {[]journal.Event{refused, ack, {Seq: 7, Kind: journal.Publish, Dir: journal.Out, Topic: "res/400"}}, "a message on res/400"},
		"dropped without an ack":          {[]journal.Event{refused, hungUp}, nothing},
		"dropped, and closed later":       {[]journal.Event{refused, ping, {Seq: 8, Kind: journal.Closed, Detail: "EDGE-27/rid: no $rid"}}, nothing},
		"closed for it":                   {[]journal.Event{refused, {Seq: 6, Kind: journal.Closed, Detail: "EDGE-19/topic: unknown"}}, bareClose},
		"closed for it, read a bit later": {[]journal.Event{refused, ping, {Seq: 8, Kind: journal.Closed, Detail: "EDGE-19/topic: unknown"}}, bareClose},
		"a last will":                     {[]journal.Event{{Seq: 4, Kind: journal.Closed, Detail: "EOF"}, refused}, bareClose},
		"a filter that is granted": {[]journal.Event{refused, {Seq: 6, Kind: journal.Suback, Dir: journal.Out, Topic: "first"},
			{Seq: 7, Kind: journal.Suback, Dir: journal.Out, Topic: topic, QoS: 1}}, "SUBACK that grants QoS 1"},
		"a filter that is not": {[]journal.Event{refused, {Seq: 6, Kind: journal.Suback, Dir: journal.Out, Topic: topic, Code: journal.Code(0x80)}}, "SUBACK 0x80"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, DeviceSaw(&refused, c.events))
		})
	}
}
