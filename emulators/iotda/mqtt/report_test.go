package mqtt_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const (
	report        = "$oc/devices/demo_node1/sys/properties/report"
	gatewayReport = "$oc/devices/demo_gw1/sys/gateway/sub_devices/properties/report"
)

// seedReport is the body that the tutorial prints (best practice on X.509 devices with MQTT.fx).
const seedReport = `{
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
}`

// reported returns a device's shadow as JSON, services in order of their id.
func (c *cloud) reported(device string) string {
	c.t.Helper()
	synctest.Wait()
	services, err := c.Shadow(instance, device)
	require.NoError(c.t, err)
	out := map[string]any{}
	for _, s := range services {
		if len(s.Reported.Properties) > 0 {
			out[s.ServiceID] = map[string]any{"p": s.Reported.Properties, "at": s.Reported.EventTime}
		}
	}
	b, err := json.Marshal(out)
	require.NoError(c.t, err)
	return string(b)
}

// notices returns the notifications about a resource, newest last.
func (c *cloud) notices(resource string) []journal.Event {
	c.t.Helper()
	synctest.Wait()
	events, _ := c.journal.Select(journal.Filter{Platform: "iotda"})
	var found []journal.Event
	for _, e := range events {
		if e.Properties["resource"] == resource {
			found = append(found, e)
		}
	}
	return found
}

// DA-29, DA-36: the tutorial's report, and the notification that it makes.
func TestSeedReport(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		c.publish(conn, report+"?request_id=abc", seedReport)
		require.JSONEq(t, `{"Battery":{"at":"20151212T121212Z","p":{"batteryLevel":80}},"Connectivity":{"at":"20151212T121212Z","p":{"dailyActivityTime":57}}}`, c.reported(demo))
		notices := c.notices("device.property")
		require.Len(t, notices, 1)
		app, err := c.App(instance, "")
		require.NoError(t, err)
		require.JSONEq(t, `{"resource":"device.property","event":"report","event_time":"20260101T003000Z","event_time_ms":"2026-01-01T00:30:00.000Z","request_id":"abc",
			"notify_data":{"header":{"app_id":"`+app.AppID+`","device_id":"demo_node1","node_id":"demo_node1","product_id":"demo","gateway_id":"demo_node1","tags":[]},
			"body":{"services":[{"service_id":"Connectivity","properties":{"dailyActivityTime":57},"event_time":"20151212T121212Z"},
				{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"20151212T121212Z"}]}}}`, string(notices[0].Payload))
		events, _ := c.journal.Select(journal.Filter{Kind: journal.Refused})
		require.Empty(t, events)
		rule.Proves(t, "DA-29", "DA-36")
	})
}

// DA-30, DA-31, DA-32: times.
func TestEventTimes(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		for _, v := range []struct{ field, at string }{
			{``, "20260101T003000Z"},
			{`,"event_time":"2015-12-12 12:12"`, "20260101T003000Z"},
			{`,"event_time":"2015-12-12T12:12:12Z"`, "20260101T003000Z"}, // as Huawei's Python SDK writes it
			{`,"event_time":1449922332000`, "20260101T003000Z"},
			{`,"event_time":"2020-08-12T12:12:12.333Z"`, "2020-08-12T12:12:12.333Z"},
			{`,"event_time":null`, "20260101T003000Z"},
		} {
			c.publish(conn, report, `{"services":[{"service_id":"Battery","properties":{"batteryLevel":1}`+v.field+`}]}`)
			require.JSONEq(t, `{"Battery":{"at":"`+v.at+`","p":{"batteryLevel":1}}}`, c.reported(demo), v.field)
		}
		require.Equal(t, journal.Property, c.told("DA-31/time").Kind)
		events, _ := c.journal.Select(journal.Filter{Rule: "DA-31/time"})
		require.Len(t, events, 3)
		rule.Proves(t, "DA-30", "DA-31", "DA-31/time", "DA-32")
	})
}

