package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
)

// A pause holds back ack and answers, and nothing of other connections.
func TestPause(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.publish = func(_ *device, m Message) Verdict {
			if m.Topic != "slow" {
				return Verdict{}
			}
			return Verdict{Pause: time.Second, Answers: []Outgoing{{Topic: "answer", Unsubscribed: true}}}
		}
		client, other := f.online(brokertest.Connect{ClientID: "d"}), f.online(brokertest.Connect{ClientID: "other"})
		start := time.Now()
		client.Send(brokertest.Publish{Topic: "slow", QoS: 1, ID: 1}.Bytes())
		other.Send(brokertest.Publish{Topic: "fast", QoS: 1, ID: 7}.Bytes())
		other.Expect(0x40, 2, 0, 7)
		require.Zero(t, time.Since(start))
		client.Expect(0x40, 2, 0, 1)
		require.Equal(t, time.Second, time.Since(start))
		client.NextPublish()
		client.Send(brokertest.Publish{Topic: "fast", QoS: 1, ID: 2}.Bytes())
		client.Expect(0x40, 2, 0, 2)
		require.Equal(t, time.Second, time.Since(start))
	})
}

// A connection that ends during a pause is not held up by it.
func TestPauseEndsWithItsConnection(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.publish = func(*device, Message) Verdict { return Verdict{Pause: time.Hour} }
		client := f.online(brokertest.Connect{ClientID: "d"})
		start := time.Now()
		client.Send(brokertest.Publish{Topic: "slow", QoS: 1, ID: 1}.Bytes())
		f.online(brokertest.Connect{ClientID: "d"})
		client.ExpectClosed()
		require.Less(t, time.Since(start), time.Minute)
	})
}
