package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The hub of the fact sheet's vectors and the username that the documents print today.
const (
	contosoHost = "contoso.azure-devices.net"
	userDev01   = "contoso.azure-devices.net/dev-01/?api-version=2021-04-12"
	userModA    = "contoso.azure-devices.net/dev-01/mod-a/?api-version=2021-04-12"
)

// contoso is a world with that hub: demoKey is everybody's key.
const contoso = `
azure:
  hubs:
    - name: contoso
      policies:
        - {name: iothubowner, rights: [RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect], primaryKey: ` + demoKey + `}
        - {name: device, rights: [DeviceConnect], primaryKey: ` + demoKey + `}
        - {name: service, rights: [ServiceConnect], primaryKey: ` + demoKey + `}
      devices:
        - deviceId: dev-01
          authentication: {symmetricKey: {primaryKey: ` + demoKey + `, secondaryKey: ` + secondKey + `}}
          modules:
            - {moduleId: mod-a, authentication: {symmetricKey: {primaryKey: ` + demoKey + `}}}
            - {moduleId: mod-b, authentication: {symmetricKey: {primaryKey: ` + demoKey + `}}}
        - {deviceId: dev-0, authentication: {symmetricKey: {primaryKey: ` + demoKey + `}}}
        - {deviceId: dev-02, authentication: {symmetricKey: {primaryKey: ` + demoKey + `}}}
        - {deviceId: "Dev#01", authentication: {symmetricKey: {primaryKey: ` + demoKey + `}}}
        - {deviceId: "off", status: disabled, authentication: {symmetricKey: {primaryKey: ` + demoKey + `}}}
        - {deviceId: keyless, authentication: {type: none}}
`

// startContoso runs the default world with contoso and further documents over it.
func startContoso(t *testing.T, worlds ...string) *fakecloud.Cloud {
	t.Helper()
	options := []fakecloud.Option{fakecloud.WithWorld(contoso)}
	for _, w := range worlds {
		options = append(options, fakecloud.WithWorld(w))
	}
	return fakecloud.Start(t, options...)
}

// dev01 is the CONNECT of the sheet's HUB-1, modA that of HUB-17.
func dev01() rawmqtt.Connect {
	return rawmqtt.Connect{ClientID: "dev-01", Username: ptr(userDev01), Password: ptr(tokenV1)}
}

func modA() rawmqtt.Connect {
	return rawmqtt.Connect{ClientID: "dev-01/mod-a", Username: ptr(userModA), Password: ptr(tokenV3)}
}

// knock dials contoso by its name and sends a CONNECT.
func knock(t *testing.T, cloud *fakecloud.Cloud, c rawmqtt.Connect, certs ...tls.Certificate) *rawmqtt.Conn {
	t.Helper()
	v := via{name: contosoHost}
	if len(certs) > 0 {
		v.cert = &certs[0]
	}
	conn := dial(t, cloud, v)
	send(t, conn, c.Bytes())
	return conn
}

// signIn is knock and sees CONNACK 0.
func signIn(t *testing.T, cloud *fakecloud.Cloud, c rawmqtt.Connect, certs ...tls.Certificate) *rawmqtt.Conn {
	t.Helper()
	conn := knock(t, cloud, c, certs...)
	wantConnack(t, conn, 0)
	return conn
}

// say publishes with QoS 1 and sees the PUBACK; the message's packet id is 7.
func say(t *testing.T, c *rawmqtt.Conn, topic, payload string) {
	t.Helper()
	send(t, c, rawmqtt.Publish(topic, payload, 1, 7, false))
	wantBytes(t, c, 0x40, 0x02, 0x00, 0x07)
}