// DA-33, DA-34: each dropped value is explained; the wire is silent and the rest is stored.
func TestDroppedValues(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		for _, v := range []struct {
			service, property, value string
			id                       rule.ID
			expected                 string
		}{
			{"Battery", "batteryLevel", `101`, "DA-33/range", "a whole number from 0 to 100"},
			{"Battery", "batteryLevel", `-1`, "DA-33/range", ""},
			{"Battery", "batteryLevel", `"80"`, "DA-33/type", "a whole number from 0 to 100"},
			{"Battery", "batteryLevel", `80.5`, "DA-33/type", ""},
			{"Battery", "batteryLevel", `1e99999`, "DA-33/type", ""},
			{"Battery", "batteryLevel", `null`, "DA-33/type", ""},
			{"Mixed", "mode", `"ON"`, "DA-33/enum", "one of on, off"},
			{"Mixed", "mode", `1`, "DA-33/type", ""},
			{"Mixed", "label", `"fünfe"`, "DA-33/length", "at most 4 characters"},
			{"Mixed", "flag", `"true"`, "DA-33/type", "true or false"},
			{"Mixed", "object", `[]`, "DA-33/type", "an object"},
			{"Mixed", "list", `["a",1]`, "DA-33/type", "a list of texts"},
			{"Mixed", "ratio", `"1.5"`, "DA-33/type", "a number"},
			{"Battery", "batterylevel", `80`, "DA-34/property", "batteryLevel"},
			{"Batery", "batteryLevel", `80`, "DA-34/service", "Battery"},
		} {
			c.publish(conn, report, `{"services":[{"service_id":"`+v.service+`","properties":{"`+v.property+`":`+v.value+`}}]}`)
			e := c.refusedAs(v.id)
			require.Equal(t, demo, e.Device)
			require.Equal(t, report, e.Topic)
			require.Contains(t, e.Expected, v.expected)
			require.Nil(t, e.Code, "the wire is silent")
			require.Equal(t, `{}`, c.reported(demo), "nothing is stored: %s", v.value)
			rule.Proves(t, v.id)
		}
		require.Empty(t, c.notices("device.property"))
		c.publish(conn, report, `{"services":[{"service_id":"Mixed","properties":{"mode":"on","label":"fünf","flag":true,"object":{"a":1},"list":["a"],"ratio":1.50,"big":9007199254740993,"nope":1}},{"service_id":"x","properties":{}}]}`)
		require.Equal(t, `{"Mixed":{"at":"20260101T003000Z","p":{"big":9007199254740993,"flag":true,"label":"fünf","list":["a"],"mode":"on","object":{"a":1},"ratio":1.50}}}`, c.reported(demo))
		conn.ExpectSilence(1)
		rule.Proves(t, "DA-33", "DA-34")
	})
}

// DA-35, DA-37: what cannot be read.
func TestUnreadableReports(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		for payload, id := range map[string]rule.ID{
			"":                  "DA-35/json",
			"hello":             "DA-35/json",
			`{'services':[]}`:   "DA-35/json",
			"\xff\xfe":          "DA-35/json",
			`[]`:                "DA-35/services",
			`{}`:                "DA-35/services",
			`{"services":[]}`:   "DA-35/services",
			`{"services":"x"}`:  "DA-35/services",
			`{"services":[{}]}`: "DA-35/entry",
			`{"services":[{"service_id":1,"properties":{}}]}`:          "DA-35/entry",
			`{"services":[{"service_id":"Battery","properties":[1]}]}`: "DA-35/entry",
		} {
			before, _ := c.journal.Select(journal.Filter{Rule: id})
			c.publish(conn, report, payload)
			after, _ := c.journal.Select(journal.Filter{Rule: id})
			require.Len(t, after, len(before)+1, payload)
			c.refusedAs(id)
			rule.Proves(t, id)
		}
		require.Equal(t, `{}`, c.reported(demo))

		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write([]byte(seedReport))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		c.publish(conn, report+"?encoding=gzip", packed.String())
		require.Contains(t, c.reported(demo), `"batteryLevel":80`)
		c.publish(conn, report+"?encoding=gzip", seedReport)
		c.refusedAs("DA-37/gzip")
		packed.Reset()
		w = gzip.NewWriter(&packed)
		_, err = w.Write(make([]byte, 1<<20+1))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		c.publish(conn, report+"?encoding=gzip", packed.String())
		require.Contains(t, c.refusedAs("DA-37/gzip").Detail, "more than 1 MB")
		rule.Proves(t, "DA-35", "DA-37", "DA-37/gzip")
	})
}

// A message with many mistakes does not flood the journal.
func TestManyMistakes(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		c.publish(conn, report, `{"services":[`+strings.Repeat(`{},`, 5000)+`{}]}`)
		events, _ := c.journal.Select(journal.Filter{Kind: journal.Refused})
		require.Len(t, events, 20)
	})
}

// Reports of the older form are understood.
func TestLegacyReport(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		c.publish(conn, "/huawei/v1/devices/demo_node1/data/json", `{"msgType":"deviceReq","data":[{"serviceId":"Battery","serviceData":{"batteryLevel":7},"eventTime":"20160503T121540Z"}]}`)
		require.JSONEq(t, `{"Battery":{"at":"20160503T121540Z","p":{"batteryLevel":7}}}`, c.reported(demo))
		c.publish(conn, "/huawei/v1/devices/demo_node1/data/json", `{"msgType":"deviceReq"}`)
		c.refusedAs("DA-35/services")
		c.publish(conn, "/huawei/v1/devices/demo_node1/data/binary", "\x01\x02")
		require.Len(t, c.notices("device.message"), 1)
	})
}

