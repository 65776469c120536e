package iothub

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// backEnd notes what it is shown and when it may answer.
type backEnd struct{ log []string }

func (b *backEnd) Consume(m Message, from Origin) func() {
	if m.Properties["quiet"] != "" {
		return nil
	}
	text := m.DeviceID + " " + string(m.Body)
	b.log = append(b.log, "got "+text+" from "+from.Address)
	return func() { b.log = append(b.log, "answers "+text) }
}

// A consumer sees a message once it is stored, and goes on once it is acknowledged; a will is not.
func TestConsumer(t *testing.T) {
	t.Parallel()
	b := &backEnd{}
	w := newWorldWith(t, Config{Consumer: b})
	id, err := w.Authenticate(t.Context(), Credentials{Endpoint: contoso, DeviceID: "dev-01", Password: tokenV1})
	require.NoError(t, err)
	s := w.Open(id, Origin{Conn: 7, Address: "192.0.2.1:1"}, newLine())
	require.False(t, s.AwaitsAck())
	require.Nil(t, s.TelemetryBatch(t.Context(), []D2C{{Body: []byte("1")}, {Body: []byte("2")}}))
	require.Equal(t, []string{"got dev-01 1 from 192.0.2.1:1", "got dev-01 2 from 192.0.2.1:1"}, b.log)
	require.True(t, s.AwaitsAck())
	b.log = nil
	s.Acknowledged()
	s.Acknowledged()
	require.Equal(t, []string{"answers dev-01 1", "answers dev-01 2"}, b.log)
	require.False(t, s.AwaitsAck())

	b.log = nil
	require.Nil(t, s.Telemetry(t.Context(), D2C{Body: []byte("3"), App: []Property{{Name: "quiet", Value: "1"}}}))
	require.Empty(t, b.log)
	require.False(t, s.AwaitsAck())
	s.Close()
	require.Nil(t, s.Telemetry(t.Context(), D2C{Body: []byte("bye"), Will: true}))
	require.Equal(t, []string{"got dev-01 bye from 192.0.2.1:1", "answers dev-01 bye"}, b.log)
}
