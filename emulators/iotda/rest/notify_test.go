package rest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// forwardEverything makes an active rule with one action for each subject.
func (a *api) forwardEverything(url string, subjects ...string) {
	a.t.Helper()
	for _, subject := range subjects {
		resource, event, _ := strings.Cut(subject, ":")
		r := a.must(201, "POST", "/routing-rule/rules", `{"rule_name":"r","subject":{"resource":"`+resource+`","event":"`+event+`"}}`)
		id := r["rule_id"].(string)
		a.must(201, "POST", "/routing-rule/actions", `{"rule_id":"`+id+`","channel":"HTTP_FORWARDING","channel_detail":{"http_forwarding":{"url":"`+url+`"}}}`)
		a.must(200, "PUT", "/routing-rule/rules/"+id, `{"active":true}`)
	}
}

// told is a notification: what it is about, and its notify_data.
type told struct {
	Resource  string          `json:"resource"`
	Event     string          `json:"event"`
	EventTime string          `json:"event_time"`
	Millis    string          `json:"event_time_ms"`
	RequestID string          `json:"request_id"`
	Data      json.RawMessage `json:"notify_data"`
}

// DA-57: what an application does to devices, products, messages and batch tasks is forwarded as the pages
// iot_06_v5_01203 to 01211 print it.
func TestForwardedRecords(t *testing.T) {
	t.Parallel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a := newForwardingAPI(t, poster{client})
	url, bodies, status := application(t)
	a.forwardEverything(url, "device:create", "device:update", "device:delete", "product:create", "product:update", "product:delete",
		"device.message.status:update", "batchtask:update")
	next := func(subject, data string) {
		t.Helper()
		status <- 200
		var n told
		require.NoError(t, json.Unmarshal([]byte(<-bodies), &n))
		require.Equal(t, subject, n.Resource+":"+n.Event)
		require.Regexp(t, `^\d{8}T\d{6}Z$`, n.EventTime)
		require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`, n.Millis)
		require.Len(t, n.RequestID, 36)
		require.JSONEq(t, data, string(n.Data))
	}
	body := func(v any) string {
		t.Helper()
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return `{"body":` + string(b) + `}`
	}

	p := a.must(201, "POST", "/products", seedProduct)
	app := p["app_id"].(string)
	next("product:create", body(p))
	p = a.must(200, "PUT", "/products/demo", `{"name":"new"}`)
	next("product:update", body(p))

	d := a.must(201, "POST", "/devices", `{"node_id":"node1","product_id":"demo","auth_info":{"secret":"12345678","timeout":300},"extension_info":{"a":1}}`)
	require.Equal(t, "12345678", d["auth_info"].(map[string]any)["secret"])
	delete(d["auth_info"].(map[string]any), "secret")
	require.Equal(t, "INACTIVE", d["status"])
	next("device:create", body(d))
	a.must(200, "PUT", "/devices/demo_node1", `{}`) // nothing to tell
	d = a.must(200, "PUT", "/devices/demo_node1", `{"device_name":"kitchen"}`)
	delete(d["auth_info"].(map[string]any), "secret")
	require.Equal(t, "kitchen", d["device_name"])
	next("device:update", body(d))

	header := `{"header":{"app_id":"` + app + `","device_id":"demo_node1","node_id":"node1","product_id":"demo","gateway_id":"demo_node1","tags":[]}`
	message := func(id, state, more string) string {
		box := a.must(200, "GET", "/devices/demo_node1/messages/"+id, "")
		at := box["finished_time"]
		if at == nil || at == "" {
			at = box["created_time"]
		}
		return header + `,"body":{"topic":"$oc/devices/demo_node1/sys/messages/down","message_id":"` + id + `","name":"n","status":"` + state + `","timestamp":"` + at.(string) + `"` + more + `}}`
	}
	a.must(201, "POST", "/devices/demo_node1/messages", `{"message_id":"m0","name":"n","message":"x","ttl":0}`)
	next("device.message.status:update", message("m0", "FAILED", `,"error_info":{"error_code":"IOTDA.014016","error_msg":"The device is not online."}`))
	a.must(201, "POST", "/devices/demo_node1/messages", `{"message_id":"m1","name":"n","message":"x"}`)
	next("device.message.status:update", message("m1", "PENDING", ""))
	_, session := a.connect("demo_node1")
	next("device.message.status:update", message("m1", "DELIVERED", ""))
	session.Close()

	task := a.must(201, "POST", "/batchtasks", `{"task_name":"t","task_type":"freezeDevices","targets":["demo_node1"]}`)
	of := func(state string) string {
		return body(map[string]any{"app_id": app, "task_id": task["task_id"], "task_type": "freezeDevices", "status": state, "status_desc": state})
	}
	next("batchtask:update", of("Waitting"))
	status <- 200
	require.Contains(t, <-bodies, `"status":"FROZEN"`)
	next("batchtask:update", of("Success"))

	a.must(204, "DELETE", "/devices/demo_node1", "")
	next("device:delete", header+`}`)
	a.must(204, "DELETE", "/products/demo", "")
	next("product:delete", `{"body":{"app_id":"`+app+`","product_id":"demo","name":"new"}}`)
	require.Empty(t, bodies)
	events, _ := a.journal.Select(journal.Filter{Kind: journal.HTTP})
	for _, e := range events {
		require.NotContains(t, string(e.Payload), "12345678")
	}
	rule.Proves(t, "DA-57")
}
