//go:build vendor

package sdk

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

// shell runs a script in dir with bash and returns what it printed.
func shell(t *testing.T, dir, script string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, ctx.Err(), "the script hangs: %s", out)
	if _, failed := err.(*exec.ExitError); !failed {
		require.NoError(t, err)
	}
	t.Logf("$ %s\n%s", strings.TrimSpace(script), out)
	return string(out), cmd.ProcessState.ExitCode()
}

type registration struct {
	OperationID string
	Status      string
	State       struct {
		AssignedHub string
		DeviceID    string
		X509        struct {
			Group string `json:"enrollmentGroupId"`
		}
	} `json:"registrationState"`
}

func await(t *testing.T, cloud *fakecloud.Cloud, f fakecloud.Filter) []fakecloud.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	events, err := cloud.Await(ctx, f, 1)
	require.NoError(t, err)
	return events
}

// "eWON Flexy to Microsoft Azure (self-signed certificate authentication)": the openssl command as
// printed, the thumbprint registered, then the script's MQTT parameters with mosquitto.
//
// Mends: the command names an openssl.cnf that the page offers for download; a minimal one stands in
// for it here. The names to replace are replaced as the page says.
func TestSeed003Flexy(t *testing.T) {
	cloud := real(t)
	dir := t.TempDir()
	writeTo(t, dir, "root.pem", cloud.RootsPEM())
	writeTo(t, dir, "openssl.cnf", []byte("[req]\nprompt=no\ndistinguished_name=dn\n[dn]\nC=BE\nO=Example\nCN=Flexy\n"))
	_, code := shell(t, dir, `openssl req -x509 -sha256 -nodes -days 3650 -newkey rsa:2048 -keyout Flexy205Self.key -out Flexy205Self.crt -config openssl.cnf`)
	require.Zero(t, code)
	thumbprint, code := shell(t, dir, `openssl x509 -in Flexy205Self.crt -noout -fingerprint -sha1 | cut -d= -f2 | tr -d ':\n'`)
	require.Zero(t, code)

	publish := `mosquitto_pub --cafile root.pem --cert Flexy205Self.crt --key Flexy205Self.key -h eWONPROJECT.azure-devices.net -p 8883 --tls-version tlsv1.2 -V mqttv311 -k 20 ` +
		`-i Flexy205Self -u 'eWONPROJECT.azure-devices.net/Flexy205Self/api-version=2016-11-14' -P 'HostName=eWONPROJECT;DeviceID=Flexy205Self;x509=true' ` +
		`-q 0 -t 'devices/Flexy205Self/messages/events/' -m '{"Tag1":"1","time": "2026-01-31 12:00:00"}'`
	out, code := shell(t, dir, publish)
	require.NotZero(t, code, "the hub does not exist yet")
	require.Contains(t, out, "not authorised")
	require.NotEmpty(t, cloud.Events(fakecloud.Filter{Kind: "refused"}))

	require.NoError(t, cloud.PatchWorld(t.Context(), `
azure:
  hubs:
    - name: eWONPROJECT
      devices:
        - deviceId: Flexy205Self
          authentication:
            type: selfSigned
            x509Thumbprint: {primaryThumbprint: `+thumbprint+`}
`))
	_, code = shell(t, dir, publish)
	require.Zero(t, code)
	events := await(t, cloud, fakecloud.Filter{Kind: "telemetry", Device: "Flexy205Self"})
	require.JSONEq(t, `{"Tag1":"1","time":"2026-01-31 12:00:00"}`, string(events[0].Payload))
}
