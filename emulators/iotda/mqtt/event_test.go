package mqtt_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// event publishes one event and returns the platform's answer.
func (c *cloud) event(conn *brokertest.Conn, device, service, kind, more, paras string) map[string]any {
	c.t.Helper()
	conn.Send(brokertest.Publish{Topic: "$oc/devices/" + device + "/sys/events/up",
		Payload: []byte(`{"services":[{"service_id":"` + service + `","event_type":"` + kind + `"` + more + `,"paras":` + paras + `}]}`)}.Bytes())
	return c.answer(conn, device)
}

// answer reads the next message on events/down and returns its one event.
func (c *cloud) answer(conn *brokertest.Conn, device string) map[string]any {
	c.t.Helper()
	p := conn.NextPublish()
	require.Equal(c.t, "$oc/devices/"+device+"/sys/events/down", p.Topic)
	var body struct {
		ObjectDeviceID string           `json:"object_device_id"`
		Services       []map[string]any `json:"services"`
	}
	require.NoError(c.t, json.Unmarshal(p.Payload, &body))
	require.Len(c.t, body.Services, 1)
	require.Equal(c.t, device, body.ObjectDeviceID)
	require.NotEmpty(c.t, body.Services[0]["event_time"])
	return body.Services[0]
}

func paras(t *testing.T, event map[string]any) string {
	t.Helper()
	b, err := json.Marshal(event["paras"])
	require.NoError(t, err)
	return string(b)
}

// DA-44: milliseconds as a number, as text from the Python SDK, seconds from the Go SDK: all are echoed.
func TestTimeSync(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		for _, sent := range []string{"1582685678789", `"1582685678789"`, "1582685678"} {
			e := c.event(conn, demo, "$time_sync", "time_sync_request", `,"event_time":"20151212T121212Z","event_id":"e1"`, `{"device_send_time":`+sent+`}`)
			require.Equal(t, []any{"$time_sync", "time_sync_response", "e1"}, []any{e["service_id"], e["event_type"], e["event_id"]})
			var echoed any
			require.NoError(t, json.Unmarshal([]byte(sent), &echoed))
			p := e["paras"].(map[string]any)
			require.Equal(t, echoed, p["device_send_time"])
			require.EqualValues(t, today.UnixMilli(), p["server_recv_time"])
			require.EqualValues(t, today.UnixMilli(), p["server_send_time"])
		}
		e := c.event(conn, demo, "$time_sync", "time_sync_request", "", `{"device_send_time":1}`)
		require.Len(t, e["event_id"], 36)
		rule.Proves(t, "DA-44")
	})
}

// DA-45, and events that need no answer or are unknown.
func TestQuietEvents(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		up := "$oc/devices/demo_node1/sys/events/up"
		c.publish(conn, up, `{"object_device_id":"demo_node1","services":[{"service_id":"$sdk_info","event_type":"sdk_info_report","paras":{"device_sdk_version":"JAVA_v1.2.1","sw_version":"v2","fw_version":null}}]}`)
		c.publish(conn, up, `{"services":[{"service_id":"$ota","event_type":"version_report","paras":{"fw_version":"f1"}}]}`)
		d, err := c.Device(instance, demo)
		require.NoError(t, err)
		require.Equal(t, []string{"JAVA_v1.2.1", "v2", "f1"}, []string{d.SDKVersion, d.SWVersion, d.FWVersion})
		c.publish(conn, up, `{"services":[{"service_id":"$log","event_type":"log_report","paras":{"content":"x"}},{"service_id":"Mixed","event_type":"alarm","paras":{}}]}`)
		require.Len(t, c.notices("device.event"), 3)
		conn.ExpectSilence(1)

		for _, v := range []struct {
			payload string
			id      rule.ID
		}{
			{`{"services":[{"service_id":"$timesync","event_type":"x","paras":{}}]}`, "DA-34/event"},
			{`{"services":[{"service_id":"Mixed","event_type":"alert","paras":{}}]}`, "DA-34/event"},
			{`{"services":[{"service_id":"$sub_device_manager","event_type":"add_sub_device","paras":{}}]}`, "DA-34/event"},
			{`{"services":[{"service_id":"$ota","event_type":"progress_report","paras":{}}]}`, "DA-34/event"},
			{`{"services":[{"service_id":"$sdk_info","event_type":"sdk_info_report","paras":[]}]}`, "DA-35/entry"},
			{`{}`, "DA-35/services"}, {`{"services":[]}`, "DA-35/services"}, {`x`, "DA-35/json"},
			{`{"object_device_id":"nobody","services":[]}`, "DA-46/child"},
		} {
			before, _ := c.journal.Select(journal.Filter{Kind: journal.Refused})
			c.publish(conn, up, v.payload)
			after, _ := c.journal.Select(journal.Filter{Kind: journal.Refused})
			require.Len(t, after, len(before)+1, v.payload)
			require.Equal(t, v.id, after[len(before)].Rule, v.payload)
		}
		require.Equal(t, "add_sub_device_request", func() string {
			c.publish(conn, up, `{"services":[{"service_id":"$sub_device_manager","event_type":"add_sub_device_requests","paras":{}}]}`)
			return c.refusedAs("DA-34/event").Expected
		}())
		e := c.event(conn, demo, "$device_rule", "device_rule_config_request", "", `{"ruleIds":[]}`)
		require.Equal(t, `{"rulesInfos":[]}`, paras(t, e))
		rule.Proves(t, "DA-45", "DA-34/event")
	})
}

