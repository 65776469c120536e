package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const gatewayWorld = `
iotda:
  instances:
    - name: fakecloud
      devices:
        - {deviceId: demo_kid, productId: demo, gatewayId: demo_node1}
        - {deviceId: demo_gw2, productId: demo, secret: "12345678"}
        - {deviceId: demo_foreign, productId: demo, gatewayId: demo_gw2}
`

// reported returns what the shadow holds of a service's reported properties.
func reported(t *testing.T, cloud *fakecloud.Cloud, device, service string) map[string]any {
	t.Helper()
	answer := iotdaSays(t, cloud, "GET", "/devices/"+device+"/shadow", "")
	require.Equal(t, http.StatusOK, answer.StatusCode, answer.body)
	var got struct {
		Shadow []struct {
			ServiceID string `json:"service_id"`
			Reported  struct{ Properties map[string]any }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(answer.body), &got))
	for _, s := range got.Shadow {
		if s.ServiceID == service {
			return s.Reported.Properties
		}
	}
	return nil
}

// What a report has wrong is dropped without a sign on the wire, named in the journal, and the link stays.
func TestIoTDABadReports(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := online(t, cloud)
	topic := node1Sys + "properties/report"
	for i, bad := range []struct {
		payload string
		rule    rule.ID
	}{
		{`{"services":[{"service_id":"Battery","properties":{"batteryLevel":"80"}}]}`, "DA-33/type"},
		{`{"services":[{"service_id":"Battery","properties":{"batteryLevel":80.5}}]}`, "DA-33/type"},
		{`{"services":[{"service_id":"Battery","properties":{"batteryLevel":101}}]}`, "DA-33/range"},
		{`{"services":[{"service_id":"battery","properties":{"batteryLevel":80}}]}`, "DA-34/service"},
		{`{"services":[{"service_id":"Battery","properties":{"level":80}}]}`, "DA-34/property"},
		{`services: []`, "DA-35/json"},
		{`{"service":[]}`, "DA-35/services"},
		{`{"services":[{"service_id":"Battery","properties":80}]}`, "DA-35/entry"},
		{"\xff\xfe", "DA-35/json"},
		{`{"services":[{"service_id":"Battery","properties":{"batteryLevel":` + strings.Repeat("[", 5000), "DA-35/json"},
	} {
		puback(t, c, topic, bad.payload, uint16(i+1))
		refused(t, cloud, bad.rule)
	}
	require.Nil(t, reported(t, cloud, node1, "Battery"))
	wantAlive(t, c)
}

// A topic of another device, a topic that only the platform uses, and an unknown one store nothing.
func TestIoTDAForeignTopics(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(gatewayWorld))
	c := online(t, cloud)
	puback(t, c, "$oc/devices/demo_gw2/sys/properties/report", `{"services":[{"service_id":"Battery","properties":{"batteryLevel":80}}]}`, 1)
	refused(t, cloud, "DA-38/device")
	puback(t, c, node1Sys+"property/report", `{}`, 2)
	e := refused(t, cloud, "DA-38/topic")
	require.Equal(t, node1Sys+"properties/report", e.Expected)
	require.Nil(t, reported(t, cloud, "demo_gw2", "Battery"))
	send(t, c, rawmqtt.Subscribe(3, 1, "$oc/devices/demo_gw2/sys/messages/down"))
	wantBytes(t, c, 0x90, 3, 0, 3, 0x80)
	refused(t, cloud, "DA-39/device")
	send(t, c, rawmqtt.Subscribe(4, 1, "$oc/devices/+/sys/#"))
	wantBytes(t, c, 0x90, 3, 0, 4, 0x80)
	refused(t, cloud, "DA-39/filter")
	send(t, c, rawmqtt.Subscribe(5, 2, node1Sys+"messages/down"))
	wantBytes(t, c, 0x90, 3, 0, 5, 1)
	wantAlive(t, c)
	send(t, c, rawmqtt.Publish(node1Sys+"properties/report", "{}", 2, 6, false))
	wantClosed(t, c)
	refused(t, cloud, "DA-40/qos2")
}

