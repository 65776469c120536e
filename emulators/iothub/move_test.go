package iothub

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

const fabrikam = "fabrikam.azure-devices.net"

func twoHubs(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	_, err := w.PutHub(Hub{Name: "fabrikam"})
	require.NoError(t, err)
	return w
}

func TestMoveDevice(t *testing.T) {
	t.Parallel()
	w := twoHubs(t)
	w.put(t, Device{DeviceID: "mover", Authentication: sasKeys(), InitialTwin: json.RawMessage(`{"tags":{"hall":3},"properties":{"desired":{"speed":5}}}`)})
	before, err := w.ChangeTwin(contoso, "mover", "", TwinPatch{Desired: map[string]any{"speed": json.Number("7")}}, "")
	require.NoError(t, err)
	_, err = w.PutModule(contoso, Module{DeviceID: "mover", ModuleID: "m"})
	require.NoError(t, err)
	require.NoError(t, w.Assign(contoso, "mover"))
	// what the other hub has under that id gives way
	_, err = w.PutDevice(fabrikam, Device{DeviceID: "mover", InitialTwin: json.RawMessage(`{"tags":{"old":true}}`)})
	require.NoError(t, err)

	moved, err := w.MoveDevice(contoso, fabrikam, Device{DeviceID: "mover", Status: Disabled, Authentication: sasKeys()})
	require.NoError(t, err)
	require.Equal(t, Disabled, moved.Status)
	require.NotNil(t, moved.InitialTwin)
	after, err := w.GetTwin(fabrikam, "mover", "")
	require.NoError(t, err)
	require.Equal(t, before, after)
	_, err = w.GetDevice(contoso, "mover")
	require.ErrorIs(t, err, ErrNotFound)
	_, err = w.GetTwin(contoso, "mover", "")
	require.ErrorIs(t, err, ErrNotFound)
	require.Empty(t, w.Modules(contoso, "mover"))
	require.Empty(t, w.Modules(fabrikam, "mover"))
	require.Equal(t, fabrikam, w.HubOf("mover"))
}

func TestMoveDeviceWithoutDamage(t *testing.T) {
	t.Parallel()
	w := twoHubs(t)
	for _, c := range []struct{ from, to, device string }{
		{"nowhere", fabrikam, "dev-01"}, {contoso, "nowhere", "dev-01"}, {contoso, fabrikam, "nobody"},
	} {
		_, err := w.MoveDevice(c.from, c.to, Device{DeviceID: c.device})
		require.ErrorIs(t, err, ErrNotFound, "%v", c)
	}
	_, err := w.MoveDevice(contoso, fabrikam, Device{DeviceID: "dev-01", Status: "asleep"})
	require.ErrorIs(t, err, ErrInvalid)
	require.Empty(t, w.Devices(fabrikam))
	_, err = w.MoveDevice("CONTOSO.azure-devices.net", contoso, Device{DeviceID: "dev-01", Authentication: sasKeys()})
	require.NoError(t, err, "to the hub that it is on")
	require.Len(t, w.Modules(contoso, "dev-01"), 1)
}

func TestResetTwin(t *testing.T) {
	t.Parallel()
	w := twoHubs(t)
	_, err := w.ChangeTwin(contoso, "dev-01", "", TwinPatch{Tags: map[string]any{"a": "b"}, Desired: map[string]any{"speed": json.Number("7")}}, "")
	require.NoError(t, err)
	twin, err := w.ResetTwin(contoso, "dev-01", json.RawMessage(`{"tags":{"hall":3},"properties":{"desired":{"limit":{"low":1}}}}`))
	require.NoError(t, err)
	require.Equal(t, map[string]any{"hall": json.Number("3")}, twin.Tags)
	require.Equal(t, map[string]any{"limit": map[string]any{"low": json.Number("1")}}, twin.Desired.Values)
	require.Empty(t, twin.Reported.Values)
	require.EqualValues(t, 3, twin.Version)
	require.EqualValues(t, 3, twin.Desired.Version)
	require.EqualValues(t, 2, twin.Reported.Version)
	require.EqualValues(t, 3, twin.Desired.Meta.Members["limit"].Members["low"].Version)
	twin, err = w.ResetTwin(contoso, "dev-01", nil)
	require.NoError(t, err)
	require.Empty(t, twin.Tags)
	_, err = w.ResetTwin(contoso, "nobody", nil)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = w.ResetTwin(contoso, "dev-01", json.RawMessage(`{"tags":[]}`))
	require.ErrorIs(t, err, ErrInvalid)
}
