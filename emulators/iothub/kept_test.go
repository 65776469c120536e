package iothub

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/store/storetest"
)

func TestRowsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	s := store.New()
	New(Config{Clock: clock.New(), IDs: ids.New(1), Store: s})
	storetest.RoundTrip(t, s, "C2DMessage.deadline", "C2DMessage.lockedUntil", "Device.ConnectionState", "Module.ConnectionState", // made anew at start
		"Message.Seq", "Feedback.Seq") // the log's own
}

// lives runs one life of a service in a directory.
func lives(t *testing.T, dir string, life func(*Service, *clock.Control)) {
	t.Helper()
	state, err := store.Open(dir, nil)
	require.NoError(t, err)
	c := clock.New()
	s := New(Config{Clock: c, IDs: ids.New(1), Journal: journal.New(c, rule.NewTable(Rules), journal.Options{}), Store: state})
	require.NoError(t, state.Err())
	life(s, c)
	require.NoError(t, state.Close())
}

func TestServiceComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := issue(t, nil, "root", asCA)
	var before Device
	lives(t, dir, func(s *Service, _ *clock.Control) {
		for _, name := range []string{"zulu", "alfa"} {
			_, err := s.PutHub(Hub{Name: name, CAs: []CA{{Name: "ca", Certificate: ca.cert, Verified: true}}})
			require.NoError(t, err)
		}
		d, err := s.PutDevice("zulu"+globalSuffix, Device{DeviceID: "d", InitialTwin: json.RawMessage(`{"properties":{"desired":{"interval":1.50}}}`)})
		require.NoError(t, err)
		before = d
		_, err = s.PutModule("zulu"+globalSuffix, Module{DeviceID: "d", ModuleID: "m"})
		require.NoError(t, err)
		session := s.Open(Identity{Hub: "zulu" + globalSuffix, DeviceID: "d", GenerationID: d.GenerationID}, Origin{APIVersion: "x"}, newLine())
		require.Nil(t, session.Telemetry(t.Context(), D2C{Body: []byte("hello"), App: []Property{{"a", "b"}}}))
		_, r := session.Report([]byte(`{"seen":{"n":2}}`), "")
		require.Nil(t, r)
		_, err = s.SendC2D("zulu"+globalSuffix, "d", "", C2D{MessageID: "long", Body: []byte("x"), Ack: AckFull})
		require.NoError(t, err)
		_, err = s.SendC2D("zulu"+globalSuffix, "d", "", C2D{MessageID: "short", Body: []byte("x"), Ack: AckFull, Expiry: time.Now().Add(time.Minute)})
		require.NoError(t, err)
	}) // as a kill would: the session never closed
	lives(t, dir, func(s *Service, c *clock.Control) {
		require.Equal(t, []string{"zulu", "alfa"}, []string{s.Hubs()[0].Name, s.Hubs()[1].Name}, "the first hub stays the default one")
		require.True(t, ca.cert.Equal(s.Hubs()[0].CAs[0].Certificate))
		d, err := s.GetDevice("zulu"+globalSuffix, "d")
		require.NoError(t, err)
		require.Equal(t, Disconnected, d.ConnectionState)
		require.Equal(t, before.Authentication, d.Authentication)
		require.Equal(t, before.GenerationID, d.GenerationID)
		require.JSONEq(t, string(before.InitialTwin), string(d.InitialTwin))
		require.Equal(t, 2, d.CloudToDeviceMessageCount)
		twin, err := s.GetTwin("zulu"+globalSuffix, "d", "")
		require.NoError(t, err)
		require.Equal(t, map[string]any{"interval": json.Number("1.50")}, twin.Desired.Values)
		require.EqualValues(t, 2, twin.Reported.Version)
		messages, next := s.Telemetry("zulu"+globalSuffix, "d", 0, 0)
		require.Len(t, messages, 1)
		require.EqualValues(t, 1, next)
		require.Equal(t, "hello", string(messages[0].Body))
		require.Equal(t, map[string]string{"a": "b"}, messages[0].Properties)
		require.EqualValues(t, 1, messages[0].Seq)

		require.NoError(t, c.Advance(2*time.Minute))
		feedback := s.Feedback("zulu"+globalSuffix, 0)
		require.Len(t, feedback, 1, "the timer of the queue runs again")
		require.Equal(t, "short", feedback[0].OriginalMessageID)
		m, ok := s.ReceiveC2D(Identity{Hub: "zulu" + globalSuffix, DeviceID: "d"}, 0)
		require.True(t, ok)
		require.Equal(t, "long", m.MessageID)
	})
	lives(t, dir, func(s *Service, _ *clock.Control) {
		feedback := s.Feedback("zulu"+globalSuffix, 0)
		require.Len(t, feedback, 1)
		require.EqualValues(t, 1, feedback[0].Seq)
		_, ok := s.ReceiveC2D(Identity{Hub: "zulu" + globalSuffix, DeviceID: "d"}, 0)
		require.True(t, ok, "the lock ended with the process")
	})
}

// A process killed between two steps leaves halves.
func TestHalvesAreMended(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hub := "zulu" + globalSuffix
	lives(t, dir, func(s *Service, _ *clock.Control) {
		_, err := s.PutHub(Hub{Name: "zulu"})
		require.NoError(t, err)
		for _, id := range []string{"made", "removed"} {
			_, err = s.PutDevice(hub, Device{DeviceID: id})
			require.NoError(t, err)
			_, err = s.PutModule(hub, Module{DeviceID: id, ModuleID: "m"})
			require.NoError(t, err)
		}
		s.twins.Delete(twinKey(hub, "made", ""))
		s.twins.Delete(twinKey(hub, "made", "m"))
		s.devices.Delete(key(hub, "removed"))
	})
	lives(t, dir, func(s *Service, _ *clock.Control) {
		for _, module := range []string{"", "m"} {
			_, err := s.GetTwin(hub, "made", module)
			require.NoError(t, err)
		}
		require.Equal(t, 2, s.twins.Len())
		require.Equal(t, 1, s.modules.Len())
	})
}

func FuzzKeptMessage(f *testing.F) {
	codec := keptMessage()
	f.Add(codec.Encode(nil, Message{Hub: "h", DeviceID: "d", EnqueuedAt: time.Unix(5, 0), Body: []byte("b"), System: map[string]string{"a": "b"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		codec := keptMessage()
		m, err := codec.Decode(b)
		if err != nil {
			return
		}
		again, err := codec.Decode(codec.Encode(nil, m))
		require.NoError(t, err)
		require.Equal(t, m, again)
	})
}
