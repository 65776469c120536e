package iothub

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// open signs in and opens a session.
func (w *world) open(t testing.TB, module string, o Origin) (*Session, *line) {
	t.Helper()
	c := Credentials{Endpoint: contoso, DeviceID: "dev-01", ModuleID: module, Password: tokenV1}
	if module != "" {
		c.Password = tokenV3
	}
	id, err := w.Authenticate(t.Context(), c)
	require.NoError(t, err)
	l := newLine()
	return w.Open(id, o, l), l
}

func TestConnectionState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.open(t, "", Origin{Conn: 7})
	d, err := w.GetDevice(contoso, "dev-01")
	require.NoError(t, err)
	require.Equal(t, Connected, d.ConnectionState)
	require.False(t, d.ConnectionStateUpdatedTime.IsZero())
	conn, ok := w.Connection(contoso, "dev-01")
	require.True(t, ok)
	require.EqualValues(t, 7, conn)
	before := d.LastActivityTime
	require.Nil(t, s.Telemetry(t.Context(), D2C{}))
	d, err = w.GetDevice(contoso, "dev-01")
	require.NoError(t, err)
	require.True(t, d.LastActivityTime.After(before))
	s.Close()
	s.Close()
	d, err = w.GetDevice(contoso, "dev-01")
	require.NoError(t, err)
	require.Equal(t, Disconnected, d.ConnectionState)
	_, ok = w.Connection(contoso, "dev-01")
	require.False(t, ok)
}

func TestTakeoverLeavesModulesAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	module, moduleLine := w.open(t, "mod-a", Origin{Conn: 1})
	first, firstLine := w.open(t, "", Origin{Conn: 2})
	second, secondLine := w.open(t, "", Origin{Conn: 3})
	require.EqualValues(t, "HUB-21/takeover", refusalOf(t, <-firstLine.closed).Rule)
	first.Close() // as its head does later
	conn, ok := w.Connection(contoso, "dev-01")
	require.True(t, ok)
	require.EqualValues(t, 3, conn)
	require.Empty(t, moduleLine.closed)
	require.Empty(t, secondLine.closed)
	require.NotNil(t, first.Telemetry(t.Context(), D2C{}))
	require.Nil(t, first.Telemetry(t.Context(), D2C{Will: true}), "its will still counts")
	require.Nil(t, second.Telemetry(t.Context(), D2C{}))
	require.Nil(t, module.Telemetry(t.Context(), D2C{}))
}

func TestCutWhileConnected(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  func(*world) error
		rule string
	}{
		"disabled": {func(w *world) error { return w.SetStatus(contoso, "dev-01", Disabled, "test") }, "HUB-12/disabled"},
		"deleted":  {func(w *world) error { return w.DeleteDevice(contoso, "dev-01", "") }, "HUB-12/deleted"},
		"hub gone": {func(w *world) error { return w.DeleteHub(contoso) }, "HUB-12/deleted"},
		"put disabled": {func(w *world) error {
			_, err := w.PutDevice(contoso, Device{DeviceID: "dev-01", Status: Disabled, Authentication: sasKeys()})
			return err
		}, "HUB-12/disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, device := w.open(t, "", Origin{})
			_, module := w.open(t, "mod-a", Origin{})
			require.NoError(t, c.act(w))
			require.EqualValues(t, c.rule, refusalOf(t, <-device.closed).Rule)
			require.EqualValues(t, c.rule, refusalOf(t, <-module.closed).Rule)
		})
	}
}

func TestOpenAfterTheIdentityChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, err := w.Authenticate(t.Context(), Credentials{Endpoint: contoso, DeviceID: "dev-01", Password: tokenV1})
	require.NoError(t, err)
	require.NoError(t, w.DeleteDevice(contoso, "dev-01", ""))
	w.put(t, Device{DeviceID: "dev-01", Authentication: sasKeys()})
	l := newLine()
	w.Open(id, Origin{}, l)
	require.EqualValues(t, "HUB-12/deleted", refusalOf(t, <-l.closed).Rule)
}

func TestDisconnectAndReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, device := w.open(t, "", Origin{})
	_, module := w.open(t, "mod-a", Origin{})
	require.Equal(t, 1, w.Disconnect(contoso, "dev-01/mod-a"))
	require.Error(t, <-module.closed)
	require.Empty(t, device.closed)
	require.Equal(t, 2, w.Disconnect(contoso, "dev-01"))
	require.Zero(t, w.Disconnect(contoso, "nobody"))
	require.Zero(t, w.Disconnect("nowhere", "dev-01"))

	s, l := w.open(t, "", Origin{})
	require.Nil(t, s.Telemetry(t.Context(), D2C{}))
	cause := errors.New("reset")
	w.Reset(cause)
	require.ErrorIs(t, <-l.closed, cause)
	require.NotNil(t, s.Telemetry(t.Context(), D2C{Will: true}), "nothing from before a reset counts")
	messages, _ := w.Telemetry(contoso, "", 0, 0)
	require.Empty(t, messages)
}

func TestTokenExpiryEndsTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.Freeze()
	_, l := w.open(t, "", Origin{})
	left := time.Unix(1893456000, 0).Sub(w.clock.Wall())
	require.NoError(t, w.clock.Advance(left+9*time.Minute))
	require.Empty(t, l.closed, "the grace runs")
	require.NoError(t, w.clock.Advance(2*time.Minute))
	require.EqualValues(t, "HUB-24/expired", refusalOf(t, <-l.closed).Rule)

	second, l2 := w.open(t, "", Origin{})
	<-l.closed // taken over
	second.Close()
	require.NoError(t, w.clock.Advance(left+time.Hour))
	require.Empty(t, l2.closed, "the timer stopped with the session")
}

func TestFarExpiryDoesNotOverflow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := Identity{Hub: contoso, DeviceID: "dev-01", Expires: time.Unix(253402300799, 0)}
	d, err := w.GetDevice(contoso, "dev-01")
	require.NoError(t, err)
	id.GenerationID = d.GenerationID
	l := newLine()
	w.Open(id, Origin{}, l)
	require.NoError(t, w.clock.Advance(24*time.Hour))
	require.Empty(t, l.closed)
}

func TestTelemetryStamps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.open(t, "mod-a", Origin{Conn: 9, Address: "127.0.0.1:1", ModelID: "dtmi:a;1"})
	r := s.Telemetry(t.Context(), D2C{Body: []byte(`{"t":1}`),
		System: []Property{{"message-id", "1"}, {PropDeviceID, "other"}, {PropModuleID, "other"}, {PropSource, "x"}},
		App:    []Property{{"a b", "c&d"}, {"e", ""}, {PropDeviceID, "app"}}})
	require.Nil(t, r)
	messages, next := w.Telemetry(contoso, "dev-01", 0, 0)
	require.Len(t, messages, 1)
	require.EqualValues(t, 1, next)
	m := messages[0]
	require.Equal(t, "mod-a", m.ModuleID)
	require.Equal(t, map[string]string{"a b": "c&d", "e": "", PropDeviceID: "app"}, m.Properties)
	require.Equal(t, m.EnqueuedAt.Format(enqueuedFormat), m.System[PropEnqueued])
	require.JSONEq(t, `{"scope":"module","type":"sas","issuer":"iothub"}`, m.System[PropAuthMethod])
	mod, err := w.GetModule(contoso, "dev-01", "mod-a")
	require.NoError(t, err)
	for k, v := range map[string]string{"message-id": "1", PropDeviceID: "dev-01", PropModuleID: "mod-a",
		PropGenerationID: mod.GenerationID, PropSource: "Telemetry", PropModel: "dtmi:a;1"} {
		require.Equal(t, v, m.System[k], k)
	}

	events, _ := w.journal.Select(journal.Filter{Kind: journal.Telemetry})
	require.Len(t, events, 1)
	e := events[0]
	require.Equal(t, "dev-01/mod-a", e.Device)
	require.Equal(t, contoso, e.Endpoint)
	require.EqualValues(t, 9, e.Conn)
	require.Equal(t, `{"t":1}`, string(e.Payload))
	require.Equal(t, "c&d", e.Properties["a b"])
	require.Equal(t, "dev-01", e.Properties[PropDeviceID], "the hub's stamp wins over an application property")
	_, err = json.Marshal(e)
	require.NoError(t, err)
}

func TestTelemetrySize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.open(t, "", Origin{})
	m := D2C{Body: make([]byte, MaxMessage-10), System: []Property{{"message-id", "1234"}}, App: []Property{{"key", "val"}}}
	require.Nil(t, s.Telemetry(t.Context(), m))
	m.App[0].Value = "valu"
	r := s.Telemetry(t.Context(), m)
	require.NotNil(t, r)
	require.EqualValues(t, "HUB-33/size", r.Rule)
	require.Equal(t, CodeMessageTooLarge, r.Code)
	messages, _ := w.Telemetry(contoso, "", 0, 0)
	require.Len(t, messages, 1)
}

func TestTelemetryIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, Config{TelemetryMessages: 3, TelemetryBytes: 10_000})
	s, _ := w.open(t, "", Origin{})
	for i := range 5000 {
		require.Nil(t, s.Telemetry(t.Context(), D2C{Body: []byte{byte(i)}}))
	}
	messages, next := w.Telemetry(contoso, "", 0, 0)
	require.Len(t, messages, 3)
	require.EqualValues(t, 5000, next)
	require.EqualValues(t, 4997, w.TelemetryDropped())
	messages, next = w.Telemetry(contoso, "dev-01", 4998, 1)
	require.Len(t, messages, 1)
	require.EqualValues(t, 4999, next)
	messages, next = w.Telemetry(contoso, "nobody", 0, 0)
	require.Empty(t, messages)
	require.EqualValues(t, 5000, next)
	require.Nil(t, s.Telemetry(t.Context(), D2C{Body: []byte(strings.Repeat("x", 9000))}))
	messages, _ = w.Telemetry(contoso, "", 0, 0)
	require.Len(t, messages, 1)
}

func BenchmarkTelemetry(b *testing.B) {
	w := newWorld(b)
	s, _ := w.open(b, "", Origin{Conn: 1, Address: "127.0.0.1:1"})
	body := []byte(`{"temperature":21.5,"humidity":40}`)
	b.ReportAllocs()
	for b.Loop() {
		if r := s.Telemetry(b.Context(), D2C{Body: body}); r != nil {
			b.Fatal(r)
		}
	}
}
