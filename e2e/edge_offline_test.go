package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// EDGE-30: stored while the hub is away, then sent in order under the leaf's id.
func TestEdgeOfflineTelemetry(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(edgeWorld(keyed("second"))))
	conn, second := join(t, cloud, leaf()), join(t, cloud, child("second"))
	say(t, conn, leafSays, "0")
	upstream(t, cloud, false)
	for i := 1; i <= 3; i++ {
		say(t, conn, leafSays+"n="+fmt.Sprint(i), fmt.Sprint(i))
		say(t, second, "devices/second/messages/events/", fmt.Sprint(i))
	}
	state, err := cloud.EdgeGateway(edgeGateway)
	require.NoError(t, err)
	require.Equal(t, "down", state.Upstream)
	require.Equal(t, 6, state.Queue.Messages)
	require.Equal(t, []string{"demo-leaf", "second"}, state.Clients)
	messages, _ := cloud.Telemetry(demoHub, "", 0, 0)
	require.Len(t, messages, 1)
	upstream(t, cloud, true)
	say(t, conn, leafSays, "4")
	atHub(t, cloud, "second", 3)
	var bodies []string
	for _, m := range atHub(t, cloud, "demo-leaf", 5) {
		bodies = append(bodies, string(m.Body))
	}
	require.Equal(t, []string{"0", "1", "2", "3", "4"}, bodies)
	all, _ := cloud.Telemetry(demoHub, "", 1, 6)
	for i, m := range all { // both leaves in the order in which they were stored
		require.Equal(t, fmt.Sprint(i/2+1), string(m.Body))
	}
	rule.Proves(t, "EDGE-30")
}

// EDGE-30/full: a message that is not stored is not acknowledged.
func TestEdgeQueueFull(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld("edge: {gateways: [{hostname: "+edgeGateway+", queueMessages: 2}]}"))
	conn := join(t, cloud, leaf())
	upstream(t, cloud, false)
	say(t, conn, leafSays, "1")
	say(t, conn, leafSays, "2")
	send(t, conn, rawmqtt.Publish(leafSays, "3", 1, 8, false))
	wantCut(t, cloud, conn, "EDGE-30/full")
	upstream(t, cloud, true)
	require.Len(t, atHub(t, cloud, "demo-leaf", 2), 2)
}

// EDGE-18/rejected: what was stored for a device that the hub has no more is dropped, and the rest goes on.
func TestEdgeStoredForNobody(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(edgeWorld(keyed("short-lived"))))
	conn, other := join(t, cloud, child("short-lived")), join(t, cloud, leaf())
	upstream(t, cloud, false)
	say(t, conn, "devices/short-lived/messages/events/", "1")
	say(t, other, leafSays, "2")
	require.NoError(t, cloud.DeleteDevice("iothub", demoHub, "short-lived"))
	upstream(t, cloud, true)
	refused(t, cloud, "EDGE-18/rejected")
	require.Equal(t, "2", string(atHub(t, cloud, "demo-leaf", 1)[0].Body))
	wantCut(t, cloud, conn, "EDGE-11/removed")
}

// EDGE-35: who has subscribed hears of the difference also where it has never read its twin, and of nothing else.
func TestEdgeOfflineDesiredUnread(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(edgeWorld(keyed("reader"))))
	desire := func(patch string) {
		t.Helper()
		_, err := cloud.PatchDesired(demoHub, "demo-leaf", json.RawMessage(patch))
		require.NoError(t, err)
	}
	desire(`{"a":1,"b":2}`)
	conn := join(t, cloud, leaf())
	subscribe(t, conn, "$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#")
	upstream(t, cloud, false)
	desired, reported := twinGet(t, conn)
	require.Empty(t, desired) // it was not read
	require.Empty(t, reported)
	desire(`{"b":3}`)
	desire(`{"c":4}`)
	upstream(t, cloud, true)
	p := receiveAcked(t, conn)
	require.Equal(t, "$iothub/twin/PATCH/properties/desired/?$version=4", p.Topic())
	require.JSONEq(t, `{"b":3,"c":4,"$version":4}`, p.Payload())
	wantAlive(t, conn)
	rule.Proves(t, "EDGE-35")
}

