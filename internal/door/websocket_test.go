package door

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// spoken lets both platforms of the rig speak MQTT over WebSocket at the hub's path.
func spoken(c *Config) {
	for i := range c.Platforms {
		c.Platforms[i].WebSocket = func(path string) bool { return path == "/$iothub/websocket" }
	}
}

// A WebSocket's stream is routed by its CONNECT where the name does not tell.
func TestWebSocketIsRoutedByItsConnect(t *testing.T) {
	t.Parallel()
	r := newRig(t, spoken)
	for user, to := range map[string]*cloud{hubUser: r.hub, "0ne00FAKE01/registrations/d/api-version=2019-03-31": r.dps} {
		conn := r.mustTLS(r.Ports().HTTPS[0], "", nil)
		in, answer := r.upgradeAt(conn, "127.0.0.1", "mqtt")
		require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
		_, err := conn.Write(frame(2, connectPacket("dev-01", user)))
		require.NoError(t, err)
		got := make([]byte, 2+len(connack))
		_, err = io.ReadFull(in, got)
		require.NoError(t, err)
		require.Equal(t, append([]byte{0x82, byte(len(connack))}, connack...), got)
		v := <-to.visits
		require.NotEmpty(t, v.peer.Endpoint)
		require.Equal(t, "wss", v.peer.Transport)
		e := r.event(journal.WS, "")
		require.Equal(t, "/$iothub/websocket", e.Topic)
	}
}

func TestWebSocketThatNobodyClaims(t *testing.T) {
	t.Parallel()
	r := newRig(t, spoken)
	conn := r.mustTLS(r.Ports().HTTPS[0], "", nil)
	in, answer := r.upgradeAt(conn, "127.0.0.1", "mqtt")
	require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
	_, err := conn.Write(frame(2, connectPacket("dev-01", "nobody")))
	require.NoError(t, err)
	got, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Equal(t, []byte{0x82, 4, 0x20, 2, 0, 5}, got, "CONNACK 5, then the end")
	r.refused("DOOR-1/nobody")
}

func TestWebSocketWithoutAConnect(t *testing.T) {
	t.Parallel()
	r := newRig(t, spoken, func(c *Config) { c.Timeouts.Connect = 30 * time.Millisecond })
	conn := r.mustTLS(r.Ports().HTTPS[0], hubName, nil)
	in, answer := r.upgrade(conn, "mqtt")
	require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
	_, err := io.ReadAll(in)
	require.NoError(t, err)
	r.refused("DOOR-2/timeout")
}

// What ends a WebSocket before its CONNECT is not what ends a TLS connection there: the client does trust the server.
func TestWebSocketThatEndsBeforeItsConnect(t *testing.T) {
	t.Parallel()
	connect := connectPacket("dev-01", hubUser)
	for name, sent := range map[string][]byte{
		"text frame":  frame(1, connect),
		"no mask":     append([]byte{0x82, byte(len(connect))}, connect...),
		"close frame": frame(8, []byte{0x03, 0xe8}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, spoken)
			conn := r.mustTLS(r.Ports().HTTPS[0], hubName, nil)
			in, answer := r.upgrade(conn, "mqtt")
			require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
			_, err := conn.Write(sent)
			require.NoError(t, err)
			_, _ = in.Read(make([]byte, 128)) // a close frame, or the end
			_ = conn.Close()                  // the library waits some seconds for the client's own close frame
			e := r.refused("DOOR-2/websocket")
			require.Equal(t, hubName, e.Endpoint)
			require.Contains(t, e.Expected, "binary frames")
			rule.Proves(t, "DOOR-2/websocket")
		})
	}
}

// An upgrade at another path is an HTTP request like any other.
func TestWebSocketAtAnotherPath(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Platforms[1].WebSocket = func(string) bool { return false } })
	conn := r.mustTLS(r.Ports().HTTPS[0], hubName, nil)
	_, answer := r.upgrade(conn, "mqtt")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, hubName, answer.Header.Get("Endpoint"))
}

func TestStopEndsAWebSocketBeforeItsConnect(t *testing.T) {
	t.Parallel()
	r := newRig(t, spoken)
	conn := r.mustTLS(r.Ports().HTTPS[0], hubName, nil)
	in, answer := r.upgrade(conn, "mqtt")
	require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
	r.event(journal.WS, "")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	require.NoError(t, r.Door.Close(ctx))
	rest, _ := io.ReadAll(in) // the end may be a reset
	require.Empty(t, rest)
}

// limited is a connection that keeps the deadline of its writes.
type limited struct {
	net.Conn
	deadline, during time.Time
}

func (l *limited) SetWriteDeadline(t time.Time) error {
	l.deadline = t
	return nil
}

func (l *limited) Write(p []byte) (int, error) {
	l.during = l.deadline
	return len(p), nil
}

// A deadline ends with the write that it is for: the library's timer would break off the next one.
func TestWebSocketWriteDeadlineEndsWithItsWrite(t *testing.T) {
	t.Parallel()
	l := &limited{}
	s := &stream{Conn: l}
	until := time.Now().Add(time.Minute)
	require.NoError(t, s.SetWriteDeadline(until))
	_, err := s.Write([]byte("x"))
	require.NoError(t, err)
	require.Equal(t, until, l.during)
	require.True(t, l.deadline.IsZero())
}