// A gateway speaks for its own child; the child of another gateway is skipped and named.
func TestIoTDAGatewayReports(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(gatewayWorld))
	c := online(t, cloud)
	battery := `"services":[{"service_id":"Battery","properties":{"batteryLevel":7}}]`
	puback(t, c, node1Sys+"gateway/sub_devices/properties/report", `{"devices":[{"device_id":"demo_foreign",`+battery+`},{"device_id":"demo_kid",`+battery+`}]}`, 1)
	require.EqualValues(t, 7, reported(t, cloud, "demo_kid", "Battery")["batteryLevel"])
	require.Nil(t, reported(t, cloud, "demo_foreign", "Battery"))
	require.Contains(t, refused(t, cloud, "DA-46/child").Seen, "demo_foreign")
	wantAlive(t, c)
}

// Two thousand reports at once from one device: every one is acknowledged in order and counted in the
// shadow's version, and the instance serves others meanwhile.
func TestIoTDATwoThousandReports(t *testing.T) {
	t.Parallel()
	const n = 2000
	cloud := fakecloud.Start(t)
	c := online(t, cloud)
	sent := make(chan error, 1)
	go func() {
		var all []byte
		for i := 1; i <= n; i++ {
			all = append(all, rawmqtt.Publish(node1Sys+"properties/report",
				fmt.Sprintf(`{"services":[{"service_id":"Connectivity","properties":{"dailyActivityTime":%d}}]}`, i), 1, uint16(i), false)...)
		}
		_, err := c.Write(all)
		sent <- err
	}()
	for i := 1; i <= n; i++ {
		wantBytes(t, c, 0x40, 2, byte(i>>8), byte(i))
		if i == n/2 {
			require.Equal(t, http.StatusOK, iotdaSays(t, cloud, "GET", "/devices", "").StatusCode)
		}
	}
	require.NoError(t, <-sent)
	answer := iotdaSays(t, cloud, "GET", "/devices/demo_node1/shadow", "")
	require.Contains(t, answer.body, `"dailyActivityTime":2000`)
	require.Contains(t, answer.body, `"version":2000`)
	wantAlive(t, c)
}

// Compressed reports are unpacked, and what is no gzip or too large is named.
func TestIoTDAGzip(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := online(t, cloud)
	pack := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return b.String()
	}
	topic := node1Sys + "properties/report?encoding=gzip"
	puback(t, c, topic, pack(`{"services":[{"service_id":"Battery","properties":{"batteryLevel":33}}]}`), 1)
	require.EqualValues(t, 33, reported(t, cloud, node1, "Battery")["batteryLevel"])
	rule.Proves(t, "DA-37")
	puback(t, c, topic, `{"services":[]}`, 2)
	refused(t, cloud, "DA-37/gzip")
	puback(t, c, topic, pack(strings.Repeat(" ", 2<<20)), 3) // a bomb: 2 MB of blanks in 2 KB
	require.Len(t, cloud.Events(fakecloud.Filter{Rule: "DA-37/gzip"}), 2)
	send(t, c, rawmqtt.Publish(node1Sys+"messages/up", strings.Repeat("x", 1<<20+1), 1, 4, false))
	wantAlive(t, c) // no PUBACK before the PINGRESP: rejected
	refused(t, cloud, "DA-43/size")
}

// A will is never sent and nothing is retained.
func TestIoTDANoWillNothingRetained(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(gatewayWorld))
	watcher := dial(t, cloud, via{name: iotdaMQTT})
	send(t, watcher, huawei("demo_gw2_0_0_2025041401", "demo_gw2", passwordV1).Bytes())
	wantConnack(t, watcher, 0)
	send(t, watcher, rawmqtt.Subscribe(1, 1, "shared/#"))
	wantBytes(t, watcher, 0x90, 3, 0, 1, 1)
	c := dial(t, cloud, via{name: iotdaMQTT})
	connect := huawei(node1ID, node1, passwordV1)
	connect.Will = &rawmqtt.Will{Topic: "shared/will", Payload: "gone"}
	send(t, c, connect.Bytes())
	wantConnack(t, c, 0)
	send(t, c, rawmqtt.Publish("shared/kept", "x", 1, 2, true))
	wantBytes(t, c, 0x40, 2, 0, 2)
	require.NoError(t, c.Close())
	wantAlive(t, watcher)
	send(t, watcher, rawmqtt.Subscribe(2, 1, "shared/kept"))
	wantBytes(t, watcher, 0x90, 3, 0, 2, 1)
	wantAlive(t, watcher)
	rule.Proves(t, "DA-42")
}

