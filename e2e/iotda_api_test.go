package e2e

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// A fingerprint with the colons that openssl prints is refused, and the journal shows the right one.
func TestIoTDAFingerprintWithColons(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	answer := iotdaSays(t, cloud, "POST", "/devices", `{"node_id":"n2","product_id":"demo","auth_info":{"auth_type":"CERTIFICATES",`+
		`"fingerprint":"AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD"}}`)
	require.Equal(t, http.StatusBadRequest, answer.StatusCode)
	require.Contains(t, answer.body, `"error_code":"IOTDA.000006"`)
	e := refused(t, cloud, "DA-18/colons")
	require.Equal(t, "AABBCCDDEEFF00112233445566778899AABBCCDD", e.Expected)
}

// A message waits for a device that is offline, and comes when it connects.
func TestIoTDAMessageWaits(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	sent := iotdaSays(t, cloud, "POST", "/devices/demo_node1/messages", `{"message_id":"m1","message":{"hello":1},"ttl":1440}`)
	require.Equal(t, http.StatusCreated, sent.StatusCode, sent.body)
	require.Contains(t, sent.body, `"status":"PENDING"`)
	bad := iotdaSays(t, cloud, "POST", "/devices/demo_node1/messages", `{"message":"x","ttl":7}`)
	require.Equal(t, http.StatusBadRequest, bad.StatusCode)
	refused(t, cloud, "DA-28/ttl")
	c := online(t, cloud)
	m := receive(t, c)
	require.Equal(t, node1Sys+"messages/down", m.Topic())
	require.JSONEq(t, `{"object_device_id":"demo_node1","id":"m1","content":{"hello":1}}`, m.Payload())
	require.Contains(t, iotdaSays(t, cloud, "GET", "/devices/demo_node1/messages/m1", "").body, `"status":"DELIVERED"`)
	rule.Proves(t, "DA-27")
}

// Desired properties set while the device is away come after its CONNECT.
func TestIoTDADesiredWaits(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	set := iotdaSays(t, cloud, "PUT", "/devices/demo_node1/shadow", `{"shadow":[{"service_id":"Battery","desired":{"batteryLevel":50}}]}`)
	require.Equal(t, http.StatusOK, set.StatusCode, set.body)
	stale := iotdaSays(t, cloud, "PUT", "/devices/demo_node1/shadow", `{"shadow":[{"service_id":"Battery","desired":{"batteryLevel":51},"version":7}]}`)
	require.Equal(t, http.StatusBadRequest, stale.StatusCode)
	refused(t, cloud, "DA-52/version")
	c := online(t, cloud)
	p := receive(t, c)
	require.Contains(t, p.Topic(), node1Sys+"properties/set/request_id=")
	require.JSONEq(t, `{"object_device_id":"demo_node1","services":[{"service_id":"Battery","properties":{"batteryLevel":50}}]}`, p.Payload())
	rule.Proves(t, "DA-53")
}

// Resetting the secret with force_disconnect ends the connection, and the old password is void.
func TestIoTDAResetSecret(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := online(t, cloud)
	reset := iotdaSays(t, cloud, "POST", "/devices/demo_node1/action?action_id=resetSecret", `{"secret":"another_secret","force_disconnect":true}`)
	require.Equal(t, http.StatusOK, reset.StatusCode, reset.body)
	wantClosed(t, c)
	again := dial(t, cloud, via{name: iotdaMQTT})
	send(t, again, huawei(node1ID, node1, passwordV1).Bytes())
	wantConnack(t, again, 4)
	rule.Proves(t, "DA-58")
	fresh := dial(t, cloud, via{name: iotdaMQTT})
	send(t, fresh, huawei(node1ID, node1, hmacOf("2025041401", "another_secret")).Bytes())
	wantConnack(t, fresh, 0)
}

// What a device has reported, who is registered and what waits for it survive the end of the process.
func TestIoTDASurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := fakecloud.Start(t, fakecloud.WithDataDir(dir))
	c := online(t, first)
	puback(t, c, node1Sys+"properties/report", `{"services":[{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"20151212T121212Z"}]}`, 1)
	require.Equal(t, http.StatusCreated, iotdaSays(t, first, "POST", "/devices", `{"node_id":"n9","product_id":"demo","auth_info":{"secret":"another_secret"}}`).StatusCode)
	require.Equal(t, http.StatusCreated, iotdaSays(t, first, "POST", "/devices/demo_n9/messages", `{"message_id":"m1","message":"later"}`).StatusCode)
	require.Equal(t, http.StatusOK, ask(t, first, via{name: iotdaAPI}, "PUT /obs/bucket/file", "kept").StatusCode)
	require.NoError(t, first.Close())

	second := fakecloud.Start(t, fakecloud.WithDataDir(dir))
	require.EqualValues(t, 80, reported(t, second, node1, "Battery")["batteryLevel"])
	require.Contains(t, iotdaSays(t, second, "GET", "/devices/demo_node1", "").body, `"status":"OFFLINE"`)
	require.Equal(t, "kept", ask(t, second, via{name: iotdaAPI}, "GET /obs/bucket/file", "").body)
	n9 := dial(t, second, via{name: iotdaMQTT})
	send(t, n9, huawei("demo_n9_0_0_2025041401", "demo_n9", hmacOf("2025041401", "another_secret")).Bytes())
	wantConnack(t, n9, 0)
	require.Contains(t, receive(t, n9).Payload(), `"content":"later"`)
}
