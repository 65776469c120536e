package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

// mindWorld shortens the pause of onboarding and adds a private cloud.
const mindWorld = `azure: {dps: [{name: demo2-dps, retryAfter: 1s, rounds: 1}]}
mindsphere: {tenants: [
  {name: demo, provisioning: 100ms, certificates: [{name: demo-ca, ca: demo-ca}]},
  {name: plant, region: private, host: mqtt.plant.test, certificates: [{name: demo-ca, ca: demo-ca}]}]}`

func TestDeviceMindSphere(t *testing.T) {
	t.Parallel()
	cloud, admin := running(t, mindWorld)
	issued, err := cloud.IssueDevice("demo_pump")
	require.NoError(t, err)
	both := filepath.Join(t.TempDir(), "both.pem")
	require.NoError(t, os.WriteFile(both, append(issued.KeyPEM(), issued.ChainPEM()...), 0o600))
	device := func(args ...string) []string {
		return append([]string{"--admin", admin, "device", "mindsphere", "--count", "2", "--interval", "1ms"}, args...)
	}
	for name, tc := range map[string]struct {
		args   []string
		device string
	}{
		"no flags": {nil, "demo_demo-device-1"},
		"v3":       {[]string{"--id", "pump-3", "--model", "v3", "--message", "{n}.5"}, "demo_pump-3"},
		"by host":  {[]string{"--host", "mindconnectmqtt.eu1.mindsphere.io", "--tenant", "demo", "--cert", both}, "demo_demo_pump"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, out, errOut := testApp(t)
			require.Equal(t, 0, a.run(t.Context(), device(tc.args...)), errOut)
			require.Empty(t, errOut.String())
			require.Contains(t, out.String(), "(eu1 drops connections without a word while it provisions a new agent)")
			require.Contains(t, out.String(), "client id "+tc.device+", no user name, no password")
			events, err := cloud.Await(t.Context(), fakecloud.Filter{Platform: "mindsphere", Kind: "telemetry", Device: tc.device}, 2)
			require.NoError(t, err)
			require.Equal(t, map[string]string{"stored": "1", "lost": "0"}, events[1].Properties)
		})
	}
	t.Run("eu2", func(t *testing.T) {
		t.Parallel()
		a, out, errOut := testApp(t)
		require.Equal(t, 0, a.run(t.Context(), device("--region", "eu2", "--id", "pump-2")), errOut)
		require.Contains(t, out.String(), "PUBLISH    devices/demo2_pump-2/messages/events/mc_v3=ts")
		_, err := cloud.Await(t.Context(), fakecloud.Filter{Platform: "mindsphere", Kind: "telemetry", Device: "demo2_pump-2",
			Match: func(e *fakecloud.Event) bool { return e.Properties["stored"] == "1" }}, 2)
		require.NoError(t, err)
	})
	t.Run("private cloud", func(t *testing.T) {
		t.Parallel()
		a, out, errOut := testApp(t)
		require.Equal(t, 0, a.run(t.Context(), device("--region", "private", "--tenant", "plant", "--id", "pump-4")), errOut)
		require.Contains(t, out.String(), "client id plant_pump-4, user name _CertificateBearer, with a signed token as password")
		_, err := cloud.Await(t.Context(), fakecloud.Filter{Platform: "mindsphere", Kind: "telemetry", Device: "plant_pump-4"}, 2)
		require.NoError(t, err)
	})
	t.Run("another tenant", func(t *testing.T) {
		t.Parallel()
		a, _, errOut := testApp(t)
		require.Equal(t, 1, a.run(t.Context(), device("--tenant", "other", "--timeout", "5s")))
		require.Contains(t, errOut.String(), "closed the connection without a CONNACK")
	})
}

func TestDeviceMindSphereUsage(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"--region is one of":              {"--region", "eu3"},
		"--model is one of":               {"--model", "v5"},
		"--id-scope is for region eu2":    {"--id-scope", "0ne"},
		"--host needs --tenant":           {"--host", "h"},
		"needs --id-scope":                {"--host", "h", "--tenant", "t", "--region", "eu2"},
		"--host needs --cert":             {"--host", "h", "--tenant", "t"},
		"--key-file needs --cert":         {"--key-file", "k"},
		"--interval must not be":          {"--interval", "-1s"},
		"--cert: /nowhere/x.pem does not": {"--host", "h", "--tenant", "t", "--cert", "/nowhere/x.pem"},
		"did you mean mindsphere":         nil,
	} {
		line := append([]string{"device", "mindsphere"}, args...)
		if args == nil {
			line = []string{"device", "mindspher"}
		}
		a, _, errOut := testApp(t)
		require.Equal(t, 2, a.run(t.Context(), line), want)
		require.Contains(t, errOut.String(), want)
	}
}
