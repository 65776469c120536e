package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// sdkPacket is a PUBLISH of an SDK, below the device's sys topics.
type sdkPacket struct {
	topic, payload string
	qos            byte
}

// wireForm is what one of Huawei's device SDKs sends; the text is as its release writes it.
type wireForm struct {
	sign      string
	local     bool // the time stamp is local time, not UTC
	keepAlive uint16
	websocket bool
	// subscribes are the filters of each SUBSCRIBE packet, all at QoS 0.
	subscribes [][]string
	first      []sdkPacket // what it sends by itself after CONNACK
	report     sdkPacket
	answer     sdkPacket // without topic where the SDK takes no commands
}

const (
	answerTopic = "commands/response/request_id="
	reportTopic = "properties/report"
)

// wireForms are the SDKs by name. All but the one for C# were seen to send this; that one's source says so.
var wireForms = map[string]wireForm{
	"Java 1.2.1": {sign: "0", keepAlive: 120,
		first: []sdkPacket{{"events/up", `{"object_device_id":"demo_node1","services":[{"paras":{"device_sdk_version":"JAVA_v1.2.1","sw_version":null,"fw_version":null},` +
			`"service_id":"$sdk_info","event_type":"sdk_info_report","event_time":"20261128T181500Z","event_id":null}]}`, 1}},
		report: sdkPacket{reportTopic, `{"services":[{"properties":{"batteryLevel":77},"service_id":"Battery","event_time":null}]}`, 1},
		answer: sdkPacket{answerTopic, `{"paras":{"left":1},"result_code":0,"response_name":"stop"}`, 1}},
	"Python 1.2.0": {sign: "1", keepAlive: 120,
		first: []sdkPacket{{"events/up", `{"object_device_id": "demo_node1", "services": [{"service_id": "$log", "event_type": "log_report", "event_time": "2026-11-28T18:50:38Z", ` +
			`"event_id": "", "paras": {"timestamp": "1795891838957", "type": "DEVICE_STATUS", "content": "connect success"}}]}`, 1}},
		report: sdkPacket{reportTopic, `{"services": [{"service_id": "Battery", "properties": {"batteryLevel": 77}, "event_time": null}]}`, 1},
		answer: sdkPacket{answerTopic, `{"result_code": 0, "response_name": "stop", "paras": {"left": 1}}`, 1}},
	"Go 1.0.1": {sign: "0", local: true, keepAlive: 120,
		report: sdkPacket{reportTopic, `{"services":[{"service_id":"Battery","properties":{"batteryLevel":77},"event_time":""}]}`, 0},
		answer: sdkPacket{answerTopic, `{"result_code":0,"response_name":"","paras":{"left":1}}`, 1}},
	"Go ctlove0523 2.0.0": {sign: "0", local: true, keepAlive: 250,
		subscribes: [][]string{{"commands/#"}, {"messages/down"}, {"properties/set/#"}, {"properties/get/#"}, {"shadow/get/response/#"}, {"events/down"}},
		report:     sdkPacket{reportTopic, `{"services":[{"service_id":"Battery","properties":{"batteryLevel":77},"event_time":"20261128T185144Z"}]}`, 0},
		answer:     sdkPacket{answerTopic, `{"result_code":0,"response_name":"","paras":{"left":1}}`, 1}},
	"C of August 2025": {sign: "0", keepAlive: 120,
		report: sdkPacket{reportTopic, "{\n\t\"services\":\t[{\n\t\t\t\"service_id\":\t\"Battery\",\n\t\t\t\"event_time\":\t\"20261128T185725Z\",\n\t\t\t\"properties\":\t{\n\t\t\t\t\"batteryLevel\":\t77\n\t\t\t}\n\t\t}]\n}", 1},
		answer: sdkPacket{answerTopic, "{\n\t\"result_code\":\t0,\n\t\"response_name\":\t\"cmdResponses\",\n\t\"paras\":\t{\n\t\t\"left\":\t1\n\t}\n}", 1}},
	"C# 1.3.4": {sign: "1", keepAlive: 120,
		subscribes: [][]string{{"messages/down", "commands/#", "shadow/get/response/#", "properties/set/#", "properties/get/#", "events/down"}},
		first: []sdkPacket{{"events/up", `{"object_device_id":"demo_node1","services":[{"service_id":"$sdk_info","event_type":"sdk_info_report","event_time":"20261128T181500Z","event_id":null,` +
			`"paras":{"device_sdk_version":"C#_v1.3.4","sw_version":"v1.0","fw_version":"v1.0","event_time":"11/28/2026 18:15:00"}}]}`, 1}},
		report: sdkPacket{reportTopic, `{"services":[{"service_id":"Battery","properties":{"batteryLevel":77},"eventTime":null}]}`, 1},
		answer: sdkPacket{answerTopic, `{"result_code":0,"response_name":null,"paras":{"left":1}}`, 1}},
	"TypeScript 0.0.1": {sign: "1", keepAlive: 120, websocket: true,
		report: sdkPacket{"messages/up", `{"name":"temperature","id":"123","content":"{\"temperature\":25}"}`, 1}},
}

