package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestHubTelemetryIsStamped(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		token, auth string
	}{
		"device key": {tokenV1, `{"scope":"device","type":"sas","issuer":"iothub"}`},
		"policy":     {tokenV4 + "&skn=device", `{"scope":"hub","type":"sas","issuer":"iothub"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			connect := dev01()
			connect.Password = &c.token
			conn := signIn(t, cloud, connect)
			before := time.Now().Add(-time.Second)
			say(t, conn, eventsDev01, `{"t":21.5}`)
			e := telemetry(t, cloud, "dev-01", 1)[0]
			require.Equal(t, "iothub", e.Platform)
			require.Equal(t, contosoHost, e.Endpoint)
			require.Equal(t, `{"t":21.5}`, string(e.Payload))
			require.Equal(t, "dev-01", e.Properties["iothub-connection-device-id"])
			require.NotContains(t, e.Properties, "iothub-connection-module-id")
			require.NotContains(t, e.Properties, "dt-dataschema")
			require.NotEmpty(t, e.Properties["iothub-connection-auth-generation-id"])
			require.JSONEq(t, c.auth, e.Properties["iothub-connection-auth-method"])
			require.Equal(t, "Telemetry", e.Properties["iothub-message-source"])
			at, err := time.Parse(time.RFC3339Nano, e.Properties["iothub-enqueuedtime"])
			require.NoError(t, err)
			require.WithinRange(t, at, before, time.Now().Add(time.Second))
			rule.Proves(t, "HUB-27")
		})
	}
}

// QoS 0 has no acknowledgement, payloads are any bytes, a duplicate counts again.
func TestHubTelemetryPayloads(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, dev01())
	send(t, conn, rawmqtt.Publish(eventsDev01, "", 0, 0, false))
	send(t, conn, rawmqtt.Publish(eventsDev01, "\x00\xff\xfe", 0, 0, false))
	say(t, conn, eventsDev01, "again")
	dup := rawmqtt.Publish(eventsDev01, "again", 1, 7, false)
	dup[0] |= 0x08
	send(t, conn, dup)
	wantBytes(t, conn, 0x40, 0x02, 0x00, 0x07)
	var got []string
	for _, e := range telemetry(t, cloud, "dev-01", 4) {
		got = append(got, string(e.Payload))
	}
	require.Equal(t, []string{"", "\x00\xff\xfe", "again", "again"}, got)
}

// What stands behind events/ and what the hub makes of it.
func TestHubPropertyBags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, topic string
		want        map[string]string
		proves      rule.ID
	}{
		{"no trailing slash", "devices/dev-01/messages/events", nil, "HUB-28"},
		{"slash behind the bag", "devices/dev-01/messages/events/a=b/", map[string]string{"a": "b"}, "HUB-28"},
		{"the sheet's HUB-29", "devices/dev-01/messages/events/%24.mid=1&$.ct=application%2Fjson&a%20b=c%26d&e=",
			map[string]string{"message-id": "1", "content-type": "application/json", "a b": "c&d", "e": ""}, "HUB-29"},
		{"plus is no space", "devices/dev-01/messages/events/a=b%2Bc%20d", map[string]string{"a": "b+c d"}, "HUB-29"},
		{"UTF-8", "devices/dev-01/messages/events/caf%C3%A9=%E6%B8%A9&ß=ü", map[string]string{"café": "温", "ß": "ü"}, "HUB-29"},
		{"C without escapes", "devices/dev-01/messages/events/%24.ct=application/json&%24.ce=utf-8",
			map[string]string{"content-type": "application/json", "content-encoding": "utf-8"}, "HUB-29"},
		{"all system properties", "devices/dev-01/messages/events/$.mid=m&$.cid=c&$.uid=u&$.to=%2Fx&$.ct=ct&$.ce=ce&$.exp=2030-01-01T00%3A00%3A00Z&$.ctime=2029-01-01T00%3A00%3A00Z&$.on=o&$.sub=s&$.ifid=i&$.schema=sc",
			map[string]string{"message-id": "m", "correlation-id": "c", "user-id": "u", "to": "/x", "content-type": "ct", "content-encoding": "ce",
				"absolute-expiry-time": "2030-01-01T00:00:00Z", "iothub-creation-time-utc": "2029-01-01T00:00:00Z", "iothub-outputname": "o",
				"dt-subject": "s", "iothub-interface-id": "i", "iothub-message-schema": "sc"}, "HUB-29"},
		{"connection ids", "devices/dev-01/messages/events/$.cdid=other&%24.cmid=m&iothub-x=y",
			map[string]string{"iothub-connection-device-id": "dev-01", "iothub-x": "y"}, "HUB-30"},
		{"stamps by their long names", "devices/dev-01/messages/events/iothub-connection-device-id=other&iothub-message-source=Twin",
			map[string]string{"iothub-connection-device-id": "dev-01", "iothub-message-source": "Telemetry"}, "HUB-30"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			conn := signIn(t, cloud, dev01())
			say(t, conn, c.topic, "x")
			e := telemetry(t, cloud, "dev-01", 1)[0]
			for k, v := range c.want {
				require.Contains(t, e.Properties, k)
				require.Equal(t, v, e.Properties[k], k)
			}
			require.NotContains(t, e.Properties, "iothub-connection-module-id")
			rule.Proves(t, c.proves)
		})
	}
}

func TestHubRetainIsNotStored(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, dev01())
	send(t, conn, rawmqtt.Publish(eventsDev01, "kept?", 1, 7, true))
	wantBytes(t, conn, 0x40, 0x02, 0x00, 0x07)
	require.Equal(t, "true", telemetry(t, cloud, "dev-01", 1)[0].Properties["mqtt-retain"])
	later := signIn(t, cloud, dev01())
	send(t, later, rawmqtt.Subscribe(1, 1, "devices/dev-01/messages/devicebound/#"))
	wantBytes(t, later, 0x90, 0x03, 0x00, 0x01, 0x01)
	wantAlive(t, later) // nothing came before the PINGRESP
	say(t, later, eventsDev01, "plain")
	require.NotContains(t, telemetry(t, cloud, "dev-01", 2)[1].Properties, "mqtt-retain")
	rule.Proves(t, "HUB-31")
}

// What closes the connection without a packet and leaves no event.
func TestHubPublishRefused(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 262144)
	module := modA()
	device := dev01()
	for _, c := range []struct {
		name, topic, payload string
		qos                  byte
		connect              rawmqtt.Connect
		rule                 rule.ID
		expected             string
	}{
		{"QoS 2", eventsDev01, "x", 2, device, "HUB-32/qos2", ""},
		{"a name twice over", eventsDev01 + "a=b=c", "x", 1, device, "HUB-29/bag", ""},
		{"broken escape", eventsDev01 + "a=%zz", "x", 1, device, "HUB-29/bag", ""},
		{"half an escape", eventsDev01 + "a=%2", "x", 1, device, "HUB-29/bag", ""},
		{"no name", eventsDev01 + "=b", "x", 1, device, "HUB-29/bag", ""},
		{"one byte too many", eventsDev01, big + "x", 1, device, "HUB-33/size", "262144"},
		{"properties count", eventsDev01 + "a=b", big[1:], 1, device, "HUB-33/size", "262144"},
		{"system properties' values count", eventsDev01 + "$.mid=12", big[1:], 1, device, "HUB-33/size", "262144"},
		{"larger than any packet", eventsDev01, strings.Repeat("x", 1<<20), 1, device, "HUB-33/packet", ""},
		{"other device", "devices/dev-02/messages/events/", "x", 1, device, "HUB-34/device", eventsDev01},
		{"other device, unknown", "devices/other/messages/events/", "x", 0, device, "HUB-34/device", eventsDev01},
		{"own id in capitals", "devices/DEV-01/messages/events/", "x", 1, device, "HUB-34/device", eventsDev01},
		{"any topic", "test/topic", "x", 0, device, "HUB-35/topic", eventsDev01},
		{"own path, other end", "devices/dev-01/foo", "x", 0, device, "HUB-35/topic", eventsDev01},
		{"leading slash", "/devices/dev-01/messages/events/", "x", 1, device, "HUB-35/topic", eventsDev01},
		{"Events", "devices/dev-01/messages/Events/", "x", 1, device, "HUB-35/topic", eventsDev01},
		{"events glued", "devices/dev-01/messages/eventsx", "x", 1, device, "HUB-35/topic", eventsDev01},
		{"devicebound", "devices/dev-01/messages/devicebound/", "x", 1, device, "HUB-35/topic", eventsDev01},
		{"$SYS", "$SYS/x", "x", 0, device, "HUB-35/topic", eventsDev01},
		{"DPS", "$dps/registrations/PUT/iotdps-register/?$rid=1", "{}", 1, device, "HUB-35/topic", ""},
		{"device for its module", "devices/dev-01/modules/mod-a/messages/events/", "x", 1, device, "HUB-36/module", eventsDev01},
		{"module for its device", eventsDev01, "x", 1, module, "HUB-36/module", "modules/mod-a"},
		{"module for another module", "devices/dev-01/modules/mod-b/messages/events/", "x", 1, module, "HUB-36/module", "modules/mod-a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			conn := signIn(t, cloud, c.connect)
			packet := rawmqtt.Publish(c.topic, c.payload, c.qos, 9, false)
			go conn.Write(packet) // the server may close before it has read all
			e := wantCut(t, cloud, conn, c.rule)
			require.Contains(t, e.Expected, c.expected)
			require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "telemetry"}))
			again := signIn(t, cloud, c.connect)
			wantAlive(t, again)
		})
	}
}

// 262144 bytes of body, values of system properties, and names and values of application properties.
func TestHubLargestMessage(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, dev01())
	for i, c := range []struct {
		bag  string
		room int // left for the body
	}{
		{"", 262144},
		{"a=b", 262142},
		{"$.mid=12", 262142},
		{"a%20b=%26", 262140},
	} {
		body := strings.Repeat("x", c.room)
		say(t, conn, eventsDev01+c.bag, body)
		require.Len(t, telemetry(t, cloud, "dev-01", i+1)[i].Payload, c.room)
	}
	rule.Proves(t, "HUB-33")
}

func TestHubModuleTelemetry(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, modA())
	for _, topic := range []string{"devices/dev-01/modules/mod-a/messages/events/", "devices/dev-01/modules/mod-a/messages/events",
		"devices/dev-01/modules/mod-a/messages/events/$.on=out1/"} {
		say(t, conn, topic, "m")
	}
	events := telemetry(t, cloud, "dev-01/mod-a", 3)
	for _, e := range events {
		require.Equal(t, "dev-01", e.Properties["iothub-connection-device-id"])
		require.Equal(t, "mod-a", e.Properties["iothub-connection-module-id"])
		require.JSONEq(t, `{"scope":"module","type":"sas","issuer":"iothub"}`, e.Properties["iothub-connection-auth-method"])
	}
	require.Equal(t, "out1", events[2].Properties["iothub-outputname"])
	rule.Proves(t, "HUB-36")
}

func TestHubModelID(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"escaped, as Python": "?api-version=2020-09-30&DeviceClientType=py&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1",
		"plain, as Node":     "?api-version=2021-04-12&model-id=dtmi:com:example:Thermostat;1&DeviceClientType=node",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			connect := dev01()
			connect.Username = ptr("contoso.azure-devices.net/dev-01/" + query)
			conn := signIn(t, cloud, connect)
			say(t, conn, eventsDev01+"dt-dataschema=dtmi%3Aother%3B1", "{}")
			require.Equal(t, "dtmi:com:example:Thermostat;1", telemetry(t, cloud, "dev-01", 1)[0].Properties["dt-dataschema"])
			rule.Proves(t, "HUB-37")
		})
	}
}
