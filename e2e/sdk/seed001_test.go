//go:build vendor

package sdk

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const (
	iotdaHost = "fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com"
	iotdaAPI  = "https://fakecloud.iotda.cn-north-4.myhuaweicloud.com/v5/iot/fa4ec10d0000000000000000000000f1"
)

// withIoTDA opens the plain MQTT port too.
func withIoTDA() fakecloud.Option {
	return fakecloud.WithPorts(fakecloud.Ports{MQTTS: 8883, MQTT: 1883, HTTPS: []int{443}, Edge: fakecloud.Off, Proxy: fakecloud.Off})
}

// console does by the API what the tutorial does in the console, with curl, and returns the answer.
func console(t *testing.T, dir, method, path, body string) map[string]any {
	t.Helper()
	writeTo(t, dir, "body.json", []byte(body))
	text, code := shell(t, dir, `curl -s --fail-with-body --cacert DigiCertGlobalRootCA.crt.pem -X `+method+` -H 'Content-Type: application/json' --data @body.json `+iotdaAPI+path)
	require.Zero(t, code, text)
	var answer map[string]any
	if text != "" {
		require.NoError(t, json.Unmarshal([]byte(text), &answer), text)
	}
	return answer
}

// jsonOf writes a value for a request.
func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

// "Connecting a Device That Uses the X.509 Certificate Based on MQTT.fx", from its first line to its last:
// the openssl commands as printed, with the page's examples typed at their prompts; what it does in the
// console by the API; what it does in MQTT.fx by mosquitto.
//
// Mends: the file of the page's download link is the server root here; the common name of the device
// certificate and the node id are filled in.
func TestSeed001(t *testing.T) {
	cloud := real(t, withIoTDA())
	dir := t.TempDir()
	writeTo(t, dir, "DigiCertGlobalRootCA.crt.pem", cloud.RootsPEM())

	// Creating a Product, Developing a Product Model.
	property := func(name, least, most, unit string) map[string]any {
		return map[string]any{"property_name": name, "data_type": "int", "method": "R", "min": least, "max": most, "step": 1, "unit": unit}
	}
	product := console(t, dir, "POST", "/products", jsonOf(t, map[string]any{"name": "X509_product", "device_type": "X509", "protocol_type": "MQTT", "data_format": "json", "industry": "default",
		"service_capabilities": []any{
			map[string]any{"service_id": "Connectivity", "service_type": "Connectivity", "description": "Connectivity", "properties": []any{property("dailyActivityTime", "0", "65535", "s")}},
			map[string]any{"service_id": "Battery", "service_type": "Battery", "description": "Battery", "properties": []any{property("batteryLevel", "0", "100", "%")}},
		}}))
	productID, ok := product["product_id"].(string)
	require.True(t, ok)

	// Making a Device CA Commissioning Certificate; Uploading a Device CA certificate.
	const subject = "CN\nGD\nSZ\nHuawei\nIoT\n"
	writeTo(t, dir, "ca.answers", []byte(subject+"zhangsan\n1234567@163.com\n"))
	_, code := shell(t, dir, `set -e
openssl genrsa -out rootCA.key 2048
openssl req -x509 -new -nodes -key rootCA.key -sha256 -days 1024 -out rootCA.pem < ca.answers
`)
	require.Zero(t, code)
	ca := console(t, dir, "POST", "/certificates", jsonOf(t, map[string]string{"content": read(t, dir, "rootCA.pem")}))
	require.Equal(t, false, ca["status"], "Unverified")
	certificateID, verificationCode := ca["certificate_id"].(string), ca["verify_code"].(string)

	// Uploading a Verification Certificate.
	writeTo(t, dir, "verification.answers", []byte(subject+verificationCode+"\n1234567@163.com\n1234321\nHuawei\n"))
	_, code = shell(t, dir, `set -e
openssl genrsa -out verificationCert.key 2048
openssl req -new -key verificationCert.key -out verificationCert.csr < verification.answers
openssl x509 -req -in verificationCert.csr -CA rootCA.pem -CAkey rootCA.key -CAcreateserial -out verificationCert.pem -days 500 -sha256
`)
	require.Zero(t, code)

	// Creating an X.509 Commissioning Certificate; its fingerprint, as the registration table says.
	writeTo(t, dir, "device.answers", []byte(subject+"fouquan1\n1234567@163.com\n1234321\nHuawei\n"))
	fingerprint, code := shell(t, dir, `set -e
openssl genrsa -out deviceCert.key 2048
openssl req -new -key deviceCert.key -out deviceCert.csr < device.answers >/dev/null 2>&1
openssl x509 -req -in deviceCert.csr -CA rootCA.pem -CAkey rootCA.key -CAcreateserial -out deviceCert.pem -days 500 -sha256 2>/dev/null
openssl x509 -fingerprint -sha256 -in deviceCert.pem | head -1
`)
	require.Zero(t, code)
	lines := strings.Split(strings.TrimSpace(fingerprint), "\n")
	_, withColons, found := strings.Cut(lines[len(lines)-1], "=")
	require.True(t, found)

	// Registering a Device: with the colons left in it is refused and named, without them it is registered.
	register := map[string]any{"node_id": "fouquan1", "device_name": "fouquan1", "product_id": productID,
		"auth_info": map[string]any{"auth_type": "CERTIFICATES", "fingerprint": withColons}}
	writeTo(t, dir, "colons.json", []byte(jsonOf(t, register)))
	text, code := shell(t, dir, `curl -s --cacert DigiCertGlobalRootCA.crt.pem -H 'Content-Type: application/json' --data @colons.json `+iotdaAPI+`/devices`)
	require.Zero(t, code)
	require.Contains(t, text, "IOTDA.000006")
	require.NotEmpty(t, await(t, cloud, fakecloud.Filter{Rule: "DA-18/colons"})[0].Fix)
	register["auth_info"] = map[string]any{"auth_type": "CERTIFICATES", "fingerprint": strings.ReplaceAll(withColons, ":", "")}
	registered := console(t, dir, "POST", "/devices", jsonOf(t, register))
	device := registered["device_id"].(string)
	require.Equal(t, productID+"_fouquan1", device)
	require.Equal(t, "INACTIVE", registered["status"])

	// Performing Connection Authentication: the generated client id, no password, the device's certificate.
	publish := `CLIENT_ID=` + device + `_0_0_$(date -u +%Y%m%d%H)
mosquitto_pub -h ` + iotdaHost + ` -p 8883 -V mqttv311 -k 60 -q 1 -i "$CLIENT_ID" -u ` + device + ` ` +
		`--cafile DigiCertGlobalRootCA.crt.pem --cert deviceCert.pem --key deviceCert.key ` +
		`-t '$oc/devices/` + device + `/sys/properties/report' -m "$(cat report.json)"`
	writeTo(t, dir, "report.json", []byte(`{
    "services": [{
            "service_id": "Connectivity",
            "properties": {
                "dailyActivityTime": 57
            },
            "event_time": "20151212T121212Z"
        },
        {
            "service_id": "Battery",
            "properties": {
                "batteryLevel": 80
            },
            "event_time": "20151212T121212Z"
        }
    ]
}`))
	_, code = shell(t, dir, publish)
	require.NotZero(t, code, "the CA is not verified yet")
	require.NotEmpty(t, await(t, cloud, fakecloud.Filter{Rule: "DA-15/unverified"})[0].Fix)
	console(t, dir, "POST", "/certificates/"+certificateID+"/action?action_id=verify", jsonOf(t, map[string]string{"verify_content": read(t, dir, "verificationCert.pem")}))
	require.Equal(t, true, console(t, dir, "GET", "/certificates/"+certificateID, "")["status"], "Verified")
	_, code = shell(t, dir, publish)
	require.Zero(t, code)
	rule.Proves(t, "DA-14")

	// Reporting Data: the reported property is seen on the platform.
	shadow := console(t, dir, "GET", "/devices/"+device+"/shadow", "")
	require.Contains(t, jsonOf(t, shadow), `"reported":{"event_time":"20151212T121212Z","properties":{"batteryLevel":80}}`)
	require.Contains(t, jsonOf(t, shadow), `"reported":{"event_time":"20151212T121212Z","properties":{"dailyActivityTime":57}}`)
	require.Equal(t, "OFFLINE", console(t, dir, "GET", "/devices/"+device, "")["status"], "it was online and has gone")
	rule.Proves(t, "DA-29")
}