// DA-47: adding and deleting children, one by one.
func TestAddChildren(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(gateway)
		e := c.event(conn, gateway, "$sub_device_manager", "add_sub_device_request", `,"event_id":"e7"`,
			`{"devices":[{"parent_device_id":"demo_gw1","node_id":"n2","product_id":"demo","name":"two"},{"node_id":"n3","product_id":"nope"}]}`)
		require.Equal(t, []any{"$sub_device_manager", "add_sub_device_response", "e7"}, []any{e["service_id"], e["event_type"], e["event_id"]})
		require.JSONEq(t, `{"successful_devices":[{"parent_device_id":"demo_gw1","node_id":"n2","device_id":"demo_n2","name":"two","manufacturer_id":"","model":"demo","product_id":"demo","fw_version":"","sw_version":"","status":"INACTIVE"}],
			"failed_devices":[{"node_id":"n3","product_id":"nope","error_code":"IOTDA.000005","error_msg":"product \"nope\" does not exist"}]}`, paras(t, e))
		c.refusedAs("DA-47/child")
		conn.ExpectSilence(time.Second) // no notify beside the answer

		// The Java SDK's service id lacks the dollar sign.
		e = c.event(conn, gateway, "sub_device_manager", "sub_device_sync_request", "", `{}`)
		require.Equal(t, "add_sub_device_notify", e["event_type"])
		require.Len(t, e["paras"].(map[string]any)["devices"], 2)
		require.EqualValues(t, 2, e["paras"].(map[string]any)["version"])
		e = c.event(conn, gateway, "$sub_device_manager", "sub_device_sync_request", "", `{"version":1}`)
		require.Len(t, e["paras"].(map[string]any)["devices"], 1)

		conn.Send(brokertest.Publish{Topic: "$oc/devices/demo_gw1/sys/events/up",
			Payload: []byte(`{"services":[{"service_id":"$sub_device_manager","event_type":"delete_sub_device_request","paras":{"devices":["demo_n2","demo_node1"]}}]}`)}.Bytes())
		require.Equal(t, "delete_sub_device_notify", c.answer(conn, gateway)["event_type"])
		e = c.answer(conn, gateway)
		require.JSONEq(t, `{"successful_devices":["demo_n2"],"failed_devices":[{"device_id":"demo_node1","error_code":"IOTDA.021104","error_msg":"device \"demo_node1\" is no child of this gateway"}]}`, paras(t, e))
		many := c.event(conn, gateway, "$sub_device_manager", "add_sub_device_request", "", `{"devices":[`+strings.Repeat(`{},`, 50)+`{}]}`)
		require.Len(t, many["paras"].(map[string]any)["failed_devices"], 51)
		rule.Proves(t, "DA-47", "DA-47/child")
	})
}

// DA-48, DA-50: what the application does to children, and their status.
func TestChildren(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(gateway)
		_, err := c.CreateDevice(instance, iotda.NewDevice{Device: iotda.Device{NodeID: "n5", ProductID: "demo", GatewayID: gateway}})
		require.NoError(t, err)
		e := c.answer(conn, gateway)
		require.Equal(t, "add_sub_device_notify", e["event_type"])
		require.EqualValues(t, 2, e["paras"].(map[string]any)["version"])
		require.Contains(t, paras(t, e), `"device_id":"demo_n5"`)

		e = c.event(conn, gateway, "$sub_device_manager", "sub_device_update_status", `,"event_id":"s"`,
			`{"device_statuses":[{"device_id":"demo_n5","status":"ONLINE"},{"device_id":"demo_child1","status":"AWAY"},{"device_id":"demo_node1","status":"ONLINE"}]}`)
		require.Equal(t, []any{"sub_device_update_status_response", "s"}, []any{e["event_type"], e["event_id"]})
		require.Contains(t, paras(t, e), `"successful_devices":[{"device_id":"demo_n5","status":"ONLINE"}]`)
		c.refusedAs("DA-50/child")
		require.Equal(t, iotda.Online, c.status("demo_n5"))
		require.Equal(t, iotda.Inactive, c.status(demo))

		c.device("demo_gw2", "12345678")
		_, err = c.ChangeGateway(instance, "demo_n5", "demo_gw2")
		require.NoError(t, err)
		require.Equal(t, "delete_sub_device_notify", c.answer(conn, gateway)["event_type"])
		_, err = c.ChangeGateway(instance, "demo_n5", gateway)
		require.NoError(t, err)
		require.Equal(t, "add_sub_device_notify", c.answer(conn, gateway)["event_type"])
		conn.Send(brokertest.Disconnect)
		conn.ExpectClosed()
		require.Equal(t, iotda.Offline, c.status(gateway))
		require.Equal(t, iotda.Offline, c.status("demo_n5"), "children go with their gateway")
		rule.Proves(t, "DA-48", "DA-50", "DA-50/child")
	})
}

// Records that end: a device that nobody uses in time, a deleted gateway with its children, an instance.
func TestRecordsEnd(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		_, err := c.CreateDevice(instance, iotda.NewDevice{Device: iotda.Device{NodeID: "short", ProductID: "demo", Auth: iotda.AuthInfo{Timeout: 60}}})
		require.NoError(t, err)
		time.Sleep(time.Minute) // of the bubble
		_ = c.status(demo)
		_, err = c.Device(instance, "demo_short")
		require.Error(t, err)

		gw, other := c.join(gateway), c.join(demo)
		require.NoError(t, c.DeleteDevice(instance, gateway))
		gw.ExpectClosed()
		_, err = c.Device(instance, child)
		require.Error(t, err)
		require.True(t, c.DeleteInstance(instance))
		other.ExpectClosed()
		require.Empty(t, c.Devices(instance))
		require.Empty(t, c.Instances())
	})
}
