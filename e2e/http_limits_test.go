package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const throttled = "azure: {hubs: [{name: contoso, throttle: S1}]}"

// burst is n packets in one write, so that they arrive within a fraction of a second.
func burst(packet []byte, n int) []byte {
	return []byte(strings.Repeat(string(packet), n))
}

// A twin burst is answered with 429 and recovers.
func TestHubThrottlesTwins(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t, throttled)
	conn := signIn(t, cloud, dev01())
	send(t, conn, rawmqtt.Subscribe(1, 0, "$iothub/twin/res/#"))
	wantBytes(t, conn, 0x90, 0x03, 0x00, 0x01, 0x00)
	const n = 300
	go conn.Write(burst(rawmqtt.Publish("$iothub/twin/PATCH/properties/reported/?$rid=1", `{"a":1}`, 0, 0, false), n))
	statuses := map[string]int{}
	for range n {
		p := receive(t, conn)
		status := strings.Split(p.Topic(), "/")[3]
		if statuses[status]++; status == "429" && statuses[status] == 1 {
			require.Equal(t, "$iothub/twin/res/429/?$rid=1", p.Topic())
			require.Contains(t, p.Payload(), `"errorCode":429001`)
		}
	}
	require.GreaterOrEqual(t, statuses["204"], 50)
	require.NotZero(t, statuses["429"])
	require.Equal(t, n, statuses["204"]+statuses["429"])
	refused(t, cloud, "HUB-59/twin")
	require.NoError(t, cloud.Advance(time.Second))
	send(t, conn, rawmqtt.Publish("$iothub/twin/PATCH/properties/reported/?$rid=2", `{"a":2}`, 0, 0, false))
	require.Contains(t, receive(t, conn).Topic(), "$iothub/twin/res/204/?$rid=2")
	rule.Proves(t, "HUB-59")
}

// A telemetry flood closes the connection; over HTTPS it answers 429.
func TestHubThrottlesTelemetry(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t, throttled)
	conn := signIn(t, cloud, dev01())
	go conn.Write(burst(rawmqtt.Publish(eventsDev01, "x", 0, 0, false), 3000))
	wantClosed(t, conn)
	refused(t, cloud, "HUB-59/telemetry")
	n := len(cloud.Events(fakecloud.Filter{Kind: "telemetry"}))
	require.GreaterOrEqual(t, n, 100)
	require.Less(t, n, 3000)
	require.NoError(t, cloud.Advance(time.Second))
	say(t, signIn(t, cloud, dev01()), eventsDev01, "recovered")
}

func TestHubThrottlesHTTP(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t, throttled)
	for i := range 2 {
		beginUpload(t, cloud, fmt.Sprint(i))
	}
	body := "[" + strings.Repeat(`{"body":"","base64Encoded":false},`, 400) + `{"body":""}]`
	wantHubError(t, contosoSays(t, cloud, postEvents, body, "Content-Type: application/vnd.microsoft.iothub.json"), 429, "ThrottlingException")
	refused(t, cloud, "HUB-59/telemetry")
	conn := dialHTTPS(t, cloud, via{name: contosoHost}) // a second allows 17 polls
	const n = 60
	go conn.Write(burst([]byte("GET /devices/dev-01/messages/deviceBound"+version+" HTTP/1.1\r\nHost: "+contosoHost+"\r\nAuthorization: "+tokenV1+"\r\n\r\n"), n))
	in, statuses := bufio.NewReader(conn), map[int]int{}
	for range n {
		answer, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, answer.Body)
		require.NoError(t, err)
		statuses[answer.StatusCode]++
	}
	require.NotZero(t, statuses[429])
	require.GreaterOrEqual(t, statuses[204], 17)
	require.Equal(t, n, statuses[204]+statuses[429])
	refused(t, cloud, "HUB-59/requests")
}

// Without the profile nothing is throttled, and it can be put in force on live connections.
func TestHubThrottleIsSwitched(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, dev01())
	go conn.Write(burst(rawmqtt.Publish(eventsDev01, "x", 0, 0, false), 1000))
	telemetry(t, cloud, "dev-01", 1000)
	patch(t, cloud, throttled)
	go conn.Write(burst(rawmqtt.Publish(eventsDev01, "x", 0, 0, false), 3000))
	wantClosed(t, conn)
	refused(t, cloud, "HUB-59/telemetry")
}