// The client id generator's way for a device with a secret: mosquitto over TLS, without TLS and with MQTT 3.1
// and 5; a password with key and message swapped is named.
func TestSeed001Secret(t *testing.T) {
	cloud := real(t, withIoTDA())
	dir := t.TempDir()
	writeTo(t, dir, "root.pem", cloud.RootsPEM())
	const made = `STAMP=$(date -u +%Y%m%d%H)
PASSWORD=$(printf %s 12345678 | openssl dgst -sha256 -hmac $STAMP | sed 's/.*= //')
pub() { mosquitto_pub -k 120 -q 1 -i demo_node1_0_1_$STAMP -u demo_node1 -P "$PASSWORD" -t '$oc/devices/demo_node1/sys/properties/report' ` +
		`-m '{"services":[{"service_id":"Battery","properties":{"batteryLevel":80}}]}' "$@"; }
`
	_, code := shell(t, dir, made+`set -e
pub -h `+iotdaHost+` -p 8883 --cafile root.pem -V mqttv311
pub -h `+iotdaHost+` -p 8883 --cafile root.pem -V mqttv31
pub -h `+iotdaHost+` -p 8883 --cafile root.pem -V mqttv5
pub -h 127.0.0.1 -p 1883 -V mqttv311
`)
	require.Zero(t, code)
	rule.Proves(t, "DA-4")
	out, code := shell(t, dir, made+`PASSWORD=$(printf %s $STAMP | openssl dgst -sha256 -hmac 12345678 | sed 's/.*= //')
pub -h `+iotdaHost+` -p 8883 --cafile root.pem -V mqttv311`)
	require.NotZero(t, code)
	require.Contains(t, out, "bad user name or password")
	e := await(t, cloud, fakecloud.Filter{Rule: "DA-2/swapped"})[0]
	require.Contains(t, e.Detail, "key and message swapped")
	rule.Proves(t, "DA-2/swapped")
}

// read returns a file that a command has made.
func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return string(text)
}
