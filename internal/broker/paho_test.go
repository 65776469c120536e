package broker

import (
	"net"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// A client that is not ours: subscribe, publish, be answered, be refused.
func TestPaho(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish = func(_ *device, m Message) Verdict {
		return Verdict{Answers: []Outgoing{{Topic: "res/" + m.Topic, Payload: m.Payload, QoS: 1}}}
	}
	address := listen(t, func(nc net.Conn) { _ = f.srv.Serve(nc, Peer{Endpoint: "ep"}) }) // its end is the test's
	got := make(chan paho.Message, 1)
	options := paho.NewClientOptions().AddBroker("tcp://" + address).SetClientID("d").SetProtocolVersion(4).SetAutoReconnect(false).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { got <- m })
	client := paho.NewClient(options)
	done := func(token paho.Token) {
		t.Helper()
		require.True(t, token.WaitTimeout(10*time.Second))
		require.NoError(t, token.Error())
	}
	done(client.Connect())
	done(client.Subscribe("res/#", 1, nil))
	done(client.Publish("req", 1, false, "hello"))
	m := <-got
	require.Equal(t, "res/req", m.Topic())
	require.Equal(t, "hello", string(m.Payload()))
	client.Disconnect(100)
	_, _, err := f.journal.Wait(t.Context(), journal.Filter{Kind: journal.Disconnect}, 1)
	require.NoError(t, err)
	require.NoError(t, f.srv.Close(t.Context()))
	require.ErrorIs(t, f.device(0).gone[0], ErrDisconnect)
}