// Each of Huawei's device SDKs connects, reports and answers a command; a device that subscribes to its
// command topics with a wildcard does not get its own answer back.
func TestIoTDAWireFormsOfTheSDKs(t *testing.T) {
	t.Parallel()
	for name, f := range wireForms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			c := f.connect(t, cloud)
			for i, filters := range f.subscribes {
				full := make([]string, len(filters))
				for j := range filters {
					full[j] = node1Sys + filters[j]
				}
				send(t, c, rawmqtt.Subscribe(uint16(i+1), 0, full...))
				wantBytes(t, c, append([]byte{0x90, byte(2 + len(filters)), 0, byte(i + 1)}, make([]byte, len(filters))...)...)
			}
			for i, p := range append(f.first, f.report) {
				p.send(t, c, node1Sys+p.topic, uint16(i+10))
			}
			wantAlive(t, c)
			if f.answer.topic == "" {
				said := cloud.Events(fakecloud.Filter{Device: node1, Kind: "telemetry"})
				require.Len(t, said, 1)
				require.Contains(t, string(said[0].Payload), `"resource":"device.message"`)
				return
			}
			require.Equal(t, map[string]any{"batteryLevel": float64(77)}, reported(t, cloud, node1, "Battery"))
			f.command(t, cloud, c)
		})
	}
	rule.Proves(t, "DA-60")
}

// connect signs in as the SDK does.
func (f wireForm) connect(t *testing.T, cloud *fakecloud.Cloud) *rawmqtt.Conn {
	t.Helper()
	stamp := stampNow()
	if f.local { // of a device in China
		stamp = time.Now().UTC().Add(8 * time.Hour).Format("2006010215")
	}
	connect := huawei("demo_node1_0_"+f.sign+"_"+stamp, node1, hmacOf(stamp, "12345678"))
	connect.KeepAlive = f.keepAlive
	c := dialIoTDA(t, cloud, f.websocket)
	send(t, c, connect.Bytes())
	wantConnack(t, c, 0)
	return c
}

func dialIoTDA(t *testing.T, cloud *fakecloud.Cloud, websocket bool) *rawmqtt.Conn {
	t.Helper()
	if websocket {
		return dialIoTDAStream(t, cloud, "")
	}
	return dial(t, cloud, via{})
}

func (p sdkPacket) send(t *testing.T, c *rawmqtt.Conn, topic string, id uint16) {
	t.Helper()
	if p.qos == 0 {
		send(t, c, rawmqtt.Publish(topic, p.payload, 0, 0, false))
		return
	}
	puback(t, c, topic, p.payload, id)
}

// command has the application send a command, which the SDK answers.
func (f wireForm) command(t *testing.T, cloud *fakecloud.Cloud, c *rawmqtt.Conn) {
	t.Helper()
	back := make(chan reply, 1)
	go func() {
		back <- iotdaSays(t, cloud, "POST", "/devices/demo_node1/commands", `{"service_id":"Battery","command_name":"stop","paras":{"hours":2}}`)
	}()
	asked := receive(t, c)
	require.Equal(t, byte(0x30), asked.First, "QoS 0")
	_, id, found := strings.Cut(asked.Topic(), "/sys/commands/request_id=")
	require.True(t, found, asked.Topic())
	f.answer.send(t, c, node1Sys+f.answer.topic+id, 30)
	got := <-back
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Contains(t, got.body, `"response":{`)
	require.Contains(t, got.body, `"left":1`)
	wantAlive(t, c) // and nothing else came
}
