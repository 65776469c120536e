package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

func TestDeviceIoTDA(t *testing.T) {
	t.Parallel()
	cloud, admin := running(t, `iotda: {instances: [{name: fakecloud, devices: [
  {deviceId: demo_a, productId: demo, secret: "87654321"}, {deviceId: demo_b, productId: demo, secret: "87654321"},
  {deviceId: demo_c, productId: demo, authType: CERTIFICATES}]}]}`)
	issued, err := cloud.IssueDevice("c")
	require.NoError(t, err)
	dir := t.TempDir()
	both, ca := filepath.Join(dir, "both.pem"), filepath.Join(dir, "ca.pem")
	require.NoError(t, os.WriteFile(both, append(issued.KeyPEM(), issued.ChainPEM()...), 0o600))
	require.NoError(t, os.WriteFile(ca, cloud.RootsPEM(), 0o600))
	device := func(args ...string) []string {
		return append([]string{"--admin", admin, "device", "iotda", "--count", "2", "--interval", "1ms"}, args...)
	}
	for name, tc := range map[string]struct {
		args   []string
		device string
	}{
		"no flags":    {nil, demoNode},
		"plain":       {[]string{"--id", "demo_a", "--secret", "87654321", "--plain", "--sign", "1"}, "demo_a"},
		"certificate": {[]string{"--id", "demo_c", "--cert", both, "--host", "fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com"}, "demo_c"},
		"by address":  {[]string{"--host", "127.0.0.1", "--port", strconv.Itoa(cloud.Ports().MQTTS), "--ca", ca, "--id", "demo_b", "--secret", "87654321", "--message", `{"batteryLevel":{n}}`}, "demo_b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, out, errOut := testApp(t)
			require.Equal(t, 0, a.run(t.Context(), device(tc.args...)), errOut)
			require.Empty(t, errOut.String())
			require.Equal(t, 2, strings.Count(out.String(), "acknowledged after"))
			_, err := cloud.Await(t.Context(), fakecloud.Filter{Platform: "iotda", Kind: "property", Device: tc.device}, 2)
			require.NoError(t, err)
		})
	}
	t.Run("wrong secret", func(t *testing.T) {
		t.Parallel()
		a, _, errOut := testApp(t)
		require.Equal(t, 1, a.run(t.Context(), device("--id", "demo_a", "--secret", "nope5678")))
		require.Contains(t, errOut.String(), "return code 4")
		require.Contains(t, errOut.String(), "why: fakecloud explain --last")
	})
}

func TestDeviceIoTDAUsage(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"--sign is one of":                           {"--sign", "3"},
		"exclude each other":                         {"--secret", "x", "--cert", "y"},
		"--cert needs --id":                          {"--cert", "y"},
		"--plain has no certificates":                {"--cert", "y", "--id", "d", "--plain"},
		"--host needs --id":                          {"--host", "h"},
		"no credential for h":                        {"--host", "h", "--id", "d"},
		"--service is empty":                         {"--service", ""},
		"--message is no JSON object":                {"--message", "80" + "%"},
		`no JSON object such as {"batteryLevel":80}`: {"--message", "80"},
		"--port is":                                  {"--port", "-1"},
	} {
		a, _, errOut := testApp(t)
		require.Equal(t, 2, a.run(t.Context(), append([]string{"device", "iotda"}, args...)), want)
		require.Contains(t, errOut.String(), want)
	}
}

// Vector V2 of the sheet, in each form.
func TestClientID(t *testing.T) {
	t.Parallel()
	const device = "5e25cd2ea16ebc0a3f7b1f1c_dev01"
	const password = "2a6acdf8e766b25981f6cc109313db3dc99937bc50f4b966535703f20b5a19c1"
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("mySecret_0123\n"), 0o600))
	for want, args := range map[string][]string{
		"ClientId  " + device + "_0_0_2018072417\nUsername  " + device + "\nPassword  " + password + "\n": {device, "mySecret_0123", "--at", "2018-07-24T17:56:20Z"},
		"-i " + device + "_0_0_2018072417 -u " + device + " -P " + password + "\n":                        {device, "--secret-file", file, "--at", "2018072417", "--format", "mosquitto"},
		"-i " + device + "_0_1_2018072417 -u " + device + "\n":                                            {device, "--at", "2018072417", "--sign", "1", "--format", "mosquitto"},
		"{\n  \"clientId\": \"d_0_0_2018072417\",\n  \"password\": \"\",\n  \"username\": \"d\"\n}\n":     {"d", "--at", "2018072417", "--format", "json"},
		"ClientId  d_0_0_2018072417\nUsername  d\nPassword  (none: the certificate is the proof)\n":       {"d", "--at", "2018072417"},
	} {
		a, out, errOut := testApp(t)
		require.Equal(t, 0, a.run(t.Context(), append([]string{"iotda", "clientid"}, args...)), errOut)
		require.Equal(t, want, out.String())
	}
	a, out, _ := testApp(t)
	a.in = strings.NewReader("12345678")
	require.Equal(t, 0, a.run(t.Context(), []string{"iotda", "clientid", "d", "--sign", "2", "--secret-file", "-", "--at", "2025041401"}))
	require.Contains(t, out.String(), "a110c9e1536980a2ca572e7d5b82542a20a04e144937385f224d587fa1d0e862")
	for want, args := range map[string][]string{
		"clientid":              {},
		"did you mean clientid": {"clientd"},
		"iotda clientid wants":  {"clientid"},
		"--at is":               {"clientid", "d", "--at", "now"},
		"--sign is one of":      {"clientid", "d", "--sign", "x"},
		"--format is one of":    {"clientid", "d", "--format", "x"},
		"not both":              {"clientid", "d", "x", "--secret-file", "y"},
		"x does not exist":      {"clientid", "d", "--secret-file", "/nowhere/x"},
		"is empty":              {"clientid", "d", "--secret-file", os.DevNull},
		`device ID is "a b"`:    {"clientid", "a b"},
	} {
		a, _, errOut := testApp(t)
		require.Equal(t, 2, a.run(t.Context(), append([]string{"iotda"}, args...)), want)
		require.Contains(t, errOut.String(), want)
	}
}
