package e2e

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Usernames as the SDKs send them, after ID scope and registration id (fact sheet, section 1.2).
var usernameTails = map[string]string{
	"Python":     "api-version=2019-03-31&ClientVersion=azure-iot-device-provisioning-py%2F2.14.0%283.10.6%3BLinux%20%231%20SMP%3Bx86_64%29",
	"Node":       "api-version=2019-03-31&ClientVersion=azure-iot-provisioning-device%2F1.9.5",
	"C#":         "api-version=2019-03-31&ClientVersion=Microsoft.Azure.Devices.Provisioning.Client%2F1.19.2%20%28.NET%208.0.4%3B%20Ubuntu%20%3B%20X64%29",
	"Java":       "api-version=2019-03-31&ClientVersion=2019-03-31",
	"C":          "api-version=2021-06-01&ClientVersion=1.15.0",
	"MindSphere": "api-version=2019-03-31",
	"unescaped":  "api-version=2019-03-31&ClientVersion=my client/1.0 (üÄ; x)",
	"preview":    "api-version=2025-07-01-preview",
}

func TestDPSConnectIsAccepted(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	for name, tail := range usernameTails {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, keep := range []bool{false, true} { // a session is never present, asked for or not
				id := "dev-" + strings.ReplaceAll(strings.ToLower(name), "#", "-sharp")
				c := dial(t, cloud, via{name: globalDPS, cert: device(t, cloud, id)})
				send(t, c, rawmqtt.Connect{ClientID: id, Keep: keep, Username: ptr(idScope + "/registrations/" + id + "/" + tail)}.Bytes())
				wantConnack(t, c, 0)
				wantAlive(t, c)
				send(t, c, []byte{0xe0, 0x00})
				wantClosed(t, c)
			}
			rule.Proves(t, "DPS-1", "DPS-2")
		})
	}
}

func TestDPSConnectTakesAWill(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	packet := enrollee{id: "with-will", token: ptr("")}.connect()
	packet.Will = &rawmqtt.Will{Topic: "anything", Payload: "gone", QoS: 1}
	c := dial(t, cloud, via{name: "global.azure-devices-provisioning.cn", cert: device(t, cloud, "with-will")})
	send(t, c, packet.Bytes())
	wantConnack(t, c, 0)
	wantAlive(t, c)
}

func TestDPSConnectIsRefused(t *testing.T) {
	t.Parallel()
	const good = idScope + "/registrations/dev-1/api-version=2019-03-31"
	for name, row := range map[string]struct {
		packet rawmqtt.Connect
		code   byte
		rule   rule.ID
	}{
		"no username":       {rawmqtt.Connect{ClientID: "dev-1", Password: nil}, 4, "DPS-3/username"},
		"hub's username":    {rawmqtt.Connect{ClientID: "dev-1", Username: ptr("fakecloud-hub.azure-devices.net/dev-1/?api-version=2021-04-12")}, 4, "DPS-3/username"},
		"registration":      {rawmqtt.Connect{ClientID: "dev-1", Username: ptr(idScope + "/registration/dev-1/api-version=2019-03-31")}, 4, "DPS-3/username"},
		"question mark":     {rawmqtt.Connect{ClientID: "dev-1", Username: ptr(idScope + "/registrations/dev-1/?api-version=2019-03-31")}, 4, "DPS-3/question-mark"},
		"no api-version":    {rawmqtt.Connect{ClientID: "dev-1", Username: ptr(idScope + "/registrations/dev-1/ClientVersion=1")}, 4, "DPS-3/api-version"},
		"wrong api-version": {rawmqtt.Connect{ClientID: "dev-1", Username: ptr(idScope + "/registrations/dev-1/api-version=2016-11-14")}, 4, "DPS-3/api-version"},
		"bad id":            {rawmqtt.Connect{ClientID: "dev.", Username: ptr(idScope + "/registrations/dev./api-version=2019-03-31")}, 4, "DPS-3/registration-id"},
		"long id":           {rawmqtt.Connect{ClientID: "dev-1", Username: ptr(idScope + "/registrations/" + strings.Repeat("a", 129) + "/api-version=2019-03-31")}, 4, "DPS-3/registration-id"},
		"another client id": {rawmqtt.Connect{ClientID: "dev-2", Username: ptr(good)}, 2, "DPS-4/client-id"},
		"no client id":      {rawmqtt.Connect{Username: ptr(good)}, 2, "DPS-4/client-id"},
		"MQTT 3.1":          {rawmqtt.Connect{Protocol: "MQIsdp", Level: 3, ClientID: "dev-1", Username: ptr(good)}, 1, "DPS-1/level"},
		"level 6":           {rawmqtt.Connect{Level: 6, ClientID: "dev-1", Username: ptr(good)}, 1, "DPS-1/level"},
		"no credential":     {rawmqtt.Connect{ClientID: "dev-1", Username: ptr(good)}, 5, "DPS-1/credential"},
		"an empty password": {rawmqtt.Connect{ClientID: "dev-1", Username: ptr(good), Password: ptr("")}, 5, "DPS-1/credential"},
		"MQTT 5":            {rawmqtt.Connect{Level: 5, ClientID: "dev-1", Username: ptr(good)}, 1, "DPS-1/level"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			v := via{name: globalDPS}
			if row.rule != "DPS-1/credential" {
				v.cert = device(t, cloud, "dev-1")
			}
			c := dial(t, cloud, v)
			// What follows the CONNECT in the same write must not be served.
			send(t, c, append(row.packet.Bytes(), rawmqtt.Publish("$dps/registrations/PUT/iotdps-register/?$rid=1", "", 1, 1, false)...))
			wantConnack(t, c, row.code)
			wantClosed(t, c)
			refused(t, cloud, row.rule)
			require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "provisioned"}))
		})
	}
}

