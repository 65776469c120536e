package mqtt_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestTelemetry(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, topic string
		want        map[string]string
		proves      []rule.ID
	}{
		{name: "plain", topic: "devices/dev-01/messages/events/", proves: []rule.ID{"HUB-27"}},
		{name: "no slash", topic: "devices/dev-01/messages/events", proves: []rule.ID{"HUB-28"}},
		{name: "bag and slash", topic: "devices/dev-01/messages/events/a=b/", want: map[string]string{"a": "b"}, proves: []rule.ID{"HUB-28"}},
		{name: "bag", topic: "devices/dev-01/messages/events/%24.mid=1&$.ct=application%2Fjson&a%20b=c%26d&e=",
			want: map[string]string{"message-id": "1", "content-type": "application/json", "a b": "c&d", "e": ""}, proves: []rule.ID{"HUB-29"}},
		{name: "cdid", topic: "devices/dev-01/messages/events/$.cdid=other&%24.cmid=m", proves: []rule.ID{"HUB-30"}},
		{name: "raw slash", topic: "devices/dev-01/messages/events/%24.ct=application/json", want: map[string]string{"content-type": "application/json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := newCloud(t)
			conn := cloud.connect()
			publish(conn, c.topic, `{"t":1}`)
			e := cloud.telemetry(1)[0]
			require.Equal(t, `{"t":1}`, string(e.Payload))
			require.Equal(t, "dev-01", e.Properties["iothub-connection-device-id"])
			require.JSONEq(t, `{"scope":"device","type":"sas","issuer":"iothub"}`, e.Properties["iothub-connection-auth-method"])
			require.Equal(t, "Telemetry", e.Properties["iothub-message-source"])
			require.NotEmpty(t, e.Properties["iothub-enqueuedtime"])
			require.NotEmpty(t, e.Properties["iothub-connection-auth-generation-id"])
			require.NotContains(t, e.Properties, "iothub-connection-module-id")
			for k, v := range c.want {
				require.Equal(t, v, e.Properties[k], k)
			}
			require.Len(t, e.Properties, 5+len(c.want))
			messages, _ := cloud.hub.Telemetry(contoso, "dev-01", 0, 0)
			require.Len(t, messages, 1)
			rule.Proves(t, c.proves...)
		})
	}
}

func TestRetainIsNotStored(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.connect()
	conn.Send(brokertest.Publish{Topic: "devices/dev-01/messages/events/", Payload: []byte("x"), QoS: 1, ID: 4, Retain: true}.Bytes())
	conn.Expect(0x40, 2, 0, 4)
	require.Equal(t, "true", c.telemetry(1)[0].Properties["mqtt-retain"])
	conn.Send(brokertest.Subscribe(1, 1, devicebound), brokertest.Pingreq)
	conn.Expect(0x90, 3, 0, 1, 1)
	conn.Expect(brokertest.Pingresp...)
	rule.Proves(t, "HUB-31")
}

func TestQoS0AndDup(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.connect()
	m := brokertest.Publish{Topic: "devices/dev-01/messages/events/", Payload: []byte("x"), QoS: 1, ID: 4}
	again := m
	again.Dup = true
	conn.Send(brokertest.Publish{Topic: m.Topic}.Bytes(), m.Bytes())
	conn.Expect(0x40, 2, 0, 4)
	conn.Send(again.Bytes())
	conn.Expect(0x40, 2, 0, 4)
	require.Len(t, c.telemetry(3), 3, "no deduplication")
}

func TestModelID(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	hello := login()
	hello.Username = brokertest.Text(contoso + "/dev-01/?api-version=2020-09-30&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1")
	publish(c.signIn(hello), "devices/dev-01/messages/events/", "x")
	require.Equal(t, "dtmi:com:example:Thermostat;1", c.telemetry(1)[0].Properties["dt-dataschema"])
	rule.Proves(t, "HUB-37")
}

func TestModuleTelemetry(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	publish(c.signIn(loginModule()), "devices/dev-01/modules/mod-a/messages/events/", "x")
	e := c.telemetry(1)[0]
	require.Equal(t, "mod-a", e.Properties["iothub-connection-module-id"])
	require.Equal(t, "dev-01/mod-a", e.Device)
	rule.Proves(t, "HUB-36")
}

func TestPublishCloses(t *testing.T) {
	t.Parallel()
	events := "devices/dev-01/messages/events/"
	for _, p := range []struct {
		topic, expected string
		module          bool
		qos             byte
		rule            rule.ID
	}{
		{topic: events, qos: 2, rule: "HUB-32/qos2"},
		{topic: "devices/other/messages/events/", rule: "HUB-34/device", expected: events},
		{topic: "devices/DEV-01/messages/events/", rule: "HUB-34/device", expected: events},
		{topic: "test/topic", rule: "HUB-35/topic", expected: events},
		{topic: "devices/dev-01/foo", rule: "HUB-35/topic", expected: events},
		{topic: "/devices/dev-01/messages/events/", rule: "HUB-35/topic", expected: events},
		{topic: "devices/dev-01/messages/Events/", rule: "HUB-35/topic", expected: events},
		{topic: "devices/dev-01/messages/devicebound/", rule: "HUB-35/topic", expected: events},
		{topic: "$iothub/twin/PATCH/properties/desired/", rule: "HUB-57/desired", expected: "reported"},
		{topic: "$iothub/methods/POST/x", rule: "HUB-58/call", expected: "$iothub/methods/res/"},
		{topic: "$iothub/twin/get/?$rid=1", rule: "HUB-35/topic", expected: "$iothub/twin/GET/?$rid="},
		{topic: "$dps/registrations/PUT/iotdps-register/?$rid=1", rule: "HUB-35/topic", expected: events},
		{topic: "devices/dev-01/modules/mod-a/messages/events/", rule: "HUB-36/module", expected: events},
		{topic: events, module: true, rule: "HUB-36/module", expected: "modules/mod-a"},
		{topic: events + "a=b=c", rule: "HUB-29/bag"},
		{topic: events + "a=%zz", rule: "HUB-29/bag"},
	} {
		t.Run(p.topic, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			hello := login()
			if p.module {
				hello = loginModule()
			}
			conn := c.signIn(hello)
			conn.Send(brokertest.Publish{Topic: p.topic, Payload: []byte("x"), QoS: max(p.qos, 1), ID: 3}.Bytes())
			conn.ExpectClosed()
			require.Contains(t, c.expectRefused(p.rule).Expected, p.expected)
			c.noTelemetry()
			rule.Proves(t, p.rule, p.rule.Row())
		})
	}
}

func TestMessageSize(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	conn := c.connect()
	topic := "devices/dev-01/messages/events/%24.mid=1234&key=val"
	publish(conn, topic, strings.Repeat("x", 262144-10))
	conn.Send(brokertest.Publish{Topic: topic, Payload: make([]byte, 262144-9), QoS: 1, ID: 3}.Bytes())
	conn.ExpectClosed()
	e := c.expectRefused("HUB-33/size")
	require.Contains(t, e.Seen, "262145 bytes")
	require.Len(t, c.telemetry(1), 1)

	conn = c.connect()
	_, _ = conn.Write(brokertest.Publish{Topic: topic, Payload: make([]byte, 400_000), QoS: 1, ID: 3}.Bytes())
	conn.ExpectClosed()
	c.expectRefused("HUB-33/packet")
	events, _ := c.journal.Select(journal.Filter{Kind: journal.Telemetry})
	require.Len(t, events, 1)
	rule.Proves(t, "HUB-33", "HUB-33/size", "HUB-33/packet")
}