// EDGE-31: a message of a shorter life than those before it is dropped in time.
func TestEdgeShorterTimeToLive(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(`
edge:
  gateways:
    - hostname: mygateway.contoso.com
      edgeHub:
        desired:
          schemaVersion: "1.1"
          routes:
            all: "FROM /messages/* WHERE NOT is_defined(brief) INTO $upstream"
            brief: {route: "FROM /messages/* WHERE is_defined(brief) INTO $upstream", priority: 0, timeToLiveSecs: 60}
`))
	conn := join(t, cloud, leaf())
	upstream(t, cloud, false)
	say(t, conn, leafSays, "long")
	say(t, conn, leafSays+"brief=1", "short")
	require.NoError(t, cloud.Advance(61*time.Second))
	require.Equal(t, "1 messages", refused(t, cloud, "EDGE-31/expired").Seen)
	require.NoError(t, cloud.Advance(7200*time.Second))
	_, err := cloud.Await(t.Context(), fakecloud.Filter{Rule: "EDGE-31/expired"}, 2)
	require.NoError(t, err)
}

// EDGE-31: time to live, by the timers clock.
func TestEdgeTimeToLive(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	upstream(t, cloud, false)
	say(t, conn, leafSays, "early")
	require.NoError(t, cloud.Advance(7000*time.Second))
	say(t, conn, leafSays, "late")
	require.NoError(t, cloud.Advance(300*time.Second))
	refused(t, cloud, "EDGE-31/expired")
	state, err := cloud.EdgeGateway(edgeGateway)
	require.NoError(t, err)
	require.Equal(t, 1, state.Queue.Messages)
	upstream(t, cloud, true)
	messages := atHub(t, cloud, "demo-leaf", 1)
	require.Len(t, messages, 1)
	require.Equal(t, "late", string(messages[0].Body))
	rule.Proves(t, "EDGE-31")
}

// EDGE-32, EDGE-35: the twin while the hub is away, and what both sides hear afterwards.
func TestEdgeOfflineTwin(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(edgeWorld(keyed("fresh"))))
	conn := join(t, cloud, leaf())
	subscribe(t, conn, "$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#")
	_, err := cloud.PatchDesired(demoHub, "demo-leaf", json.RawMessage(`{"a":1,"b":{"c":1},"gone":true}`))
	require.NoError(t, err)
	receiveAcked(t, conn)
	report(t, conn, `{"fw":"1"}`, "204")
	fresh := join(t, cloud, child("fresh"))
	subscribe(t, fresh, "$iothub/twin/res/#")
	upstream(t, cloud, false)

	desired, reported := twinGet(t, conn)
	require.Equal(t, map[string]any{"a": 1.0, "b": map[string]any{"c": 1.0}, "gone": true, "$version": 2.0}, desired)
	require.Equal(t, "1", reported["fw"])
	desired, reported = twinGet(t, fresh)
	require.Empty(t, desired)
	require.Empty(t, reported)
	report(t, conn, `{"fw":"2","x":{"y":1}}`, "204")
	report(t, conn, `{"x":{"z":2}}`, "204")
	_, reported = twinGet(t, conn)
	require.Equal(t, "2", reported["fw"])
	for _, patch := range []string{`{"a":2}`, `{"b":{"d":5}}`, `{"gone":null}`} {
		_, err = cloud.PatchDesired(demoHub, "demo-leaf", json.RawMessage(patch))
		require.NoError(t, err)
	}
	upstream(t, cloud, true)
	p := receive(t, conn)
	require.Equal(t, "$iothub/twin/PATCH/properties/desired/?$version=5", p.Topic())
	require.JSONEq(t, `{"a":2,"b":{"d":5},"gone":null,"$version":5}`, p.Payload())
	send(t, conn, []byte{0x40, 2, byte(p.ID() >> 8), byte(p.ID())})
	wantAlive(t, conn)
	rule.Proves(t, "EDGE-35")
	text, err := cloud.Twin(demoHub, "demo-leaf")
	require.NoError(t, err)
	var twin struct {
		Properties struct{ Reported map[string]any }
	}
	require.NoError(t, json.Unmarshal(text, &twin))
	require.Equal(t, "2", twin.Properties.Reported["fw"])
	require.Equal(t, map[string]any{"y": 1.0, "z": 2.0}, twin.Properties.Reported["x"])
	rule.Proves(t, "EDGE-32")
}

func receiveAcked(t *testing.T, conn *rawmqtt.Conn) rawmqtt.Packet {
	t.Helper()
	p := receive(t, conn)
	if p.QoS() == 1 {
		send(t, conn, []byte{0x40, 2, byte(p.ID() >> 8), byte(p.ID())})
	}
	return p
}

