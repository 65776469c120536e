//go:build vendor

package sdk

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
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

// The eu2 part of "Onboarding MindConnect MQTT Agent": its Linux commands as printed, then the MQTT steps
// that it describes.
//
// Mends: the placeholders are filled; the page's space before = in three exports
// ("export COUNTRY_CODE =…") is removed, because a shell refuses it.
const seed000Commands = `set -e
export TENANT=demo2
export DEVICE_NAME=MqttTestAgent
export COUNTRY_CODE=DE
export CITY=Munich
export ORGANIZATION=Example
export CLIENT_ID="$TENANT"_"$DEVICE_NAME"
openssl genrsa -out $DEVICE_NAME.key 2048
openssl req -new -key $DEVICE_NAME.key -out $DEVICE_NAME.csr -subj "/C=$COUNTRY_CODE/ST=$CITY/O=$ORGANIZATION/OU=IT/CN=$CLIENT_ID"
openssl x509 -req -in $DEVICE_NAME.csr -CA "$TENANT.pem" -CAkey "$TENANT.key" -CAcreateserial -out $DEVICE_NAME.pem -days 365 -sha256
cat $DEVICE_NAME.pem "$TENANT.pem" > "$DEVICE_NAME"_chain.pem
openssl x509 -in "$DEVICE_NAME"_chain.pem -text -noout
`

func TestSeed000EU2(t *testing.T) {
	cloud := real(t)
	dir := t.TempDir()
	certificate, key := cloud.DemoCA()
	writeTo(t, dir, "demo2.pem", certificate)
	writeTo(t, dir, "demo2.key", key)
	writeTo(t, dir, "root.pem", cloud.RootsPEM())
	text, code := shell(t, dir, seed000Commands)
	require.Zero(t, code)
	require.Contains(t, text, "CN = demo2_MqttTestAgent")

	// mosquitto's clients cannot publish and subscribe on one connection, which DPS needs; Paho can.
	mosquittoSub := `mosquitto_sub --cafile root.pem --cert MqttTestAgent_chain.pem --key MqttTestAgent.key -h global.azure-devices-provisioning.net -p 8883 -V mqttv311 -i demo2_MqttTestAgent ` +
		`-u '0ne00FAKE02/registrations/demo2_MqttTestAgent/api-version=2019-03-31' -P '' -q 1 -t '$dps/registrations/res/#' -E`
	_, code = shell(t, dir, mosquittoSub)
	require.Zero(t, code, "mosquitto connects and subscribes")
	program, err := filepath.Abs("python/dps_register.py")
	require.NoError(t, err)
	out, code := shell(t, dir, strings.Join([]string{python(), program, "global.azure-devices-provisioning.net",
		"0ne00FAKE02", "demo2_MqttTestAgent", "root.pem", "MqttTestAgent_chain.pem", "MqttTestAgent.key"}, " "))
	require.Zero(t, code)
	answers := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, answers, 3)
	for i, want := range []string{`$dps/registrations/res/202/?$rid=1&retry-after=3`, `$dps/registrations/res/202/?$rid=2&retry-after=3`, `$dps/registrations/res/200/?$rid=3`} {
		require.Equal(t, want, strings.Fields(answers[i])[0])
	}
	var answer registration
	_, payload, _ := strings.Cut(answers[2], " ")
	require.NoError(t, json.Unmarshal([]byte(payload), &answer))
	require.Equal(t, "assigned", answer.Status)
	require.Equal(t, "conn-demo2-iothub.azure-devices.net", answer.State.AssignedHub)
	require.Equal(t, "demo2_MqttTestAgent", answer.State.DeviceID)
	require.Equal(t, "TenantEnrollmentGroup-TenantCACertificate-demo2", answer.State.X509.Group)

	_, code = shell(t, dir, `mosquitto_pub --cafile root.pem --cert MqttTestAgent_chain.pem --key MqttTestAgent.key -h conn-demo2-iothub.azure-devices.net -p 8883 -V mqttv311 -q 1 `+
		`-i demo2_MqttTestAgent -u 'conn-demo2-iothub.azure-devices.net/demo2_MqttTestAgent/?api-version=2018-06-30' -P '' -t 'devices/demo2_MqttTestAgent/messages/events/' -m hello`)
	require.Zero(t, code)
	events := await(t, cloud, fakecloud.Filter{Kind: "telemetry", Device: "demo2_MqttTestAgent"})
	require.Equal(t, "hello", string(events[0].Payload))
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

// The eu1 part of the onboarding page: its Linux commands as printed, then its mosquitto_sub line, which is
// dropped until the agent is provisioned and then stays; mosquitto_pub ends with code 7 first, then with 0.
//
// Mends: as in the eu2 part; the page breaks the mosquitto_sub line with a backslash in its middle, which
// is joined.
func TestSeed000EU1(t *testing.T) {
	cloud := real(t)
	dir := t.TempDir()
	certificate, key := cloud.DemoCA()
	writeTo(t, dir, "demo.pem", certificate)
	writeTo(t, dir, "demo.key", key)
	writeTo(t, dir, "AmazonRootCA1.pem", cloud.RootsPEM())
	const exports = `export TENANT=demo DEVICE_NAME=pump MqttBrokerHost=mindconnectmqtt.eu1.mindsphere.io CLIENT_ID=demo_pump
export COUNTRY_CODE=DE CITY=Munich ORGANIZATION=Example
`
	_, code := shell(t, dir, exports+`set -e
openssl genrsa -out $DEVICE_NAME.key 2048
openssl req -new -key $DEVICE_NAME.key -out $DEVICE_NAME.csr -subj "/C=$COUNTRY_CODE/ST=$CITY/O=$ORGANIZATION/OU=IT/CN=$DEVICE_NAME"
openssl x509 -req -in $DEVICE_NAME.csr -CA "$TENANT.pem" -CAkey "$TENANT.key" -CAcreateserial -out $DEVICE_NAME.pem -days 365 -sha256
cat $DEVICE_NAME.pem "$TENANT.pem" > "$DEVICE_NAME"_chain.pem
`)
	require.Zero(t, code)

	const pub = exports + `mosquitto_pub --cafile AmazonRootCA1.pem --key "$DEVICE_NAME".key --cert "$DEVICE_NAME".pem -h "$MqttBrokerHost" -p 8883 -i $CLIENT_ID -q 1 -t tc/"$TENANT"/"$CLIENT_ID"/o/mc_v3/e -m '{}'`
	_, code = shell(t, dir, pub)
	require.Equal(t, 7, code, "connection lost: the agent is being provisioned")
	require.NoError(t, cloud.Advance(4*time.Second))
	_, code = shell(t, dir, pub)
	require.Zero(t, code)

	// The printed line retries by itself; a second agent shows the drop and then the subscription.
	_, code = shell(t, dir, exports+`
mosquitto_sub --cafile AmazonRootCA1.pem --key "$DEVICE_NAME".key --cert "$DEVICE_NAME".pem -h "$MqttBrokerHost" -p 8883 -t tc/"$TENANT"/"$CLIENT_ID"/i/amo_v3/ms -i $CLIENT_ID -v -d -W 2; test $? -eq 27`)
	require.Zero(t, code, "connected until its own time limit")
	require.NotEmpty(t, cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "suback"}))
}
