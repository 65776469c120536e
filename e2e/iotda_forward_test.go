package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// forwardTo makes a rule of one subject with this address, as an application does.
func forwardTo(t *testing.T, cloud *fakecloud.Cloud, resource, event, url string) {
	t.Helper()
	made := iotdaSays(t, cloud, "POST", "/routing-rule/rules", `{"rule_name":"to-app","subject":{"resource":"`+resource+`","event":"`+event+`"},"app_type":"GLOBAL"}`)
	require.Equal(t, http.StatusCreated, made.StatusCode, made.body)
	var r struct {
		ID string `json:"rule_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(made.body), &r))
	action := iotdaSays(t, cloud, "POST", "/routing-rule/actions", `{"rule_id":"`+r.ID+`","channel":"HTTP_FORWARDING","channel_detail":{"http_forwarding":{"url":"`+url+`"}}}`)
	require.Equal(t, http.StatusCreated, action.StatusCode, action.body)
	active := iotdaSays(t, cloud, "PUT", "/routing-rule/rules/"+r.ID, `{"active":true}`)
	require.Equal(t, http.StatusOK, active.StatusCode, active.body)
}

// A report is posted to the application as the page's notification, with the request id of the topic.
func TestIoTDAForwardsOverHTTP(t *testing.T) {
	t.Parallel()
	bodies := make(chan string, 1)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err == nil {
			bodies <- string(b)
		}
	}))
	t.Cleanup(app.Close)
	cloud := fakecloud.Start(t)
	forwardTo(t, cloud, "device.property", "report", app.URL+"/notify")
	c := online(t, cloud)
	puback(t, c, node1Sys+"properties/report?request_id=abc", `{"services":[{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"20151212T121212Z"}]}`, 1)
	var n struct {
		Resource, Event string
		RequestID       string `json:"request_id"`
		Data            struct {
			Header map[string]any
			Body   json.RawMessage
		} `json:"notify_data"`
	}
	require.NoError(t, json.Unmarshal([]byte(<-bodies), &n))
	require.Equal(t, "device.property", n.Resource)
	require.Equal(t, "report", n.Event)
	require.Equal(t, "abc", n.RequestID)
	require.Equal(t, "demo_node1", n.Data.Header["gateway_id"])
	require.JSONEq(t, `{"services":[{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"20151212T121212Z"}]}`, string(n.Data.Body))
	rule.Proves(t, "DA-57")
	rule.Proves(t, "DA-36")
}

// A device that an application registers, a message that waits for it and one that it gets are told of too.
func TestIoTDAForwardsRecords(t *testing.T) {
	t.Parallel()
	bodies := make(chan string, 1)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err == nil {
			bodies <- string(b)
		}
	}))
	t.Cleanup(app.Close)
	cloud := fakecloud.Start(t)
	forwardTo(t, cloud, "device", "create", app.URL)
	forwardTo(t, cloud, "device.message.status", "update", app.URL)
	made := iotdaSays(t, cloud, "POST", "/devices", `{"node_id":"new","product_id":"demo","auth_info":{"secret":"87654321"}}`)
	require.Equal(t, http.StatusCreated, made.StatusCode, made.body)
	told := <-bodies
	require.Contains(t, told, `{"resource":"device","event":"create","event_time":"`)
	require.Contains(t, told, `"notify_data":{"body":{"app_id":"`)
	require.Contains(t, told, `"device_id":"demo_new"`)
	require.Contains(t, told, `"status":"INACTIVE"`)
	require.NotContains(t, told, "87654321")
	sent := iotdaSays(t, cloud, "POST", "/devices/demo_node1/messages", `{"message_id":"m1","message":"hello"}`)
	require.Equal(t, http.StatusCreated, sent.StatusCode, sent.body)
	require.Contains(t, <-bodies, `"message_id":"m1","name":"","status":"PENDING"`)
	online(t, cloud)
	require.Contains(t, <-bodies, `"message_id":"m1","name":"","status":"DELIVERED"`)
	rule.Proves(t, "DA-57")
}

// A host that neither the world nor --allow-outbound names is not called, and the journal says so.
func TestIoTDAForwardsToNobodyElse(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	forwardTo(t, cloud, "device.property", "report", "http://app.example.com/notify")
	c := online(t, cloud)
	puback(t, c, node1Sys+"properties/report", `{"services":[{"service_id":"Battery","properties":{"batteryLevel":80}}]}`, 1)
	ctx, cancel := context.WithTimeout(t.Context(), rawmqtt.Patience)
	defer cancel()
	events, err := cloud.Await(ctx, fakecloud.Filter{Rule: "OUT-1/host"}, 1)
	require.NoError(t, err)
	require.Contains(t, events[0].Expected, "--allow-outbound")
	require.Equal(t, node1, events[0].Device)
	wantAlive(t, c)
}

// A rule for a resource or an event that no notification has is refused; its nearest kin is named.
func TestIoTDARefusesUnknownSubjects(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	for subject, near := range map[string]string{
		`{"resource":"device.propertie","event":"report"}`: "resource device.property, event report",
		`{"resource":"device","event":"updated"}`:          "resource device, event update",
		`{"resource":"device.status","event":"report"}`:    "resource device.status, event one of update",
		`{"resource":"weather","event":"report"}`:          "resource one of batchtask, device, ",
		`{}`: "resource one of batchtask, device, ",
	} {
		answer := iotdaSays(t, cloud, "POST", "/routing-rule/rules", `{"rule_name":"to-app","subject":`+subject+`}`)
		require.Equal(t, http.StatusBadRequest, answer.StatusCode, subject)
		require.Contains(t, answer.body, `"error_code":"IOTDA.000006"`)
		require.Contains(t, answer.body, near)
		events := cloud.Events(fakecloud.Filter{Rule: "DA-57/subject"})
		require.Contains(t, events[len(events)-1].Expected, near)
	}
	require.NotEmpty(t, refused(t, cloud, "DA-57/subject").Fix)
	all := iotdaSays(t, cloud, "GET", "/routing-rule/rules", "")
	require.Contains(t, all.body, `"count":0`)
}

// A rule's SQL chooses what is forwarded, and when; one that cannot be read is refused. The page's own example.
func TestIoTDAForwardsBySQL(t *testing.T) {
	t.Parallel()
	bodies := make(chan string, 4)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err == nil {
			bodies <- string(b)
		}
	}))
	t.Cleanup(app.Close)
	cloud := fakecloud.Start(t, fakecloud.WithWorld(`iotda: {instances: [{name: fakecloud, forwarding: [{id: hot, resource: device.property, event: report,
  select: "notify_data.header.device_id AS device_id, notify_data.body.services[0].properties",
  where: "notify_data.body.services[0].properties.batteryLevel > 38", actions: [{id: a, url: "`+app.URL+`"}]}]}]}`))
	c := online(t, cloud)
	for i, level := range []string{"38", "40"} {
		puback(t, c, node1Sys+"properties/report", `{"services":[{"service_id":"Battery","properties":{"batteryLevel":`+level+`}}]}`, uint16(i+1))
	}
	require.JSONEq(t, `{"device_id":"demo_node1","notify_data.body.services[0].properties":{"batteryLevel":40}}`, <-bodies)
	shown := iotdaSays(t, cloud, "GET", "/routing-rule/rules/hot", "")
	require.Contains(t, shown.body, `.batteryLevel > 38"`)
	wrong := iotdaSays(t, cloud, "PUT", "/routing-rule/rules/hot", `{"where":"batteryLevel >"}`)
	require.Equal(t, http.StatusBadRequest, wrong.StatusCode)
	require.Contains(t, wrong.body, "where: at the end: expected a variable")
	rule.Proves(t, "DA-57")
}