// EDGE-33: whom the gateway knows may connect.
func TestEdgeOfflineConnect(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	upstream(t, cloud, false)
	join(t, cloud, leaf())
	patch(t, cloud, edgeWorld(keyed("late")))
	wantRefused(t, cloud, tryEdge(t, cloud, child("late")), 5, "EDGE-33/unknown", "while the hub could be reached")
	upstream(t, cloud, true)
	join(t, cloud, child("late"))
	rule.Proves(t, "EDGE-33")
}

// EDGE-34: messages wait at the hub; methods do not reach anybody.
func TestEdgeOfflineC2D(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	subscribe(t, conn, "devices/demo-leaf/messages/devicebound/#", "$iothub/methods/POST/#")
	upstream(t, cloud, false)
	require.NoError(t, cloud.SendC2D(demoHub, "demo-leaf", fakecloud.C2D{Body: []byte("wait")}))
	_, err := cloud.InvokeMethod(t.Context(), demoHub, "demo-leaf", "m", nil, 0)
	require.ErrorContains(t, err, "HUB-48/offline")
	wantAlive(t, conn)
	upstream(t, cloud, true)
	require.Equal(t, "wait", receiveAcked(t, conn).Payload())
	rule.Proves(t, "EDGE-34")
}

// A hub that comes and goes in the middle of a burst loses nothing and mixes nothing up.
func TestEdgeFlapping(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	const n = 400
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			if _, err := conn.Write(rawmqtt.Publish(leafSays, fmt.Sprint(i), 1, uint16(i+1), false)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		if i%20 == 0 {
			upstream(t, cloud, i%40 != 0)
		}
		wantBytes(t, conn, 0x40, 2, byte((i+1)>>8), byte(i+1))
	}
	require.NoError(t, <-sent)
	upstream(t, cloud, true)
	for i, m := range atHub(t, cloud, "demo-leaf", n) {
		require.Equal(t, fmt.Sprint(i), string(m.Body))
	}
}

// A fault on the way to the hub: the batch is tried again.
func TestEdgeUpstreamFault(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	_, err := cloud.Inject(fakecloud.Fault{Match: fakecloud.FaultMatch{Platform: "edge", Step: "edge.upstream"}, Action: fakecloud.FaultAction{Drop: true}, Count: 1})
	require.NoError(t, err)
	say(t, conn, leafSays, "1")
	say(t, conn, leafSays, "2")
	state, err := cloud.EdgeGateway(edgeGateway)
	require.NoError(t, err)
	require.Equal(t, 2, state.Queue.Messages)
	require.NoError(t, cloud.Advance(6*time.Second))
	messages := atHub(t, cloud, "demo-leaf", 2)
	require.Equal(t, "1", string(messages[0].Body))
}

// Which clients an earlier life had is not reported any more.
func TestEdgeClientsOfAnEarlierLife(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := fakecloud.New(t.Context(), fakecloud.WithDataDir(dir), fakecloud.WithServerKey("ecdsa"))
	require.NoError(t, err)
	conn := join(t, first, leaf())
	wantAlive(t, conn)
	require.Contains(t, ownClients(t, first), "demo-leaf")
	require.NoError(t, first.Close())
	cloud := fakecloud.Start(t, fakecloud.WithDataDir(dir))
	require.Empty(t, ownClients(t, cloud))
}

// What is stored outlives the process.
func TestEdgeQueueIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := fakecloud.New(t.Context(), fakecloud.WithDataDir(dir), fakecloud.WithServerKey("ecdsa"))
	require.NoError(t, err)
	conn := join(t, first, leaf())
	upstream(t, first, false)
	for i := range 3 {
		say(t, conn, leafSays, fmt.Sprint(i))
	}
	require.NoError(t, first.Close())
	cloud := fakecloud.Start(t, fakecloud.WithDataDir(dir))
	state, err := cloud.EdgeGateway(edgeGateway)
	require.NoError(t, err)
	require.Equal(t, "down", state.Upstream)
	require.Equal(t, 3, state.Queue.Messages)
	join(t, cloud, leaf())
	upstream(t, cloud, true)
	for i, m := range atHub(t, cloud, "demo-leaf", 3) {
		require.Equal(t, fmt.Sprint(i), string(m.Body))
	}
}
