package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

func TestDeviceEdge(t *testing.T) {
	t.Parallel()
	cloud, admin := running(t)
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, text, 0o600))
		return file
	}
	device, err := cloud.IssueDevice("leaf-x509")
	require.NoError(t, err)
	require.NoError(t, cloud.AddCertificateDevice("fakecloud-hub.azure-devices.net", "leaf-x509", device))
	require.NoError(t, cloud.SetParent("fakecloud-hub.azure-devices.net", "leaf-x509", "mygateway"))
	_, err = cloud.RefreshEdge("mygateway.contoso.com")
	require.NoError(t, err)
	root, err := cloud.EdgeRootPEM()
	require.NoError(t, err)
	cert, key, ca := write("leaf.pem", device.ChainPEM()), write("leaf.key", device.KeyPEM()), write("root.pem", root)
	leaf := "HostName=fakecloud-hub.azure-devices.net;DeviceId=demo-leaf;SharedAccessKey=" + demoKey + ";GatewayHostName="
	edgePort := strconv.Itoa(cloud.Ports().Edge)

	for _, tc := range []struct {
		name   string
		device string
		args   []string
	}{
		{"no flags", "demo-leaf", []string{"edge"}},
		{"certificate", "leaf-x509", []string{"edge", "--cert", cert, "--key-file", key}},
		{"gateway and hub", "demo-leaf", []string{"edge", "--host", "mygateway.contoso.com", "--hub", "fakecloud-hub.azure-devices.net", "--id", "demo-leaf", "--key", demoKey}},
		{"connection string", "demo-leaf", []string{"edge", "--connection-string", leaf + "mygateway.contoso.com"}},
		{"the same without knowing of gateways", "demo-leaf", []string{"azure", "--connection-string", leaf + "mygateway.contoso.com"}},
		{"by number", "demo-leaf", []string{"edge", "--connection-string", leaf + "127.0.0.1", "--ca", ca, "--port", edgePort}},
	} {
		a, out, errOut := testApp(t)
		args := append([]string{"--admin", admin, "device"}, tc.args...)
		require.Equal(t, 0, a.run(t.Context(), append(args, "--count", "2", "--interval", "1ms", "--property", "case="+tc.name)), tc.name)
		require.Empty(t, errOut.String(), tc.name)
		require.Contains(t, out.String(), "acknowledged after", tc.name)
		for _, platform := range []string{"edge", "iothub"} { // through the gateway, and on to the hub
			_, err := cloud.Await(t.Context(), fakecloud.Filter{Platform: platform, Kind: "telemetry", Device: tc.device,
				Match: func(e *fakecloud.Event) bool { return e.Properties["case"] == tc.name }}, 2)
			require.NoError(t, err, tc.name)
		}
	}

	t.Run("the cloud's root", func(t *testing.T) {
		a, _, errOut := testApp(t)
		require.Equal(t, 1, a.run(t.Context(), []string{"--admin", admin, "device", "edge", "--ca", write("cloud.pem", cloud.RootsPEM()), "--timeout", "10s"}))
		require.Contains(t, errOut.String(), "certificate signed by unknown authority")
	})
	t.Run("wrong key", func(t *testing.T) {
		a, _, errOut := testApp(t)
		require.Equal(t, 1, a.run(t.Context(), []string{"--admin", admin, "device", "edge", "--key", "AAAA"}))
		require.Contains(t, errOut.String(), "return code 5")
		require.Contains(t, errOut.String(), "why: fakecloud explain --last")
	})
}

func TestDeviceEdgeUsage(t *testing.T) {
	t.Parallel()
	_, admin := running(t)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"host alone":      {[]string{"--host", "g"}, "--host and --hub go together"},
		"hub alone":       {[]string{"--hub", "h"}, "--host and --hub go together"},
		"no credential":   {[]string{"--host", "g", "--hub", "h"}, "no credential for g"},
		"no key":          {[]string{"--id", "leaf-1"}, "no credential for leaf-1"},
		"bad key":         {[]string{"--key", "?"}, "not base64"},
		"two credentials": {[]string{"--key", "AAAA", "--cert", "x"}, "exclude each other"},
		"string and hub":  {[]string{"--connection-string", demoSASString, "--hub", "h"}, "leave --host, --hub"},
		"no gateway":      {[]string{"--connection-string", demoSASString}, "has no GatewayHostName"},
	} {
		a, _, errOut := testApp(t)
		require.Equal(t, 2, a.run(t.Context(), append([]string{"--admin", admin, "device", "edge"}, tc.args...)), name)
		require.Contains(t, errOut.String(), tc.want, name)
	}
}
