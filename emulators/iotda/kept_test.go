package iotda_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iotda"
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
	c := clock.New()
	iotda.New(iotda.Config{Clock: c, IDs: ids.New(1), Journal: journal.New(c, rule.NewTable(), journal.Options{}), Store: s})
	storetest.RoundTrip(t, s, "TemplateValue.Literal") // a value is text or a reference
}

// lives runs one life of a service in a directory.
func lives(t *testing.T, dir string, life func(*iotda.Service, *clock.Control)) {
	t.Helper()
	state, err := store.Open(dir, nil)
	require.NoError(t, err)
	c := clock.New()
	s := iotda.New(iotda.Config{Clock: c, IDs: ids.New(1), Journal: journal.New(c, rule.NewTable(iotda.Rules), journal.Options{}), Store: state})
	life(s, c)
	s.Close()
	require.NoError(t, state.Close())
}

func TestServiceComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ttl := 5
	lives(t, dir, func(s *iotda.Service, _ *clock.Control) {
		_, err := s.PutInstance(iotda.Instance{Name: instance})
		require.NoError(t, err)
		_, err = s.PutProduct(instance, iotda.Product{ProductID: "demo", Name: "demo", Services: []iotda.Capability{{ServiceID: "Battery",
			Properties: []iotda.Property{{Name: "batteryLevel", Value: iotda.Value{DataType: "int"}}}}}})
		require.NoError(t, err)
		register(t, s, "node1", "")
		register(t, s, "kid", "demo_node1")
		_, err = s.CreateDevice(instance, iotda.NewDevice{Device: iotda.Device{NodeID: "short", ProductID: "demo", Auth: iotda.AuthInfo{Timeout: 60}}})
		require.NoError(t, err)
		c := s.Open(iotda.Identity{Instance: instance, DeviceID: "demo_node1"}, iotda.Origin{Conn: 1}, nobody{})
		c.Publish("$oc/devices/demo_node1/sys/properties/report", []byte(`{"services":[{"service_id":"Battery","properties":{"batteryLevel":7}}]}`))
		for _, node := range []string{"other", "more"} {
			register(t, s, node, "")
			_, err = s.SendMessage(instance, "demo_"+node, iotda.NewMessage{ID: "m", Content: json.RawMessage(`"x"`), TTL: &ttl})
			require.NoError(t, err)
		}
	}) // as a kill would: the session never closed
	lives(t, dir, func(s *iotda.Service, c *clock.Control) {
		d, err := s.Device(instance, "demo_node1")
		require.NoError(t, err)
		require.Equal(t, iotda.Offline, d.Status)
		require.Len(t, s.Children(instance, "demo_node1"), 1)
		shadow, err := s.Shadow(instance, "demo_node1")
		require.NoError(t, err)
		require.Equal(t, map[string]any{"batteryLevel": json.Number("7")}, shadow[0].Reported.Properties)
		session := s.Open(iotda.Identity{Instance: instance, DeviceID: "demo_more"}, iotda.Origin{Conn: 1}, nobody{})
		defer session.Close()
		m, err := s.Message(instance, "demo_more", "m")
		require.NoError(t, err)
		require.Equal(t, iotda.Delivered, m.Status)
		require.NoError(t, c.Advance(6*time.Minute))
		m, err = s.Message(instance, "demo_other", "m")
		require.NoError(t, err)
		require.Equal(t, iotda.TimedOut, m.Status, "its time limit runs on")
		_, err = s.Device(instance, "demo_short")
		require.Error(t, err, "never activated in time")
	})
}