// DA-46: a gateway's report for its child, another's and an unknown one.
func TestGatewayReport(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(gateway)
		c.publish(conn, gatewayReport, `{"devices":[{"device_id":"demo_node1","services":[{"service_id":"Battery","properties":{"batteryLevel":1}}]},
			{"device_id":"demo_child1","services":[{"service_id":"Battery","properties":{"batteryLevel":9},"event_time":"20151212T121212Z"}]}]}`)
		require.JSONEq(t, `{"Battery":{"at":"20151212T121212Z","p":{"batteryLevel":9}}}`, c.reported(child))
		require.Equal(t, `{}`, c.reported(demo))
		require.Equal(t, "the device itself, which is no child", c.refusedAs("DA-46/child").Expected)
		require.Contains(t, string(c.notices("device.property")[0].Payload), `"gateway_id":"demo_gw1"`)
		c.publish(conn, gatewayReport, `{"devices":[{"device_id":"nobody","services":[]}]}`)
		require.Contains(t, c.refusedAs("DA-46/child").Expected, child)
		c.publish(conn, gatewayReport, `{"devices":[`+strings.Repeat(`{"device_id":"demo_child1","services":[]},`, 100)+`{"device_id":"demo_child1","services":[]}]}`)
		c.refusedAs("DA-46/count")
		for _, empty := range []string{`{"services":[]}`, `{"devices":[]}`} {
			c.publish(conn, gatewayReport, empty)
			require.Equal(t, empty, c.refusedAs("DA-35/services").Seen)
		}
		c.publish(conn, gatewayReport, `{"devices":[{"services":[{"service_id":"Battery","properties":{"batteryLevel":3}}]}]}`)
		require.Equal(t, `devices[0]: device_id "", 1 services`, c.refusedAs("DA-35/entry").Seen)
		require.Equal(t, `{}`, c.reported(gateway), "it is not the gateway's own")
		c.publish(conn, gatewayReport, `{"devices":[{"device_id":"demo_child1"}]}`)
		require.Equal(t, `devices[0]: device_id "demo_child1", 0 services`, c.refusedAs("DA-35/entry").Seen)
		rule.Proves(t, "DA-46", "DA-46/child", "DA-46/count")
	})
}

// DA-38, DA-43, DA-40/qos2, DA-42: topics and packets.
func TestPublishRefused(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		c.publish(conn, "$oc/devices/"+dev01+"/sys/properties/report", seedReport)
		require.Equal(t, report, c.refusedAs("DA-38/device").Expected)
		require.Equal(t, `{}`, c.reported(dev01))
		for topic, expected := range map[string]string{
			"$oc/devices/demo_node1/sys/property/report":                 report,
			"$oc/devices/demo_node1/properties/report":                   report,
			"$oc/devices/demo_node1/sys/commands/request_id=1":           "$oc/devices/demo_node1/sys/commands/response/request_id={request_id}",
			"$oc/devices/demo_node1/sys/commands/response":               "$oc/devices/demo_node1/sys/commands/response/request_id={request_id}",
			"$oc/devices/demo_node1/sys/properties/report?requestid=abc": report,
			"$SYS/anything": report,
		} {
			c.publish(conn, topic, seedReport)
			e := c.refusedAs("DA-38/topic")
			require.Equal(t, topic, e.Topic)
			require.Equal(t, expected, e.Expected)
		}
		require.Equal(t, `{}`, c.reported(demo))

		conn.Send(brokertest.Publish{Topic: report, Payload: make([]byte, 1<<20+1), QoS: 1, ID: 5}.Bytes())
		conn.ExpectSilence(1)
		c.refusedAs("DA-43/size")
		c.publish(conn, report, seedReport)
		go func() { _, _ = conn.Write(brokertest.Publish{Topic: report, Payload: make([]byte, 2<<20)}.Bytes()) }() // nobody reads it to its end
		conn.ExpectClosed()
		c.refusedAs("DA-43/packet")

		conn = c.join(demo)
		conn.Send(brokertest.Publish{Topic: report, QoS: 2, ID: 6}.Bytes())
		conn.ExpectClosed()
		c.refusedAs("DA-40/qos2")
		rule.Proves(t, "DA-38", "DA-38/device", "DA-38/topic", "DA-43", "DA-43/size", "DA-43/packet", "DA-40/qos2")
	})
}
