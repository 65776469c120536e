package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEnvPython(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	out, stderr, code := s.command("env", "--for", "python")
	require.Zero(t, code, stderr)
	require.Empty(t, stderr)
	root := filepath.Join(s.data, "pki", "root.pem")
	for _, line := range []string{
		"export SSL_CERT_FILE=" + root,
		"export PROVISIONING_HOST=127.0.0.1",
		"export PROVISIONING_IDSCOPE=0ne00FAKE01",
		"export PROVISIONING_REGISTRATION_ID=device-001",
		"export PROVISIONING_SYMMETRIC_KEY=d+XLGuS2T7b8v7TXsSf+PtIWVOUvarQCXwIBe1g9yNU=",
		"export IOTHUB_DEVICE_CONNECTION_STRING='HostName=fakecloud-hub.azure-devices.net;DeviceId=demo-sas;SharedAccessKey=" + testKey + ";GatewayHostName=127.0.0.1'",
		"export IOTHUB_CONNECTION_STRING='HostName=fakecloud-hub.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=" +
			s.hub("fakecloud-hub").Policies[0].PrimaryKey + "'",
		"export PROVISIONING_CONNECTION_STRING='HostName=fakecloud-dps.azure-devices-provisioning.net;SharedAccessKeyName=provisioningserviceowner;" +
			"SharedAccessKey=ZmFrZWNsb3VkLXRlc3Qta2V5LXByb3Zpc2lvbmluZ3NlcnZpY2Vvd25lci0x'",
	} {
		require.Contains(t, out, line+"\n")
	}

	out, stderr, code = s.command("env", "--for", "python", "--vendor-names")
	require.Zero(t, code)
	require.Contains(t, out, "PROVISIONING_HOST="+globalDPSHost+"\n")
	require.NotContains(t, out, "GatewayHostName")
	require.Contains(t, stderr, "fakecloud hosts")
}

func TestEnvOfEveryTarget(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for target, part := range map[string]string{
		"node": "export NODE_EXTRA_CA_CERTS=", "java": "export JAVA_TOOL_OPTIONS='-Djavax.net.ssl.trustStore=", "dotnet": "export DPS_GLOBALDEVICEENDPOINT=127.0.0.1",
		"c": "export IOTHUB_DEVICE_DPS_ID_SCOPE=0ne00FAKE01", "az": "export REQUESTS_CA_BUNDLE=",
		"mosquitto": "\nmosquitto_pub -V mqttv311", "github": "NODE_EXTRA_CA_CERTS=", "csharp": "SSL_CERT_FILE=",
	} {
		out, stderr, code := s.command("env", "--for", target)
		require.Zero(t, code, stderr)
		require.Contains(t, out, part)
		require.Contains(t, out, "IOTHUB_DEVICE_CONNECTION_STRING=")
	}
	out, _, _ := s.command("env", "--for", "mosquitto")
	require.Contains(t, out, "-i demo_pump-7 -q 1 -t tc/demo/demo_pump-7/o/agm_v3/t")
	out, _, _ = s.command("env", "--for", "github")
	for line := range strings.Lines(out) {
		require.Regexp(t, `^[A-Z0-9_]+=.+\n$`, line, "GITHUB_ENV takes NAME=value alone")
	}
}

func TestEnvRefusals(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, c := range [][2]string{
		{"", "say for what: --for python, node, java"},
		{"cobol", "--for is one of python, node"},
	} {
		for _, verb := range []string{"env", "trust"} {
			_, stderr, code := s.command(verb, "--for", c[0])
			require.Equal(t, 2, code)
			require.Contains(t, stderr, c[1])
		}
	}
	_, stderr, code := s.command("env", "--for", "node", "--device", "gone")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "--device gone: no hub has it; add it with fakecloud add hub-device gone")
	_, stderr, code = command(t, "", "--admin", "http://127.0.0.1:1", "env", "--for", "node")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "no fakecloud answers at http://127.0.0.1:1")
}

func TestEnvSaysWhatItCannotMend(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.port = 50883
	require.NoError(t, os.Remove(filepath.Join(s.data, "pki", "root.pem")))
	_, stderr, code := s.command("env", "--for", "python")
	require.Zero(t, code)
	require.Contains(t, stderr, "MQTT over TLS is on 50883 here")
	require.Contains(t, stderr, "add --ca-file fakecloud-ca.pem to write it")

	name := filepath.Join(t.TempDir(), "root.pem")
	out, stderr, code := s.command("trust", "--for", "mosquitto", "--ca-file", name)
	require.Zero(t, code, stderr)
	require.Equal(t, "--cafile "+name+"\n", out)
	written, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, stageRoot, string(written))
}

func TestTrustLines(t *testing.T) {
	t.Parallel()
	for target, part := range map[string]string{
		"python":    "server_verification_cert=open(\"/my root.pem\").read()\n",
		"node":      "export NODE_EXTRA_CA_CERTS='/my root.pem'\n",
		"java":      "rm -f '/my root.p12'\nkeytool -importcert -noprompt -alias fakecloud -storetype PKCS12 -storepass changeit -file '/my root.pem' -keystore '/my root.p12'\n",
		"dotnet":    "certutil -addstore -user Root '/my root.pem'\n",
		"c":         "OPTION_TRUSTED_CERT, root);\n",
		"az":        "REQUESTS_CA_BUNDLE='/my root.pem'\n",
		"mosquitto": "--cafile '/my root.pem'\n",
		"github":    "update-ca-certificates\n",
		"huawei":    "config.ssl_ca_cert = \"/my root.pem\"\n",
	} {
		require.Contains(t, trustLines(target, "/my root.pem"), part)
	}
}