// The forms of a username that section 1.2 of the sheet lists, and what each proves.
func TestHubUsernames(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	for _, c := range []struct {
		name, username string
		proves         rule.ID
	}{
		{"documents of today", userDev01, "HUB-1"},
		{"documents of 2017", "contoso.azure-devices.net/dev-01/api-version=2016-11-14", "HUB-2"},
		{"eu2 agents", "contoso.azure-devices.net/dev-01/?api-version=2018-06-30", ""},
		{"no api-version", "contoso.azure-devices.net/dev-01", ""},
		{"old embedded C", "contoso.azure-devices.net/dev-01/?api-version=2018-06-30&c%2F1.0.0", ""},
		{"old C#", "contoso.azure-devices.net/dev-01/api-version=2017-06-30/DeviceClientType=Microsoft.Azure.Devices.Client", ""},
		{"Python", "contoso.azure-devices.net/dev-01/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0%283.11%3BLinux%29", ""},
		{"Node", "contoso.azure-devices.net/dev-01/?api-version=2021-04-12&model-id=dtmi:com:example:T;1&DeviceClientType=azure-iot-device%2F1.18.4%20(node%20v20)", ""},
		{"Java", "contoso.azure-devices.net/dev-01/?api-version=2020-09-30&DeviceClientType=com.microsoft.azure.sdk.iot.iot-device-client%2F2.5.0", ""},
		{"C#", "contoso.azure-devices.net/dev-01/?api-version=2020-09-30&DeviceClientType=.NET%2F1.42&auth-chain=edge;dev-01", ""},
		{"C", "contoso.azure-devices.net/dev-01/?api-version=2020-09-30&DeviceClientType=iothubclient%2f1.13.0%20(native%3b%20Linux)", ""},
		{"order", "contoso.azure-devices.net/dev-01/?model-id=dtmi:a:b;1&api-version=2021-04-12", ""},
		{"host in capitals", "Contoso.Azure-Devices.NET/dev-01/?api-version=2021-04-12", ""},
		{"unknown member", "contoso.azure-devices.net/dev-01/?api-version=2021-04-12&x=%zz&&=", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			connect := dev01()
			connect.Username = &c.username
			conn := signIn(t, cloud, connect)
			say(t, conn, "devices/dev-01/messages/events/", c.name)
			if c.proves != "" {
				rule.Proves(t, c.proves)
			}
		})
	}
}

// Ids may hold any of the registry's characters. The username may escape them, as the embedded C SDK does;
// in a topic # and + can only stand escaped.
func TestHubOddIDs(t *testing.T) {
	t.Parallel()
	for id, c := range map[string]struct{ username, topic string }{
		"Dev#01":        {"contoso.azure-devices.net/Dev#01/?api-version=2021-04-12", "devices/Dev%2301/messages/events/"},
		"Dev#02":        {"contoso.azure-devices.net/Dev%2302/?api-version=2021-04-12", "devices/Dev%2302/messages/events/"},
		"a?b":           {"contoso.azure-devices.net/a?b/?api-version=2021-04-12", "devices/a?b/messages/events/"},
		"p%20x":         {"contoso.azure-devices.net/p%20x/?api-version=2021-04-12", "devices/p%20x/messages/events/"},
		"x=y":           {"contoso.azure-devices.net/x=y/api-version=2016-11-14", "devices/x=y/messages/events/"},
		"a+b":           {"contoso.azure-devices.net/a+b/?api-version=2021-04-12", "devices/a%2Bb/messages/events/"},
		"-.%_*?!(),@$'": {"contoso.azure-devices.net/-.%_*?!(),@$'/?api-version=2021-04-12", "devices/-.%_*?!(),@$'/messages/events/"},
	} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t, `azure: {hubs: [{name: contoso, devices: [{deviceId: "`+id+`", authentication: {symmetricKey: {primaryKey: `+demoKey+`}}}]}]}`)
			conn := signIn(t, cloud, rawmqtt.Connect{ClientID: id, Username: &c.username,
				Password: ptr(sign("contoso.azure-devices.net/devices/"+id, demoKey, 1893456000, ""))})
			say(t, conn, c.topic, "x")
			e := cloud.Events(fakecloud.Filter{Kind: "telemetry"})
			require.Len(t, e, 1)
			require.Equal(t, id, e[0].Properties["iothub-connection-device-id"])
		})
	}
}

// The username decides which hub it is, whatever name the TLS handshake asked for.
func TestHubByUsernameNotServerName(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := dial(t, cloud, via{name: demoHub})
	send(t, conn, dev01().Bytes())
	wantConnack(t, conn, 0)
	say(t, conn, "devices/dev-01/messages/events/", "x")
	require.Equal(t, contosoHost, telemetry(t, cloud, "dev-01", 1)[0].Endpoint)
	conn = dial(t, cloud, via{name: "nohub.azure-devices.net"})
	send(t, conn, rawmqtt.Connect{ClientID: "dev-01", Username: ptr("nohub.azure-devices.net/dev-01/?api-version=2021-04-12"), Password: ptr(tokenV1)}.Bytes())
	wantRefused(t, cloud, conn, 5, "HUB-11/host", "")
}

