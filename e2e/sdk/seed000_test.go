//go:build vendor

package sdk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// "Onboarding MindConnect MQTT Agent", region eu1, from its first line to its last: the Linux commands as printed.
//
// Mends, here and for eu2: the placeholders are filled; the page's space before = in three exports
// ("export COUNTRY_CODE =…"), which a shell refuses, is removed; the numbers and blank lines between the commands
// are left out; the mosquitto_sub line, which the page breaks behind a backslash in its middle, is joined; and the
// two variables that this line uses and the page does not set are set.
const seed000EU1 = `set -e
export TENANT=demo
export DEVICE_NAME=pump
export COUNTRY_CODE=DE
export CITY=Munich
export ORGANIZATION=Example
openssl genrsa -out $DEVICE_NAME.key 2048
openssl req -new -key $DEVICE_NAME.key -out $DEVICE_NAME.csr -subj "/C=$COUNTRY_CODE/ST=$CITY/O=$ORGANIZATION/OU=IT/CN=$DEVICE_NAME"
openssl x509 -req -in $DEVICE_NAME.csr -CA "$TENANT.pem" -CAkey "$TENANT.key" -CAcreateserial -out $DEVICE_NAME.pem -days 365 -sha256
cat $DEVICE_NAME.pem "$TENANT.pem" > "$DEVICE_NAME"_chain.pem
openssl x509 -in "$DEVICE_NAME"_chain.pem -text -noout
`

// seed000Sub is the page's last command, as it stands there.
const seed000Sub = `export TENANT=demo DEVICE_NAME=pump MqttBrokerHost=mindconnectmqtt.eu1.mindsphere.io CLIENT_ID=demo_pump
exec mosquitto_sub --cafile AmazonRootCA1.pem --key "$DEVICE_NAME".key --cert "$DEVICE_NAME".pem -h "$MqttBrokerHost" -p 8883 -t tc/"$TENANT"/"$CLIENT_ID"/i/amo_v3/ms -i $CLIENT_ID -v -d
`

// tenantFiles are what the page takes for given: the tenant's CA, and the broker's root.
func tenantFiles(t *testing.T, cloud *fakecloud.Cloud, dir, tenant string) {
	t.Helper()
	certificate, key := cloud.DemoCA()
	writeTo(t, dir, tenant+".pem", certificate)
	writeTo(t, dir, tenant+".key", key)
	writeTo(t, dir, "AmazonRootCA1.pem", cloud.RootsPEM())
}

// The mosquitto_sub line retries by itself: it is dropped until the agent is provisioned, and then stays.
func TestSeed000EU1(t *testing.T) {
	cloud := real(t)
	dir := t.TempDir()
	tenantFiles(t, cloud, dir, "demo")
	text, code := shell(t, dir, seed000EU1)
	require.Zero(t, code)
	require.Contains(t, text, "CN = pump")

	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	sub := exec.CommandContext(ctx, "stdbuf", "-oL", "bash", "-c", seed000Sub) // what it prints must not wait in a buffer
	var out bytes.Buffer
	sub.Dir = dir
	printed, err := sub.StdoutPipe()
	require.NoError(t, err)
	sub.Stderr = sub.Stdout
	require.NoError(t, sub.Start())
	lines := bufio.NewScanner(io.TeeReader(printed, &out))
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Subscribed") {
	}
	await(t, cloud, fakecloud.Filter{Platform: "mindsphere", Kind: "suback", Device: "demo_pump"})
	drops := cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "refused", Device: "demo_pump"})
	require.NotEmpty(t, drops, "dropped while it was provisioned")
	require.EqualValues(t, "MS-1/first", drops[0].Rule)
	require.NoError(t, cloud.Advance(time.Minute)) // it stays
	require.Len(t, cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "connack", Device: "demo_pump"}), 1)
	require.Empty(t, cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "closed", Device: "demo_pump", Since: drops[len(drops)-1].Seq}))
	require.NoError(t, sub.Process.Signal(syscall.SIGTERM), "it is still running")
	_ = sub.Wait() // its exit code says nothing more
	t.Logf("$ %s%s", seed000Sub, out.String())
	require.Equal(t, len(drops)+1, strings.Count(out.String(), "sending CONNECT"))
	require.Equal(t, 1, strings.Count(out.String(), "received CONNACK (0)"))
	require.Contains(t, out.String(), "Subscribed (mid: 1): 0")
	rule.Proves(t, "MS-1", "MS-2", "MS-3", "MS-9", "MS-15")
}

// mosquitto_pub does not retry: it ends with 7, connection lost, and later with 0. On port 443 likewise, with ALPN.
func TestSeed000EU1Publish(t *testing.T) {
	for port, more := range map[string]string{"8883": "", "443": " --tls-alpn x-amzn-mqtt-ca"} {
		t.Run(port, func(t *testing.T) {
			cloud := real(t)
			dir := t.TempDir()
			tenantFiles(t, cloud, dir, "demo")
			_, code := shell(t, dir, seed000EU1)
			require.Zero(t, code)
			pub := `mosquitto_pub --cafile AmazonRootCA1.pem --key pump.key --cert pump_chain.pem -h mindconnectmqtt.eu1.mindsphere.io -p ` + port + more +
				` -i demo_pump -q 1 -t tc/demo/demo_pump/o/mc_v3/e -m '{"events":[{"timestamp":"2026-01-01T00:00:00.000Z","severity":"20","type":"Started"}]}'`
			out, code := shell(t, dir, pub)
			require.Equal(t, 7, code)
			require.Contains(t, out, "The connection was lost")
			_, code = shell(t, dir, pub)
			require.Equal(t, 7, code, "still being provisioned")
			require.NoError(t, cloud.Advance(4*time.Second))
			_, code = shell(t, dir, pub)
			require.Zero(t, code)
			require.Equal(t, "1", await(t, cloud, fakecloud.Filter{Platform: "mindsphere", Kind: "telemetry"})[0].Properties["events"])
			rule.Proves(t, "MS-1", "MS-2", "MS-3", "MS-8")
		})
	}
}

