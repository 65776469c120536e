package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The console's log collection and remote configuration reach a device that never subscribed, a child by its
// gateway; what the device answers is in the journal. One that is offline is refused.
func TestIoTDAConsole(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(gatewayWorld))
	until := time.Now().Add(time.Hour)
	require.ErrorContains(t, cloud.ConfigureLog("fakecloud", node1, true, until), "not online")
	refused(t, cloud, "DA-25/offline")
	c := online(t, cloud)

	require.NoError(t, cloud.ConfigureLog("fakecloud", node1, true, until))
	on := receive(t, c)
	require.Equal(t, node1Sys+"events/down", on.Topic())
	require.Equal(t, map[string]any{"switch": "on", "end_time": until.UTC().Format("20060102T150405Z")}, paras(t, on, "$log", "log_config"))
	require.NoError(t, cloud.ConfigureLog("fakecloud", node1, false, time.Time{}))
	require.Equal(t, map[string]any{"switch": "off"}, paras(t, receive(t, c), "$log", "log_config"))
	puback(t, c, node1Sys+"events/up", event("$log", "log_report", `{"timestamp":"1235668997","type":"DEVICE_MESSAGE","content":"log content"}`), 1)

	require.NoError(t, cloud.UpdateConfig("FakeCloud", "demo_kid", []byte(`{"period":9007199254740993}`)))
	config := receive(t, c)
	require.Contains(t, config.Payload(), `"object_device_id":"demo_kid"`)
	require.Contains(t, config.Payload(), `"paras":{"config_content":{"period":9007199254740993}}`)
	require.Contains(t, config.Payload(), `"service_id":"$device_config"`)
	puback(t, c, node1Sys+"events/up", strings.Replace(event("$device_config", "config_update_response", `{"result_code":0,"description":"update config success"}`), node1, "demo_kid", 1), 2)
	for _, want := range []string{"log content", "update config success"} {
		told := cloud.Events(fakecloud.Filter{Kind: "property", Match: func(e *fakecloud.Event) bool { return strings.Contains(string(e.Payload), want) }})
		require.Len(t, told, 1, want)
	}
	rule.Proves(t, "DA-21")

	for _, wrong := range []error{
		cloud.ConfigureLog("fakecloud", node1, true, time.Now().Add(-time.Hour)),
		cloud.UpdateConfig("fakecloud", node1, []byte(`[1]`)),
		cloud.UpdateConfig("fakecloud", node1, []byte(`{"big":"`+strings.Repeat("x", 70_000)+`"}`)),
		cloud.UpdateConfig("fakecloud", "demo_none", []byte(`{}`)),
		cloud.UpdateConfig("none", node1, []byte(`{}`)),
	} {
		require.Error(t, wrong)
	}
	wantAlive(t, c) // and nothing came of these
}