// Without SNI the username alone leads to the hub.
func TestHubWithoutServerName(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := dial(t, cloud, via{})
	send(t, conn, dev01().Bytes())
	wantConnack(t, conn, 0)
	wantAlive(t, conn)
}

func TestHubWithoutAPIVersion(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	connect := dev01()
	connect.Username = ptr("contoso.azure-devices.net/dev-01")
	conn := signIn(t, cloud, connect)
	say(t, conn, "devices/dev-01/messages/events/", "21.5")
	require.Equal(t, "21.5", string(telemetry(t, cloud, "dev-01", 1)[0].Payload))
	send(t, conn, rawmqtt.Subscribe(1, 0, "$iothub/twin/res/#"))
	wantBytes(t, conn, 0x90, 0x03, 0x00, 0x01, 0x00)
	send(t, conn, rawmqtt.Publish("$iothub/twin/PATCH/properties/reported/?$rid=a1", `{"x":1}`, 0, 0, false))
	answer := receive(t, conn)
	require.Equal(t, "$iothub/twin/res/400/?$rid=a1", answer.Topic())
	require.Contains(t, answer.Payload(), `"errorCode":400`)
	wantAlive(t, conn)
	refused(t, cloud, "HUB-3/api-version")
	rule.Proves(t, "HUB-3")
}

// Who a client says it is: each of these is answered by CONNACK 5 and the end of the connection.
func TestHubIdentityRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, clientID string
		username       *string
		rule           rule.ID
		expected       string // what the journal suggests
	}{
		{"unknown device", "nobody", ptr("contoso.azure-devices.net/nobody/?api-version=2021-04-12"), "HUB-9/unknown", ""},
		{"case", "DEV-01", ptr("contoso.azure-devices.net/DEV-01/?api-version=2021-04-12"), "HUB-9/unknown", "dev-01"},
		{"unknown module", "dev-01/mod-x", ptr("contoso.azure-devices.net/dev-01/mod-x/?api-version=2021-04-12"), "HUB-9/module", "mod-"},
		{"other client id", "dev-02", ptr(userDev01), "HUB-10/client-id", "dev-01"},
		{"client id in capitals", "DEV-01", ptr(userDev01), "HUB-10/client-id", "dev-01"},
		{"module id for the device", "dev-01/mod-a", ptr(userDev01), "HUB-10/client-id", "dev-01"},
		{"device id for the module", "dev-01", ptr(userModA), "HUB-10/client-id", "dev-01/mod-a"},
		{"empty client id", "", ptr(userDev01), "HUB-10/client-id", "dev-01"},
		{"no username", "dev-01", nil, "HUB-11/username", userDev01},
		{"empty username", "dev-01", ptr(""), "HUB-11/username", userDev01},
		{"no slash", "dev-01", ptr("contoso.azure-devices.net"), "HUB-11/username", userDev01},
		{"no device", "dev-01", ptr("contoso.azure-devices.net/?api-version=2021-04-12"), "HUB-11/username", userDev01},
		{"no host", "dev-01", ptr("/dev-01/?api-version=2021-04-12"), "HUB-11/username", userDev01},
		{"too many segments", "dev-01", ptr("contoso.azure-devices.net/dev-01/mod-a/x/?api-version=2021-04-12"), "HUB-11/username", userDev01},
		{"other hub", "dev-01", ptr("fabrikam.azure-devices.net/dev-01/?api-version=2021-04-12"), "HUB-11/host", ""},
		{"short hub name", "dev-01", ptr("contoso/dev-01/?api-version=2021-04-12"), "HUB-11/host", contosoHost},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			connect := rawmqtt.Connect{ClientID: c.clientID, Username: c.username, Password: ptr(tokenV1)}
			if c.username == nil {
				connect.Password = nil // MQTT 3.1.1 has no password without a username
			}
			wantRefused(t, cloud, knock(t, cloud, connect), 5, c.rule, c.expected)
		})
	}
}

