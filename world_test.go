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
      enrollments: [{registrationId: one, deviceId: other, attestation: {symmetricKey: {}}, optionalDeviceInformation: {site: {rack: 7}}, provisioningStatus: disabled, reprovisionPolicy: {migrateDeviceData: false}}]
iotda:
  instances:
    - name: plant
      region: eu-west-101
      stampTolerance: 2
      scopes: [{id: scope1, secret: Z3JvdXBzZWNyZXQtMDE=}]
      accessKeys: [{access: AK1, secret: SK1}]
      spaces: [{id: space1, name: Plant}]
      templates: [{id: t1, body: {parameters: {"iotda::certificate::common_name": {type: String}}, resources: {device: {node_id: {ref: "iotda::certificate::common_name"}, product_id: pump}}}}]
      certificates: [{name: plant, ca: plant, space: space1, template: t1, verified: false}]
      products: [{productId: pump, space: space1, services: [{serviceId: s, properties: [{name: a, dataType: int, min: 0, max: 9, step: 0.5}], commands: [{name: go, paras: [{name: x, dataType: int}]}], events: [{type: alarm}]}], topics: [{topic: x}]}]
      devices:
        - {deviceId: z_gate, productId: pump, secret: "12345678", secureAccess: true, frozen: true, tags: [{key: k, value: v}]}
        - {deviceId: a_child, productId: pump, gatewayId: z_gate}
        - {deviceId: pump_x, productId: pump, fingerprint: aabbccddeeff00112233445566778899aabbccdd}
      policies: [{id: pol1, statements: [{effect: DENY, actions: ["iotda:devices:publish"], resources: ["topic:a/*"]}], devices: [pump_x]}]
      forwarding: [{id: f1, resource: device.property, event: report, actions: [{id: a1, url: "http://127.0.0.1:9/x"}]}]
faults:
  - {id: late, match: {step: connect, platform: iothub, device: "pump-*"}, action: {delay: 90s, code: 3}, count: 2}
  - {id: lost, match: {step: puback}, action: {drop: true}, probability: 0.000001, seed: 18446744073709551615}
  - {match: {step: dps.register, endpoint: fakecloud-dps}, action: {throttle: 0}}
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
		"wrong fault":    "azure: {hubs: [{name: fresh}]}\nfaults: [{match: {step: publish}, action: {code: 3}}]",
		"device again":   "iotda: {instances: [{name: fakecloud, products: [{productId: second}], devices: [{deviceId: demo_node1, productId: second}]}]}",
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

// The faults of a world are set from the start and again by a reset; a patch adds and replaces by id, a
// replaced world has its own only.
func TestFaultsOfTheWorld(t *testing.T) {
	t.Parallel()
	one := "faults: [{id: one, match: {step: connect}, action: {code: 3}, count: 2}, {id: two, match: {step: publish}, action: {drop: true}}]"
	cloud := fakecloud.Start(t, fakecloud.WithWorld(one))
	code := 3
	first := fakecloud.Fault{ID: "one", Match: fakecloud.FaultMatch{Step: "connect"}, Action: fakecloud.FaultAction{Code: &code}, Count: 2}
	second := fakecloud.Fault{ID: "two", Match: fakecloud.FaultMatch{Step: "publish"}, Action: fakecloud.FaultAction{Drop: true}}
	require.Equal(t, []fakecloud.Fault{first, second}, cloud.Faults())

	require.NoError(t, cloud.PatchWorld(t.Context(), "faults: [{id: one, match: {step: puback}, action: {close: true}}]"))
	replaced := fakecloud.Fault{ID: "one", Match: fakecloud.FaultMatch{Step: "puback"}, Action: fakecloud.FaultAction{Close: true}}
	require.Equal(t, []fakecloud.Fault{second, replaced}, cloud.Faults())
	err := cloud.PatchWorld(t.Context(), "faults:\n  - match: {step: lunch}\n    action: {close: true}\n")
	require.ErrorContains(t, err, "the document:2:19: faults[0].match.step: it is one of connect, ")
	require.Len(t, cloud.Faults(), 2)

	require.NoError(t, cloud.Reset())
	require.Equal(t, []fakecloud.Fault{first, second}, cloud.Faults())
	require.NoError(t, cloud.Plane().World.Replace(t.Context(), []byte("faults: [{id: two, match: {step: publish}, action: {drop: true}}]")))
	require.Equal(t, []fakecloud.Fault{second}, cloud.Faults())
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
