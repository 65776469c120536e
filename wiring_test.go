package fakecloud

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/iothub"
)

// A device that is provisioned again gets its new credential, and keeps what its owner has set.
func TestAssignAgainKeepsTheDevice(t *testing.T) {
	t.Parallel()
	hub, id := "fakecloud-hub.azure-devices.net", "dev-1"
	c := Start(t)
	a := allocator{c.gen().cores.hub, c.gen().cores.mind}
	first := dps.Assignment{Hub: hub, DeviceID: id, Auth: dps.Auth{PrimaryKey: "MDEyMzQ1Njc4OWFiY2RlZg==", SecondaryKey: "MDEyMzQ1Njc4OWFiY2RlZg=="},
		InitialTwin: []byte(`{"tags":{"hall":3}}`)}
	require.NoError(t, a.Assign(t.Context(), first))
	d, err := c.gen().cores.hub.GetDevice(hub, id)
	require.NoError(t, err)
	d.Status, d.StatusReason = iothub.Disabled, "stolen"
	d.DeviceScope, d.ParentScopes = "ms-azure-iot-edge://gateway-1", []string{"ms-azure-iot-edge://gateway-1"}
	_, err = c.gen().cores.hub.PutDevice(hub, d)
	require.NoError(t, err)

	again := first
	again.InitialTwin, again.Auth = nil, dps.Auth{SHA1: "0123456789ABCDEF0123456789ABCDEF01234567",
		SHA256: "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF"}
	require.NoError(t, a.Assign(t.Context(), again))
	got, err := c.gen().cores.hub.GetDevice(hub, id)
	require.NoError(t, err)
	require.Equal(t, iothub.AuthSelfSigned, got.Authentication.Type)
	require.Equal(t, again.Auth.SHA256, got.Authentication.Thumbprint.Primary)
	require.Equal(t, d.GenerationID, got.GenerationID)
	require.Equal(t, []any{iothub.Disabled, "stolen", d.DeviceScope}, []any{got.Status, got.StatusReason, got.DeviceScope})
	require.Equal(t, d.ParentScopes, got.ParentScopes)
	require.JSONEq(t, string(first.InitialTwin), string(got.InitialTwin))
	require.True(t, a.Holds(hub, id))
}

// A device that DPS assigns gets the configurations that target it.
func TestAssignedDeviceIsConfigured(t *testing.T) {
	t.Parallel()
	hub, id := "fakecloud-hub.azure-devices.net", "dev-1"
	c := Start(t)
	cores := c.gen().cores
	_, err := cores.hub.CreateConfiguration(hub, iothub.Configuration{ID: "hall", TargetCondition: "tags.hall = 3",
		Content: []byte(`{"deviceContent":{"properties.desired.interval":5}}`)})
	require.NoError(t, err)
	require.NoError(t, allocator{cores.hub, cores.mind}.Assign(t.Context(), dps.Assignment{Hub: hub, DeviceID: id,
		Auth: dps.Auth{PrimaryKey: "MDEyMzQ1Njc4OWFiY2RlZg==", SecondaryKey: "MDEyMzQ1Njc4OWFiY2RlZg=="}, InitialTwin: []byte(`{"tags":{"hall":3}}`)}))
	twin, err := cores.hub.GetTwin(hub, id, "")
	require.NoError(t, err)
	require.Contains(t, twin.Desired.Values, "interval")
}
