package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/control"
)

const (
	demoGroupKey  = "ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAxLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg=="
	demoSASString = "HostName=fakecloud-hub.azure-devices.net;DeviceId=demo-sas;SharedAccessKey=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	quickDPS      = "azure: {dps: [{name: fakecloud-dps, retryAfter: 1s, rounds: 1}]}"
)

// running is an instance with its admin API.
func running(t *testing.T, worlds ...string) (*fakecloud.Cloud, string) {
	t.Helper()
	options := []fakecloud.Option{fakecloud.WithWorld(quickDPS)}
	for _, w := range worlds {
		options = append(options, fakecloud.WithWorld(w))
	}
	cloud := fakecloud.Start(t, options...)
	admin := httptest.NewServer(control.New(cloud.Plane(), control.Options{}))
	t.Cleanup(admin.Close)
	return cloud, admin.URL
}

func TestDeviceAzure(t *testing.T) {
	t.Parallel()
	cloud, admin := running(t)
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, text, 0o600))
		return file
	}
	device, err := cloud.IssueDevice("file-device")
	require.NoError(t, err)
	cert, key := write("device.pem", device.ChainPEM()), write("device.key", device.KeyPEM())
	other, err := cloud.IssueDevice("number-device")
	require.NoError(t, err)
	both := write("both.pem", append(other.KeyPEM(), other.ChainPEM()...))
	ca := write("ca.pem", cloud.RootsPEM())
	port := strconv.Itoa(cloud.Ports().MQTTS)

	cases := map[string]struct {
		args   []string
		device string
		body   string
	}{
		"no flags":      {nil, "demo-device-1", `{"n":2,"temperature":21.5}`},
		"another id":    {[]string{"--id", "dev-a"}, "dev-a", `{"n":2,"temperature":21.5}`},
		"group key":     {[]string{"--id", "dev-b", "--group-key", demoGroupKey, "--message", "n={n}"}, "dev-b", "n=2"},
		"files":         {[]string{"--cert", cert, "--key-file", key}, "file-device", `{"n":2,"temperature":21.5}`},
		"sas":           {[]string{"--connection-string", demoSASString, "--message", "sas {n}"}, "demo-sas", "sas 2"},
		"sas, gateway":  {[]string{"--connection-string", demoSASString + ";GatewayHostName=127.0.0.1", "--port", port, "--ca", ca, "--message", "gateway {n}"}, "demo-sas", "gateway 2"},
		"dps by number": {[]string{"--host", "127.0.0.1", "--port", port, "--ca", ca, "--id-scope", "0ne00FAKE01", "--cert", both, "--message", "number {n}"}, "number-device", "number 2"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.device != "demo-sas" { // one device, one connection
				t.Parallel()
			}
			a, out, errOut := testApp(t)
			args := append([]string{"--admin", admin, "device", "azure", "--count", "2", "--interval", "1ms", "--property", "case=" + name}, tc.args...)
			require.Equal(t, 0, a.run(t.Context(), args))
			require.Empty(t, errOut.String())
			require.Contains(t, out.String(), "acknowledged after")
			events, err := cloud.Await(t.Context(), fakecloud.Filter{Kind: "telemetry", Device: tc.device,
				Match: func(e *fakecloud.Event) bool { return e.Properties["case"] == name }}, 2)
			require.NoError(t, err)
			require.Equal(t, tc.body, string(events[1].Payload))
		})
	}

	t.Run("wrong key", func(t *testing.T) {
		a, _, errOut := testApp(t)
		require.Equal(t, 1, a.run(t.Context(), []string{"--admin", admin, "device", "azure", "--id", "dev-c", "--key", "AAAA"}))
		require.Contains(t, errOut.String(), "status 401, error code 401000")
		require.Contains(t, errOut.String(), "why: fakecloud explain --last")
	})
	t.Run("hub by number, wrong key", func(t *testing.T) {
		a, _, errOut := testApp(t)
		require.Equal(t, 1, a.run(t.Context(), []string{"device", "azure", "--host", "127.0.0.1", "--port", port, "--ca", ca, "--id", "demo-sas", "--key", "AAAA"}))
		require.Contains(t, errOut.String(), "return code 5 (not authorized)")
	})
	t.Run("unknown root", func(t *testing.T) {
		a, _, errOut := testApp(t)
		require.Equal(t, 1, a.run(t.Context(), []string{"device", "azure", "--host", "127.0.0.1", "--port", port, "--id", "demo-sas", "--key", "AAAA"}))
		require.Contains(t, errOut.String(), "name the root with --ca")
	})
}

func TestDeviceAzureUsage(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	chain := filepath.Join(t.TempDir(), "chain.pem")
	require.NoError(t, os.WriteFile(chain, []byte("-----BEGIN CERTIFICATE-----\n"), 0o600))
	cases := map[string]struct {
		args []string
		want string
	}{
		"no platform":      {[]string{"device"}, "wants a platform"},
		"other platform":   {[]string{"device", "toaster"}, "wants a platform"},
		"two credentials":  {[]string{"device", "azure", "--key", "AAAA", "--cert", "x"}, "exclude each other"},
		"key without cert": {[]string{"device", "azure", "--key-file", "x"}, "--key-file needs --cert"},
		"string and host":  {[]string{"device", "azure", "--connection-string", demoSASString, "--host", "h"}, "leave --host"},
		"bad string":       {[]string{"device", "azure", "--connection-string", "HostName=h"}, "DeviceId is missing"},
		"x509 string":      {[]string{"device", "azure", "--connection-string", "HostName=h;DeviceId=d;x509=true"}, "--cert"},
		"group key on hub": {[]string{"device", "azure", "--host", "h", "--group-key", "AAAA"}, "--id-scope"},
		"property":         {[]string{"device", "azure", "--property", "alert"}, "expected NAME=VALUE"},
		"count":            {[]string{"device", "azure", "--count", "-1"}, "must not be negative"},
		"port":             {[]string{"device", "azure", "--port", "70000"}, "expected 1 to 65535"},
		"no credential":    {[]string{"device", "azure", "--host", "h"}, "no credential for h"},
		"no such file":     {[]string{"device", "azure", "--host", "h", "--cert", empty + "x"}, "x does not exist"},
		"no certificate":   {[]string{"device", "azure", "--host", "h", "--cert", empty}, " is no certificate; PEM begins with -----BEGIN CERTIFICATE-----"},
		"no key":           {[]string{"device", "azure", "--host", "h", "--cert", chain}, "holds no private key; name its file with --key-file"},
		"empty ca":         {[]string{"device", "azure", "--host", "h", "--ca", empty}, "no certificate in PEM form"},
		"bad key":          {[]string{"device", "azure", "--host", "h", "--id", "d", "--key", "?"}, "not base64"},
	}
	for name, tc := range cases {
		a, _, errOut := testApp(t)
		require.Equal(t, 2, a.run(t.Context(), tc.args), name)
		require.Contains(t, errOut.String(), tc.want, name)
	}
}
