package fakecloud_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

// What world show prints, applied to an instance without a default world, gives the same world again.
func TestWorldRoundTrip(t *testing.T) {
	t.Parallel()
	first := fakecloud.Start(t)
	require.NoError(t, first.PatchWorld(t.Context(), `
pki: {cas: [{name: plant}]}
azure:
  hubs:
    - name: second
      certificates: [{name: plant, ca: plant, verified: false}]
      devices:
        - {deviceId: gate, status: disabled, statusReason: stolen, initialTwin: {tags: {floor: 2}}, modules: [{moduleId: m}]}
  dps:
    - name: fakecloud-dps
      linkedHubs: [fakecloud-hub, second]
      pollLimit: true
      enrollments: [{registrationId: one, deviceId: other, attestation: {symmetricKey: {}}, provisioningStatus: disabled, reprovisionPolicy: {migrateDeviceData: false}}]
`))
	text, err := first.Plane().World.Current()
	require.NoError(t, err)
	second := fakecloud.Start(t, fakecloud.WithWorld(string(text)))
	again, err := second.Plane().World.Current()
	require.NoError(t, err)
	require.Equal(t, string(text), string(again))
}

// A document that fails anywhere changes nothing.
func TestPatchWorldIsAllOrNothing(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	before, err := cloud.Plane().World.Current()
	require.NoError(t, err)
	for name, document := range map[string]string{
		"unknown key":    "azure: {hubs: [{name: x, colour: red}]}",
		"unknown hub":    "azure: {dps: [{name: fakecloud-dps, linkedHubs: [nowhere]}]}",
		"taken ID scope": "azure: {hubs: [{name: fresh}], dps: [{name: other, idScope: 0ne00FAKE01}]}",
	} {
		require.Error(t, cloud.PatchWorld(t.Context(), document), name)
		after, err := cloud.Plane().World.Current()
		require.NoError(t, err)
		require.Equal(t, string(before), string(after), name)
	}
}

func TestReplaceWorld(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	require.NoError(t, cloud.Plane().World.Replace(t.Context(), []byte("azure: {hubs: [{name: only}]}")))
	require.Len(t, cloud.Plane().Endpoints(), 1)
	require.Equal(t, "only.azure-devices.net", cloud.Plane().Endpoints()[0].Name)
}

func TestDataDirectoryKeepsTheRoot(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	one := fakecloud.Start(t, fakecloud.WithDataDir(dir))
	root := one.RootsPEM()
	require.NoError(t, one.Close())
	two := fakecloud.Start(t, fakecloud.WithDataDir(dir))
	require.Equal(t, string(root), string(two.RootsPEM()))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestDialContextKeepsTheVendorsNames(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn, err := cloud.DialContext(t.Context(), "tcp", "global.azure-devices-provisioning.net:8883")
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	_, err = cloud.DialContext(t.Context(), "tcp", "www.example.com:8883")
	require.ErrorContains(t, err, "not an emulated host")
	_, err = cloud.DialContext(t.Context(), "tcp", "global.azure-devices-provisioning.net:22")
	require.ErrorContains(t, err, "no listener")
}
