package mqtt_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub/mqtt"
	"github.com/fakecloud/fakecloud/internal/broker"
)

// deaf is a Link that sends nothing.
type deaf struct{}

func (deaf) Send(broker.Outgoing) bool      { return false }
func (deaf) Subscribed(string) (byte, bool) { return 0, false }
func (deaf) Close(error)                    {}

// BenchmarkPublish is what the hub adds to one QoS 1 telemetry message, journal and store included.
func BenchmarkPublish(b *testing.B) {
	for name, topic := range map[string]string{
		"plain": "devices/dev-01/messages/events/",
		"bag":   "devices/dev-01/messages/events/%24.mid=1&%24.ct=application%2Fjson&%24.ce=utf-8&alert=true",
	} {
		b.Run(name, func(b *testing.B) {
			c := newCloud(b)
			session, err := mqtt.New(c.hub, nil).Connect(b.Context(), &broker.Connect{Peer: broker.Peer{Conn: 1, Endpoint: contoso},
				Level: 4, ClientID: "dev-01", HasUsername: true, Username: userDev01, HasPassword: true, Password: []byte(passDev01),
				CleanSession: true, Link: deaf{}})
			require.NoError(b, err)
			session.Device.Established()
			defer session.Device.Gone(broker.ErrDisconnect)
			m := broker.Message{Topic: topic, Payload: []byte(`{"temperature":21.5,"humidity":40}`), QoS: 1}
			b.ReportAllocs()
			for b.Loop() {
				if v := session.Device.Publish(b.Context(), m); v.Action != broker.Accept {
					b.Fatal(v.Refusal)
				}
			}
		})
	}
}
