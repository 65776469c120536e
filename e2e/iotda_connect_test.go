package e2e

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The default world's device connects with vector V1 over TLS by name and by address, without TLS, and over
// WebSocket; each new connection ends the one before.
func TestIoTDAEveryWayIn(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	connect := huawei(node1ID, node1, passwordV1).Bytes()
	var before *rawmqtt.Conn
	for _, open := range []func() *rawmqtt.Conn{
		func() *rawmqtt.Conn { return dial(t, cloud, via{name: iotdaMQTT}) },
		func() *rawmqtt.Conn { return dial(t, cloud, via{}) },
		func() *rawmqtt.Conn { return dial(t, cloud, via{name: "iot-mqtts.cn-north-4.myhuaweicloud.com"}) },
		func() *rawmqtt.Conn { return dialPlain(t, cloud) },
		func() *rawmqtt.Conn { return dialIoTDAStream(t, cloud, iotdaMQTT) },
		func() *rawmqtt.Conn { return dialIoTDAStream(t, cloud, "") },
	} {
		c := open()
		send(t, c, connect)
		wantConnack(t, c, 0)
		wantAlive(t, c)
		if before != nil {
			wantClosed(t, before)
		}
		before = c
	}
	require.Contains(t, iotdaSays(t, cloud, "GET", "/devices/demo_node1", "").body, `"status":"ONLINE"`)
	rule.Proves(t, "DA-1")
	refused(t, cloud, "DA-13/takeover")
}

// The seed's report reaches the shadow, and the control plane's list of devices.
func TestIoTDAReportReachesTheShadow(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := online(t, cloud)
	puback(t, c, node1Sys+"properties/report", `{"services":[{"service_id":"Connectivity","properties":{"dailyActivityTime":57},"event_time":"20151212T121212Z"},`+
		`{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"20151212T121212Z"}]}`, 1)
	shadow := iotdaSays(t, cloud, "GET", "/devices/demo_node1/shadow", "")
	require.Equal(t, http.StatusOK, shadow.StatusCode)
	require.Contains(t, shadow.body, `"reported":{"properties":{"batteryLevel":80},"event_time":"20151212T121212Z"}`)
	require.Contains(t, shadow.body, `"reported":{"properties":{"dailyActivityTime":57},"event_time":"20151212T121212Z"}`)
	rule.Proves(t, "DA-29")
}