// wantRefused sees a CONNACK with this code, the close, and the cause in the journal with code, what was
// seen, what would be right, and no secret.
func wantRefused(t *testing.T, cloud *fakecloud.Cloud, conn *rawmqtt.Conn, code byte, id rule.ID, expected string) fakecloud.Event {
	t.Helper()
	wantConnack(t, conn, code)
	wantClosed(t, conn)
	e := refused(t, cloud, id)
	require.NotNil(t, e.Code)
	require.EqualValues(t, code, *e.Code)
	require.NotEmpty(t, e.Seen)
	require.Contains(t, e.Expected, expected)
	rule.Proves(t, id.Row())
	noSecrets(t, cloud)
	return e
}

// wantCut sees the bare close of an established connection and its cause in the journal.
func wantCut(t *testing.T, cloud *fakecloud.Cloud, conn *rawmqtt.Conn, id rule.ID) fakecloud.Event {
	t.Helper()
	wantClosed(t, conn)
	e := refused(t, cloud, id)
	require.Nil(t, e.Code, "a bare close shows no code")
	rule.Proves(t, id.Row())
	return e
}

func TestHubDisabledDevice(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := knock(t, cloud, rawmqtt.Connect{ClientID: "off", Username: ptr("contoso.azure-devices.net/off/?api-version=2021-04-12"),
		Password: ptr(sign("contoso.azure-devices.net/devices/off", demoKey, 1893456000, ""))})
	wantRefused(t, cloud, conn, 3, "HUB-12/disabled", "enabled")
}

func TestHubDisabledWhileConnected(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn, module := signIn(t, cloud, dev01()), signIn(t, cloud, modA())
	patch(t, cloud, "azure: {hubs: [{name: contoso, devices: [{deviceId: dev-01, status: disabled}]}]}")
	wantCut(t, cloud, conn, "HUB-12/disabled")
	wantClosed(t, module)
	again := knock(t, cloud, dev01())
	wantConnack(t, again, 3)
	wantClosed(t, again)
	patch(t, cloud, "azure: {hubs: [{name: contoso, devices: [{deviceId: dev-01, status: enabled}]}]}")
	wantAlive(t, signIn(t, cloud, dev01()))
}

func TestHubDeletedWhileConnected(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, dev01())
	require.NoError(t, cloud.Plane().Devices.Delete("iothub", contosoHost, "dev-01"))
	wantCut(t, cloud, conn, "HUB-12/deleted")
	again := knock(t, cloud, dev01())
	wantRefused(t, cloud, again, 5, "HUB-9/unknown", "")
}

func TestHubModuleBesideItsDevice(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, dev01())
	module := signIn(t, cloud, modA())
	wantAlive(t, conn)
	say(t, module, "devices/dev-01/modules/mod-a/messages/events/", "m")
	say(t, conn, "devices/dev-01/messages/events/", "d")
	require.Equal(t, "m", string(telemetry(t, cloud, "dev-01/mod-a", 1)[0].Payload))
	rule.Proves(t, "HUB-17")
}

func TestHubProtocolLevels(t *testing.T) {
	t.Parallel()
	for _, c := range []rawmqtt.Connect{{Protocol: "MQIsdp", Level: 3}, {Level: 3}, {Level: 5}, {Level: 6}, {Level: 0x84}} {
		t.Run(fmt.Sprint(c.Protocol, c.Level), func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			c.ClientID, c.Username, c.Password = "dev-01", ptr(userDev01), ptr(tokenV1)
			wantRefused(t, cloud, knock(t, cloud, c), 1, "HUB-19/level", "4")
		})
	}
}

func TestHubPlainTCP(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	raw, err := net.Dial("tcp", cloud.MQTTSAddr())
	require.NoError(t, err)
	defer raw.Close()
	_, err = raw.Write(dev01().Bytes())
	require.NoError(t, err)
	require.NoError(t, raw.SetReadDeadline(time.Now().Add(rawmqtt.Patience)))
	answer, err := io.ReadAll(raw)
	require.NotErrorIs(t, err, net.ErrClosed)
	require.NotContains(t, string(answer), "\x20\x02", "no CONNACK")
	refused(t, cloud, "TLS-4/mqtt")
	rule.Proves(t, "HUB-18")
}

func TestHubTLS11(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	raw, err := net.Dial("tcp", cloud.MQTTSAddr())
	require.NoError(t, err)
	conn := tls.Client(raw, &tls.Config{ServerName: contosoHost, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(rawmqtt.Patience)))
	require.ErrorContains(t, conn.Handshake(), "protocol version")
	refused(t, cloud, "TLS-2/version")
	rule.Proves(t, "HUB-18")
}
