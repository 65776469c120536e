package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// failOver makes a hub fail over for half a minute.
func failOver(t *testing.T, cloud *fakecloud.Cloud, hub string) {
	t.Helper()
	inject(t, cloud, fakecloud.Fault{ID: "away", Match: fakecloud.FaultMatch{Step: "hub", Endpoint: hub}, Action: fakecloud.FaultAction{Failover: span(30 * time.Second)}})
}

// Connections end; devices and back ends are answered as by a hub that is not available; other hubs go on; then
// it is back with all that it has acknowledged.
func TestHubFailover(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	c, other := signIn(t, cloud, dev01()), signIn(t, cloud, modA())
	bystander := dial(t, cloud, via{name: demoHub})
	send(t, bystander, rawmqtt.Connect{ClientID: "demo-sas", Username: ptr(demoHub + "/demo-sas/?api-version=2021-04-12"),
		Password: ptr(sign(demoHub+"/devices/demo-sas", demoKey, later, ""))}.Bytes())
	wantConnack(t, bystander, 0)
	say(t, c, dev01Events, "before")
	subscribe(t, c, "$iothub/twin/res/#")
	send(t, c, rawmqtt.Publish("$iothub/twin/PATCH/properties/reported/?$rid=1", `{"fan":3}`, 0, 0, false))
	require.Contains(t, receive(t, c).Topic(), "res/204/")
	require.NoError(t, cloud.SendC2D(contosoHost, "dev-01", fakecloud.C2D{Body: []byte("queued")}))

	failOver(t, cloud, contosoHost)
	wantClosed(t, c)
	wantClosed(t, other)
	wantAlive(t, bystander)
	c = knock(t, cloud, dev01())
	wantConnack(t, c, 3)
	wantClosed(t, c)
	c = openWS(t, cloud, via{name: contosoHost}, "/$iothub/websocket", "mqtt")
	send(t, c, dev01().Bytes())
	wantConnack(t, c, 3)
	r := contosoSays(t, cloud, postEvents, "lost")
	wantHubError(t, r, 503, "ServiceUnavailable")
	require.Contains(t, r.body, "ErrorCode:ServiceUnavailable;Service unavailable")
	service := ask(t, cloud, via{name: contosoHost}, "GET /devices/dev-01?api-version=2021-04-12", "",
		"Authorization: "+sign(contosoHost, demoKey, later, "iothubowner"))
	wantServiceError(t, service, 503, "ServiceUnavailable")
	events := cloud.Events(fakecloud.Filter{Kind: "fault"})
	require.Len(t, events, 5, "its begin, and each who came")
	require.Equal(t, contosoHost, events[0].Endpoint)
	require.Equal(t, "dev-01", events[1].Device)

	left := cloud.Faults()
	require.Len(t, left, 1)
	require.LessOrEqual(t, *left[0].Action.Failover, *span(30 * time.Second))
	require.NoError(t, cloud.Advance(30*time.Second))
	require.Empty(t, cloud.Faults())
	c = signIn(t, cloud, dev01())
	subscribe(t, c, "devices/dev-01/messages/devicebound/#", "$iothub/twin/res/#")
	require.Equal(t, "queued", receive(t, c).Payload())
	send(t, c, rawmqtt.Publish("$iothub/twin/GET/?$rid=2", "", 0, 0, false))
	require.Contains(t, receive(t, c).Payload(), `"fan":3`)
	require.Equal(t, "before", string(telemetry(t, cloud, "dev-01", 1)[0].Payload))
	require.Equal(t, 204, contosoSays(t, cloud, postEvents, "after").StatusCode)
	wantAlive(t, bystander)
}

// Clearing the fault ends it at once, and so does a reset.
func TestHubFailoverIsCleared(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	for _, end := range []func(){cloud.ClearFaults, func() { require.NoError(t, cloud.Reset()) }} {
		failOver(t, cloud, "")
		wantConnack(t, knock(t, cloud, dev01()), 3)
		end()
		signIn(t, cloud, dev01())
	}
}

// In a world it begins with the instance: a device that is there before its hub.
func TestHubFailoverInAWorld(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t, "faults: [{match: {step: hub, endpoint: "+contosoHost+"}, action: {failover: 1h}}]")
	wantConnack(t, knock(t, cloud, dev01()), 3)
	require.NoError(t, cloud.Advance(time.Hour))
	signIn(t, cloud, dev01())
}

// A gateway keeps what its children send, and hands it over when the hub is back; the children see nothing of it.
func TestHubFailoverBehindAGateway(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := join(t, cloud, leaf())
	topic := "devices/demo-leaf/messages/events/"
	say(t, c, topic, "one")
	atHub(t, cloud, "demo-leaf", 1)
	failOver(t, cloud, demoHub)
	say(t, c, topic, "two")
	say(t, c, topic, "three")
	gateway, err := cloud.EdgeGateway(edgeGateway)
	require.NoError(t, err)
	require.Equal(t, "down", gateway.Upstream)
	require.Equal(t, 2, gateway.Queue.Messages)
	require.NoError(t, cloud.Advance(30*time.Second))
	messages := atHub(t, cloud, "demo-leaf", 3)
	require.Equal(t, "three", string(messages[2].Body))
	gateway, err = cloud.EdgeGateway(edgeGateway)
	require.NoError(t, err)
	require.Equal(t, "up", gateway.Upstream)
	wantAlive(t, c)
	require.NoError(t, cloud.SendC2D(demoHub, "demo-leaf", fakecloud.C2D{Body: []byte("down")}))
	subscribe(t, c, "devices/demo-leaf/messages/devicebound/#")
	require.Equal(t, "down", receive(t, c).Payload(), "the child is at the hub again")
}