// fault publishes telemetry that asks for one and sees the PUBACK.
func faulty(t *testing.T, conn *rawmqtt.Conn, kind, delay, duration string) {
	t.Helper()
	say(t, conn, eventsDev01+"AzIoTHub_FaultOperationType="+kind+"&AzIoTHub_FaultOperationCloseReason=boom&AzIoTHub_FaultOperationDelayInSecs="+
		delay+"&AzIoTHub_FaultOperationDurationInSecs="+duration, "x")
}

func TestHubFaultPropertiesClose(t *testing.T) {
	t.Parallel()
	for kind, id := range map[string]rule.ID{"KillTcp": "HUB-68/kill", "ShutDownMqtt": "HUB-69/shutdown"} {
		for _, delay := range []string{"0", "1"} {
			cloud := startContoso(t)
			conn := signIn(t, cloud, dev01())
			faulty(t, conn, kind, delay, "0")
			if delay != "0" {
				wantAlive(t, conn)
				require.NoError(t, cloud.Advance(time.Second))
			}
			wantClosed(t, conn)
			require.Contains(t, refused(t, cloud, id).Seen, kind)
			rule.Proves(t, id.Row())
			wantAlive(t, signIn(t, cloud, dev01())) // it may come back at once
		}
	}
}

func TestHubFaultPropertiesThrottle(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]struct {
		rule   rule.ID
		status int
		name   string
	}{
		"InvokeThrottling":      {"HUB-70/throttling", 429, "ThrottlingException"},
		"InvokeMaxMessageQuota": {"HUB-70/quota", 403, "IotHubQuotaExceeded"},
	} {
		cloud := startContoso(t)
		conn := signIn(t, cloud, dev01())
		faulty(t, conn, kind, "0", "5")
		faultBegun(t, cloud)
		send(t, conn, rawmqtt.Publish(eventsDev01, "lost", 1, 8, false))
		wantClosed(t, conn)
		refused(t, cloud, want.rule)
		wantHubError(t, contosoSays(t, cloud, postEvents, "lost"), want.status, want.name)
		again := signIn(t, cloud, dev01())
		require.NoError(t, cloud.Advance(5*time.Second))
		say(t, again, eventsDev01, "normal")
		require.Len(t, telemetry(t, cloud, "dev-01", 2), 2)
		rule.Proves(t, "HUB-70")
	}
}

// faultBegun waits until the fault that was asked for is there.
func faultBegun(t *testing.T, cloud *fakecloud.Cloud) {
	t.Helper()
	_, err := cloud.Await(t.Context(), fakecloud.Filter{Kind: "fault", Device: "dev-01"}, 1)
	require.NoError(t, err)
}

func TestHubFaultPropertiesAuth(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	conn := signIn(t, cloud, dev01())
	faulty(t, conn, "InvokeAuthError", "0", "5")
	wantClosed(t, conn)
	again := knock(t, cloud, dev01())
	wantConnack(t, again, 5)
	wantClosed(t, again)
	refused(t, cloud, "HUB-71/auth-error")
	wantHubError(t, contosoSays(t, cloud, postEvents, "x"), 401, "IotHubUnauthorized")
	require.NoError(t, cloud.Advance(5*time.Second))
	wantAlive(t, signIn(t, cloud, dev01()))
	rule.Proves(t, "HUB-71")
}

// The switch leaves such telemetry alone, and an AMQP fault is telemetry like any other.
func TestHubFaultPropertiesIgnored(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t, "azure: {hubs: [{name: contoso, faultProperties: false}]}")
	conn := signIn(t, cloud, dev01())
	faulty(t, conn, "KillTcp", "0", "0")
	wantAlive(t, conn)
	cloud = startContoso(t)
	conn = signIn(t, cloud, dev01())
	faulty(t, conn, "KillAmqpSession", "0", "0")
	faultBegun(t, cloud)
	wantAlive(t, conn)
}