// A command travels to a device that never subscribed, and its answer back to the caller who waits; without
// an answer the caller has IOTDA.014111 after 20 s, and of a device that is offline 403 at once.
func TestIoTDACommands(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	call := `{"service_id":"Battery","command_name":"recharge","paras":{"hours":2}}`
	offline := iotdaSays(t, cloud, "POST", "/devices/demo_node1/commands", call)
	require.Equal(t, http.StatusForbidden, offline.StatusCode)
	require.Contains(t, offline.body, "IOTDA.014016")
	refused(t, cloud, "DA-25/offline")

	c := online(t, cloud)
	answer := make(chan reply, 1)
	go func() { answer <- iotdaSays(t, cloud, "POST", "/devices/demo_node1/commands", call) }()
	command := receive(t, c)
	require.Equal(t, byte(0x30), command.First, "QoS 0")
	path, id, found := strings.Cut(command.Topic(), "/request_id=")
	require.True(t, found)
	require.Equal(t, node1Sys+"commands", path)
	require.JSONEq(t, `{"object_device_id":"demo_node1","service_id":"Battery","command_name":"recharge","paras":{"hours":2}}`, command.Payload())
	puback(t, c, node1Sys+"commands/response/request_id="+id, `{"result_code":0,"response_name":"ok","paras":{"left":1}}`, 1)
	got := <-answer
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Contains(t, got.body, `"response":{"result_code":0,"response_name":"ok","paras":{"left":1}}`)
	rule.Proves(t, "DA-21")
	rule.Proves(t, "DA-23")

	go func() { answer <- iotdaSays(t, cloud, "POST", "/devices/demo_node1/commands", call) }()
	late := receive(t, c)
	require.NoError(t, cloud.Advance(20*time.Second))
	got = <-answer
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Contains(t, got.body, "IOTDA.014111")
	refused(t, cloud, "DA-24/timeout")
	puback(t, c, strings.Replace(late.Topic(), "commands/", "commands/response/", 1), `{"result_code":0}`, 2)
	refused(t, cloud, "DA-26/unknown")
	wantAlive(t, c)
}

// A device of the v3 interface subscribes, gets the command in the older form and answers with deviceRsp.
func TestIoTDALegacyCommand(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := online(t, cloud)
	send(t, c, rawmqtt.Subscribe(1, 0, "/huawei/v1/devices/demo_node1/command/json"))
	wantBytes(t, c, 0x90, 3, 0, 1, 0)
	answer := make(chan reply, 1)
	go func() {
		answer <- iotdaSays(t, cloud, "POST", "/devices/demo_node1/commands", `{"service_id":"Battery","command_name":"recharge","paras":{"hours":2}}`)
	}()
	command := receive(t, c)
	require.Equal(t, "/huawei/v1/devices/demo_node1/command/json", command.Topic())
	require.Equal(t, `{"msgType":"cloudReq","serviceId":"Battery","cmd":"recharge","paras":{"hours":2},"mid":1}`, command.Payload())
	puback(t, c, "/huawei/v1/devices/demo_node1/data/json", `{"msgType":"deviceRsp","mid":1,"errcode":1,"body":{"left":1}}`, 1)
	got := <-answer
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Contains(t, got.body, `"response":{"result_code":1,"paras":{"left":1}}`)
}

// The admin API's disconnect ends the connection by the device id.
func TestIoTDAAdminDisconnects(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := online(t, cloud)
	require.NoError(t, cloud.Plane().Devices.Disconnect("iotda", "fakecloud", node1))
	wantClosed(t, c)
	d, err := cloud.Plane().Devices.Get("iotda", "fakecloud", node1)
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(d.State), "12345678", "secrets stay hidden")
}

// A report on a topic that has lost its $oc is a message on a custom topic, as the platform takes it; the journal
// says what was meant.
func TestIoTDATopicWithoutItsBeginning(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := online(t, cloud)
	puback(t, c, "/devices/demo_node1/sys/properties/report", `{"services":[{"service_id":"Battery","properties":{"batteryLevel":80}}]}`, 1)
	require.Equal(t, "$oc/devices/demo_node1/sys/properties/report", refused(t, cloud, "DA-56/lookalike").Expected)
	require.Nil(t, reported(t, cloud, node1, "Battery"))
	require.Len(t, cloud.Events(fakecloud.Filter{Device: node1, Kind: "telemetry"}), 1)
	puback(t, c, "plant/7/alarm", "x", 2)
	require.Len(t, cloud.Events(fakecloud.Filter{Rule: "DA-56/lookalike"}), 1)
	wantAlive(t, c)
}