func TestDPSBrokenPacketsClose(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	bystander := enrollee{id: "bystander", token: ptr("SharedAccessSignature sr=x&sig=x&se=1")}.open(t, cloud)
	for name, row := range map[string]struct {
		bytes []byte
		rule  rule.ID
	}{
		"second CONNECT":   {enrollee{id: "twice", token: ptr("x")}.connect().Bytes(), "DPS-1/first"},
		"SUBSCRIBE flags":  {[]byte{0x80, 0x06, 0x00, 0x02, 0x00, 0x01, 'a', 0x00}, "DPS-1/malformed"},
		"reserved type 0":  {[]byte{0x00, 0x00}, "DPS-1/malformed"},
		"QoS 3":            {[]byte{0x36, 0x05, 0x00, 0x01, 'a', 0x00, 0x01}, "DPS-1/malformed"},
		"endless length":   {[]byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x7f}, "DPS-1/malformed"},
		"topic of bad UTF": {[]byte{0x30, 0x03, 0x00, 0x01, 0xff}, "DPS-1/malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			c := enrollee{id: "twice", token: ptr("x")}.open(t, cloud)
			send(t, c, row.bytes)
			wantClosed(t, c)
			refused(t, cloud, row.rule)
		})
	}
	wantAlive(t, bystander)
}

func TestDPSClosesASilentDevice(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	packet := enrollee{id: "silent", token: ptr("x")}.connect()
	packet.KeepAlive = 1
	c := dial(t, cloud, via{name: globalDPS})
	start := time.Now() // before the last packet that the server hears
	send(t, c, packet.Bytes())
	wantConnack(t, c, 0)
	wantClosed(t, c)
	require.Greater(t, time.Since(start), 1400*time.Millisecond, "1.5 times the keep alive")
	refused(t, cloud, "DPS-1/keep-alive")
}

func TestDPSWithoutTLS(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := rawmqtt.New(tcp(t, "127.0.0.1", cloud.Ports().MQTTS))
	send(t, c, enrollee{id: "plain", token: ptr("x")}.connect().Bytes())
	wantClosed(t, c)
	refused(t, cloud, "TLS-4/mqtt")
	rule.Proves(t, "DPS-5")

	// The port without TLS is not for DPS either.
	c = rawmqtt.New(tcp(t, "127.0.0.1", cloud.Ports().MQTT))
	send(t, c, enrollee{id: "plain", token: ptr("x")}.connect().Bytes())
	wantConnack(t, c, 5)
	wantClosed(t, c)
	refused(t, cloud, "DOOR-1/port")
	client := tls.Client(tcp(t, "127.0.0.1", cloud.Ports().MQTT), clientTLS(t, cloud, "127.0.0.1", via{}))
	require.Error(t, client.Handshake())
	refused(t, cloud, "TLS-9/plain")
}