// What the Windows commands make of a name that was set in quotes: the journal names them.
func TestSeed000Quotes(t *testing.T) {
	cloud := real(t)
	dir := t.TempDir()
	tenantFiles(t, cloud, dir, "demo")
	_, code := shell(t, dir, strings.Replace(seed000EU1, "DEVICE_NAME=pump", `DEVICE_NAME='"pump"'`, 1))
	require.Zero(t, code)
	_, code = shell(t, dir, `mosquitto_pub --cafile AmazonRootCA1.pem --key '"pump".key' --cert '"pump"_chain.pem' -h mindconnectmqtt.eu1.mindsphere.io -p 8883 -i demo_pump -q 1 -t tc/demo/demo_pump/o/agm_v3/t -m '{"id":"1"}'`)
	require.Equal(t, 7, code)
	e := await(t, cloud, fakecloud.Filter{Rule: "MS-5/quotes"})[0]
	require.Contains(t, e.Expected, `CN="pump"`)
	rule.Proves(t, "MS-5/quotes")
}

// The eu2 part: its Linux commands as printed, then the MQTT steps that it describes, and the applications.
const seed000EU2 = `set -e
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
	tenantFiles(t, cloud, dir, "demo2")
	text, code := shell(t, dir, seed000EU2)
	require.Zero(t, code)
	require.Contains(t, text, "CN = demo2_MqttTestAgent")

	// mosquitto's clients cannot publish and subscribe on one connection, which DPS needs; Paho can.
	const files = `--cafile AmazonRootCA1.pem --cert MqttTestAgent_chain.pem --key MqttTestAgent.key -p 8883 -V mqttv311 -i demo2_MqttTestAgent `
	_, code = shell(t, dir, `mosquitto_sub `+files+`-h global.azure-devices-provisioning.net `+
		`-u '0ne00FAKE02/registrations/demo2_MqttTestAgent/api-version=2019-03-31' -P '' -q 1 -t '$dps/registrations/res/#' -E`)
	require.Zero(t, code, "mosquitto connects and subscribes")
	rule.Proves(t, "MS-11")
	program, err := filepath.Abs("python/dps_register.py")
	require.NoError(t, err)
	out, code := shell(t, dir, strings.Join([]string{python(), program, "global.azure-devices-provisioning.net",
		"0ne00FAKE02", "demo2_MqttTestAgent", "AmazonRootCA1.pem", "MqttTestAgent_chain.pem", "MqttTestAgent.key"}, " "))
	require.Zero(t, code)
	answers := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, answers, 3)
	for i, want := range []string{`$dps/registrations/res/202/?$rid=1&retry-after=3`, `$dps/registrations/res/202/?$rid=2&retry-after=3`, `$dps/registrations/res/200/?$rid=3`} {
		require.Equal(t, want, strings.Fields(answers[i])[0])
	}
	var answer registration
	_, payload, _ := strings.Cut(answers[2], " ")
	require.NoError(t, json.Unmarshal([]byte(payload), &answer))
	require.Equal(t, []string{"assigned", "conn-demo2-iothub.azure-devices.net", "demo2_MqttTestAgent", "TenantEnrollmentGroup-TenantCACertificate-demo2"},
		[]string{answer.Status, answer.State.AssignedHub, answer.State.DeviceID, answer.State.X509.Group})
	rule.Proves(t, "MS-12")

	const hub = files + `-h conn-demo2-iothub.azure-devices.net -u 'conn-demo2-iothub.azure-devices.net/demo2_MqttTestAgent/?api-version=2018-06-30' -P '' -q 1 `
	writeTo(t, dir, "model.json", []byte(strings.ReplaceAll(readFile(t, "../../emulators/mindsphere/testdata/model-v4.json"), "camexia.", "demo2.")))
	_, code = shell(t, dir, `mosquitto_pub `+hub+`-t 'devices/demo2_MqttTestAgent/messages/events/amo_v4=mi' -f model.json`)
	require.Zero(t, code)
	rule.Proves(t, "MS-13")
	out, code = shell(t, dir, `mosquitto_sub `+hub+`-t 'devices/demo2_MqttTestAgent/messages/devicebound/#' -C 3 -W 20 -F '%t %p'`)
	require.Zero(t, code)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 3)
	require.True(t, strings.HasPrefix(lines[2], "devices/demo2_MqttTestAgent/messages/devicebound/%24.to=%2Fdevices%2Fdemo2_MqttTestAgent%2Fmessages%2FdeviceBound&amo_v4=mip "), lines[2])
	require.Contains(t, lines[2], `"status":"Success"`)
	_, code = shell(t, dir, `mosquitto_pub `+hub+`-t 'devices/demo2_MqttTestAgent/messages/events/mc_v3=ts' -m '{"timeseries":[{"timestamp":"2026-01-01T00:00:00.000Z","values":[{"dataPointId":"rpm","value":"7"}]}]}'`)
	require.Zero(t, code)
	require.Equal(t, "1", await(t, cloud, fakecloud.Filter{Platform: "mindsphere", Kind: "telemetry", Device: "demo2_MqttTestAgent"})[0].Properties["stored"])
	rule.Proves(t, "MS-31")
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}
