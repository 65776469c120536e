package dps_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
)

const (
	hubA = "a.azure-devices.net"
	hubB = "b.azure-devices.net"
)

var startTwin = json.RawMessage(`{"tags":{"site":"A"}}`)

// bind lets the group of device-001 use the hubs in that order.
func (w *world) bind(t *testing.T, policy *dps.ReprovisionPolicy, allocation dps.AllocationPolicy, hubs ...string) {
	t.Helper()
	require.NoError(t, w.PutInstance(dps.Instance{Name: instance, IDScope: scope, LinkedHubs: []string{hubA, hubB}}))
	_, err := w.PutGroup(instance, dps.Group{ID: "g", Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: groupKey}},
		Terms: dps.Terms{IoTHubs: hubs, InitialTwin: startTwin, ReprovisionPolicy: policy, AllocationPolicy: allocation}})
	require.NoError(t, err)
}

// DPS-28 to DPS-30: what the hubs are asked for when the list of hubs has changed from A to B.
func TestReprovision(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy     *dps.ReprovisionPolicy
		apiVersion string
		lost       bool
		want       dps.Assignment
		substatus  string
	}{
		"default":           {nil, "2019-03-31", false, dps.Assignment{Hub: hubB, From: hubA}, "deviceDataMigrated"},
		"migrate":           {&dps.ReprovisionPolicy{UpdateHubAssignment: true, MigrateDeviceData: true}, "2018-04-01", false, dps.Assignment{Hub: hubB, From: hubA}, "deviceDataMigrated"},
		"reset":             {&dps.ReprovisionPolicy{UpdateHubAssignment: true}, "", false, dps.Assignment{Hub: hubB, From: hubA, Reset: true, InitialTwin: startTwin}, "deviceDataReset"},
		"never":             {&dps.ReprovisionPolicy{}, "2019-03-31", false, dps.Assignment{Hub: hubA}, "initialAssignment"},
		"never, whatever":   {&dps.ReprovisionPolicy{MigrateDeviceData: true}, "", false, dps.Assignment{Hub: hubA}, "initialAssignment"},
		"old api-version":   {nil, "2018-04-01", false, dps.Assignment{Hub: hubA}, "initialAssignment"},
		"nothing to bring":  {nil, "2019-03-31", true, dps.Assignment{Hub: hubB, Reset: true, InitialTwin: startTwin}, "deviceDataReset"},
		"never and deleted": {&dps.ReprovisionPolicy{}, "2019-03-31", true, dps.Assignment{Hub: hubA, InitialTwin: startTwin}, "initialAssignment"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			device := withToken("device-001", tokenV3)
			device.APIVersion = c.apiVersion
			w.bind(t, c.policy, "", hubA)
			_, before := w.provision(t, device)
			require.Equal(t, "initialAssignment", before["substatus"])
			w.hubs.lost["device-001"] = c.lost
			w.bind(t, c.policy, "", hubB)
			_, after := w.provision(t, device)
			require.Equal(t, c.want.Hub, after["assignedHub"])
			require.Equal(t, c.substatus, after["substatus"])
			require.Equal(t, before["createdDateTimeUtc"], after["createdDateTimeUtc"])
			got := w.hubs.last(t)
			c.want.DeviceID, c.want.Group, c.want.Auth = "device-001", "g", got.Auth
			require.Equal(t, c.want, got)
		})
	}
}

func TestReprovisionOnTheSameHub(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	device := withToken("device-001", tokenV3)
	reset := &dps.ReprovisionPolicy{UpdateHubAssignment: true}
	w.bind(t, reset, "", hubA)
	w.provision(t, device)
	require.False(t, w.hubs.last(t).Reset)
	_, state := w.provision(t, device)
	require.True(t, w.hubs.last(t).Reset)
	require.Equal(t, startTwin, w.hubs.last(t).InitialTwin)
	require.Equal(t, "initialAssignment", state["substatus"])

	w.bind(t, nil, "", hubB, hubA)
	_, state = w.provision(t, device)
	require.Equal(t, hubA, state["assignedHub"], "hashed keeps a hub that may be used")
	w.bind(t, nil, dps.Static, hubB, hubA)
	_, state = w.provision(t, device)
	require.Equal(t, hubB, state["assignedHub"], "static takes the first")
	require.Equal(t, "deviceDataMigrated", state["substatus"])
	w.bind(t, nil, dps.Static, hubA)
	_, state = w.provision(t, device)
	require.Equal(t, hubA, state["assignedHub"])
	require.Equal(t, "reprovisionedToInitialAssignment", state["substatus"])
	reg, _ := w.Registration(instance, "device-001")
	require.Equal(t, []string{hubA, hubB}, reg.FormerHubs)
}

// DPS-32: the limit is a device's own, and off unless the instance says so.
func TestPollLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.enrollGroupKey(t, "g", groupKey)
	w.enrollKeys(t, "Meter-01", individualKey, "")
	s, other := w.Open(withToken("device-001", tokenV3)), w.Open(withToken("Meter-01", tokenV5))
	op, others := operationID(t, s.Register(t.Context(), nil)), operationID(t, other.Register(t.Context(), nil))
	for range 20 {
		require.NotEqual(t, 429, s.Poll(t.Context(), op).Status)
	}
	require.NoError(t, w.PutInstance(dps.Instance{Name: instance, IDScope: scope, LinkedHubs: []string{hub}, PollLimit: true}))
	require.NotEqual(t, 429, s.Poll(t.Context(), op).Status)
	require.NoError(t, w.clock.Advance(4*time.Second))
	for range 4 {
		require.NotEqual(t, 429, s.Poll(t.Context(), op).Status)
	}
	for range 2 {
		a := s.Poll(t.Context(), op)
		require.Equal(t, 429, a.Status)
		require.Equal(t, 6, a.RetryAfter)
		require.EqualValues(t, 429001, fields(t, a)["errorCode"])
		require.EqualValues(t, "DPS-32/polls", a.Refusal.Rule)
	}
	op = operationID(t, s.Register(t.Context(), nil))
	require.Equal(t, 429, s.Poll(t.Context(), op).Status, "another operation is no way around")
	require.NotEqual(t, 429, other.Poll(t.Context(), others).Status)
	require.NoError(t, w.clock.Advance(6*time.Second))
	require.NotEqual(t, 429, s.Poll(t.Context(), op).Status)
	require.Equal(t, 4, s.Poll(t.Context(), op).RetryAfter)
}
