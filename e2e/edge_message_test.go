package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// EDGE-18: telemetry under the leaf's own id, with what gateway and hub add.
func TestEdgeTelemetry(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	say(t, conn, leafSays+"%24.mid=m1&%24.ct=application%2Fjson&a=b%20c/", `{"t":21}`)
	m := atHub(t, cloud, "demo-leaf", 1)[0]
	require.Equal(t, `{"t":21}`, string(m.Body))
	require.Equal(t, map[string]string{"a": "b c"}, m.Properties)
	for name, want := range map[string]string{"message-id": "m1", "content-type": "application/json", "edgeHubOriginInterface": "downstream",
		"iothub-connection-device-id": "demo-leaf", "iothub-connection-auth-method": `{"scope":"device","type":"sas","issuer":"iothub"}`} {
		require.Equal(t, want, m.System[name], name)
	}
	require.Len(t, m.System["edgeMessageId"], 36)
	rule.Proves(t, "EDGE-18")

	// QoS 1 with 262144 bytes in all is a packet that the gateway reads; what it adds makes it too large a message.
	topic := leafSays
	say(t, conn, topic, strings.Repeat("x", 262144-len(topic)-8))
	refused(t, cloud, "EDGE-42/message")
	say(t, conn, leafSays, "next")
	require.Equal(t, "next", string(atHub(t, cloud, "demo-leaf", 2)[1].Body))
	send(t, conn, rawmqtt.Publish(topic, strings.Repeat("x", 262144-len(topic)-7), 1, 9, false))
	wantCut(t, cloud, conn, "EDGE-42/packet")
	conn = join(t, cloud, leaf())
	send(t, conn, []byte{0x82, 5, 0, 0, 0, 0, 0})
	wantCut(t, cloud, conn, "EDGE-42/malformed")
	rule.Proves(t, "EDGE-42")
}

// EDGE-42: what is no filter costs the connection, also after a good one in the same packet; nothing is granted.
func TestEdgeMalformedFilter(t *testing.T) {
	t.Parallel()
	for name, packet := range map[string][]byte{
		"subscribe":   rawmqtt.Subscribe(1, 1, "$iothub/methods/POST/#", "devices/demo-leaf/#/messages"),
		"unsubscribe": []byte("\xa2\x09\x00\x01\x00\x05foo##"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			kept := leaf()
			kept.Keep = true
			conn := join(t, cloud, kept)
			send(t, conn, packet)
			wantCut(t, cloud, conn, "EDGE-42/malformed")
			conn = dialEdge(t, cloud)
			send(t, conn, kept.Bytes())
			wantBytes(t, conn, 0x20, 2, 1, 0)
			_, err := cloud.InvokeMethod(t.Context(), demoHub, "demo-leaf", "m", nil, 0)
			require.ErrorContains(t, err, "HUB-48")
		})
	}
}

// EDGE-19: what goes nowhere is acknowledged all the same.
func TestEdgeUnknownTopics(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(edgeWorld(keyed("second"))))
	conn := join(t, cloud, leaf())
	for _, topic := range []string{"foo/bar", "devices/demo-leaf/messages/event", "devices/demo-leaf"} {
		say(t, conn, topic, "x")
	}
	require.Equal(t, leafSays, refused(t, cloud, "EDGE-19/topic").Expected)
	say(t, conn, "devices/nobody/messages/events/", "x")
	refused(t, cloud, "EDGE-19/identity")
	say(t, conn, leafSays+"a=b=c", "x")
	refused(t, cloud, "EDGE-19/bag")
	wantAlive(t, conn)
	messages, _ := cloud.Telemetry(demoHub, "", 0, 0)
	require.Empty(t, messages)
	// Another child's topic is believed.
	say(t, conn, "devices/second/messages/events/", "in its name")
	require.Equal(t, "in its name", string(atHub(t, cloud, "second", 1)[0].Body))
	rule.Proves(t, "EDGE-19")
}

// EDGE-20: every filter is granted.
func TestEdgeFilters(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	send(t, conn, rawmqtt.Subscribe(1, 2, "foo/#", "$iothub/#", "devices/other/messages/devicebound/#"))
	wantBytes(t, conn, 0x90, 5, 0, 1, 1, 1, 1)
	refused(t, cloud, "EDGE-20/filter")
	say(t, conn, "foo/1", "x")
	// $iothub/# receives twin answers and switches no methods on.
	send(t, conn, rawmqtt.Publish("$iothub/twin/GET/?$rid=1", "", 0, 0, false))
	require.Equal(t, "$iothub/twin/res/200/?$rid=1", receive(t, conn).Topic())
	_, err := cloud.InvokeMethod(t.Context(), demoHub, "demo-leaf", "m", nil, 0)
	require.ErrorContains(t, err, "HUB-48/subscription")
	rule.Proves(t, "EDGE-20")
}

// EDGE-21, EDGE-22, EDGE-23: QoS 2, retain, will.
func TestEdgeFlags(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	send(t, conn, rawmqtt.Publish(leafSays, "twice", 2, 5, false))
	wantCut(t, cloud, conn, "EDGE-21/qos2")
	require.Equal(t, "twice", string(atHub(t, cloud, "demo-leaf", 1)[0].Body))
	rule.Proves(t, "EDGE-21")

	conn = join(t, cloud, leaf())
	send(t, conn, rawmqtt.Publish(leafSays, "kept?", 1, 5, true))
	wantBytes(t, conn, 0x40, 2, 0, 5)
	require.Equal(t, "true", atHub(t, cloud, "demo-leaf", 2)[1].Properties["mqtt-retain"])
	subscribe(t, conn, "devices/demo-leaf/messages/events/#")
	wantAlive(t, conn) // nothing came before the PINGRESP
	rule.Proves(t, "EDGE-22")

	c := leaf()
	c.Will = &rawmqtt.Will{Topic: leafSays + "w=1", Payload: "gone"}
	conn = join(t, cloud, c)
	send(t, conn, []byte{0xe0, 0})
	wantClosed(t, conn)
	conn = join(t, cloud, c)
	require.NoError(t, conn.Close())
	m := atHub(t, cloud, "demo-leaf", 3)[2]
	require.Equal(t, "gone", string(m.Body))
	require.Equal(t, map[string]string{"MessageType": "Will", "w": "1"}, m.Properties)
	messages, _ := cloud.Telemetry(demoHub, "demo-leaf", 0, 0)
	require.Len(t, messages, 3)
	rule.Proves(t, "EDGE-23")
}

func twinGet(t *testing.T, conn *rawmqtt.Conn) (desired, reported map[string]any) {
	t.Helper()
	send(t, conn, rawmqtt.Publish("$iothub/twin/GET/?$rid=7", "", 0, 0, false))
	p := receive(t, conn)
	require.Equal(t, "$iothub/twin/res/200/?$rid=7", p.Topic())
	var twin map[string]map[string]any
	require.NoError(t, json.Unmarshal([]byte(p.Payload()), &twin))
	require.Len(t, twin, 2)
	return twin["desired"], twin["reported"]
}

func report(t *testing.T, conn *rawmqtt.Conn, patch string, status string) {
	t.Helper()
	send(t, conn, rawmqtt.Publish("$iothub/twin/PATCH/properties/reported/?$rid=8", patch, 0, 0, false))
	p := receive(t, conn)
	require.Equal(t, "$iothub/twin/res/"+status+"/?$rid=8", p.Topic())
	require.Empty(t, p.Payload())
}

// EDGE-25 to EDGE-28: the twin.
func TestEdgeTwin(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	send(t, conn, rawmqtt.Subscribe(1, 0, "$iothub/twin/res/#"))
	wantBytes(t, conn, 0x90, 3, 0, 1, 0)
	desired, reported := twinGet(t, conn)
	require.Equal(t, map[string]any{"$version": 1.0}, desired)
	require.Equal(t, map[string]any{"$version": 1.0}, reported)
	rule.Proves(t, "EDGE-25")

	report(t, conn, `{"fw":"1.0","o":{"a":1,"b":2}}`, "204")
	report(t, conn, `{"o":{"a":null}}`, "204")
	_, reported = twinGet(t, conn)
	require.Equal(t, map[string]any{"fw": "1.0", "o": map[string]any{"b": 2.0}, "$version": 3.0}, reported)
	for patch, status := range map[string]string{`{"a.b":1}`: "400", `{"a":4503599627370497}`: "400", `{"s":"` + strings.Repeat("x", 4097) + `"}`: "400",
		strings.Repeat(`{"a":`, 11) + "1" + strings.Repeat("}", 11): "400", `[1]`: "500", `{`: "500", `{"a":1}}`: "500", `{"a":1} x`: "500", ``: "500"} {
		report(t, conn, patch, status)
	}
	refused(t, cloud, "EDGE-26/value")
	refused(t, cloud, "EDGE-26/json")
	large := map[string]string{}
	for _, k := range strings.Split("abcdefghij", "") {
		large[k] = strings.Repeat("x", 3500)
	}
	text, _ := json.Marshal(large)
	report(t, conn, string(text), "400")
	refused(t, cloud, "EDGE-26/size")
	// Two halves pass the gateway one by one; the second is too much for the hub, which says so later.
	for _, keys := range []string{"abcdef", "ghijkl"} {
		half := map[string]string{}
		for _, k := range strings.Split(keys, "") {
			half[k] = strings.Repeat("x", 3500)
		}
		text, _ = json.Marshal(half)
		report(t, conn, string(text), "204")
	}
	refused(t, cloud, "EDGE-26/rejected")
	rule.Proves(t, "EDGE-26")
	send(t, conn, rawmqtt.Publish("$iothub/twin/PATCH/properties/reported/", `{"silent":true}`, 1, 3, false)) // applied, not answered
	wantBytes(t, conn, 0x40, 2, 0, 3)

	subscribe(t, conn, "$iothub/twin/PATCH/properties/desired/#")
	version, err := cloud.PatchDesired(demoHub, "demo-leaf", json.RawMessage(`{"period":10}`))
	require.NoError(t, err)
	p := receive(t, conn)
	require.Equal(t, "$iothub/twin/PATCH/properties/desired/?$version=2", p.Topic())
	require.EqualValues(t, 2, version)
	require.JSONEq(t, `{"period":10,"$version":2}`, p.Payload())
	rule.Proves(t, "EDGE-28")

	send(t, conn, rawmqtt.Publish("$iothub/twin/GET/", "", 0, 0, false))
	wantCut(t, cloud, conn, "EDGE-27/rid")
	conn = join(t, cloud, leaf())
	send(t, conn, rawmqtt.Publish("$iothub/twin/DELETE/?$rid=1", "", 0, 0, false))
	wantCut(t, cloud, conn, "EDGE-27/resource")
	rule.Proves(t, "EDGE-27")
}

// EDGE-29: methods, in time and late.
func TestEdgeMethod(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	subscribe(t, conn, "$iothub/methods/POST/#")
	done := callMethod(t, cloud, "demo-leaf", "reboot")
	answerMethod(t, conn, "reboot", `{"ok":true}`)
	require.NoError(t, <-done)
	done = callMethod(t, cloud, "demo-leaf", "slow")
	rid := answerMethod(t, conn, "slow", "")
	require.NoError(t, cloud.Advance(11*time.Second))
	require.ErrorContains(t, <-done, "HUB-48/timeout")
	say(t, conn, "$iothub/methods/res/200/?$rid="+rid, "{}")
	refused(t, cloud, "EDGE-29/rid")
	rule.Proves(t, "EDGE-29")
}

// A cloud-to-device message, completed at the hub by the leaf's PUBACK.
func TestEdgeC2D(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	require.NoError(t, cloud.SendC2D(demoHub, "demo-leaf", fakecloud.C2D{MessageID: "m1", Body: []byte("hello"), Properties: []fakecloud.C2DProperty{{Name: "k", Value: "v 1"}}}))
	subscribe(t, conn, "devices/demo-leaf/messages/devicebound/#")
	p := receive(t, conn)
	require.Equal(t, "devices/demo-leaf/messages/devicebound/%24.mid=m1&%24.to=%2Fdevices%2Fdemo-leaf%2Fmessages%2FdeviceBound&k=v%201", p.Topic())
	require.Equal(t, "hello", p.Payload())
	require.EqualValues(t, 1, p.QoS())
	send(t, conn, []byte{0x40, 2, byte(p.ID() >> 8), byte(p.ID())})
	outcome(t, cloud, "Success")
}

// outcome waits until the hub has a message done with.
func outcome(t *testing.T, cloud *fakecloud.Cloud, want string) {
	t.Helper()
	_, err := cloud.Await(t.Context(), fakecloud.Filter{Kind: "c2d", Match: func(e *fakecloud.Event) bool { return e.Properties["outcome"] == want }}, 1)
	require.NoError(t, err)
}

// EDGE-34: a subscription gets what is newer than itself, by more than edgeHub's allowance for clocks; a kept one, too.
func TestEdgeC2DOlderThanTheSubscription(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	const filter = "devices/demo-leaf/messages/devicebound/#"
	queue := func(id string) {
		require.NoError(t, cloud.SendC2D(demoHub, "demo-leaf", fakecloud.C2D{MessageID: id, Body: []byte(id)}))
	}
	kept := leaf()
	kept.Keep = true
	queue("old")
	cloud.Skew(time.Minute)
	queue("recent")
	conn := join(t, cloud, kept)
	subscribe(t, conn, filter)
	require.Equal(t, "recent", receiveAcked(t, conn).Payload())
	r := refused(t, cloud, "EDGE-34/older")
	require.Contains(t, r.Seen, `"old"`)
	outcome(t, cloud, "Rejected")
	send(t, conn, []byte{0xe0, 0})
	wantClosed(t, conn)
	queue("while away")
	cloud.Skew(time.Hour)
	conn = dialEdge(t, cloud)
	send(t, conn, kept.Bytes())
	wantBytes(t, conn, 0x20, 2, 1, 0)
	require.Equal(t, "while away", receiveAcked(t, conn).Payload())
	rule.Proves(t, "EDGE-34/older")
}

// EDGE-34: a filter that switches messages on and does not match their topic has them rejected.
func TestEdgeC2DFilterOfAnother(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	subscribe(t, conn, "devices/other/messages/devicebound/#")
	require.NoError(t, cloud.SendC2D(demoHub, "demo-leaf", fakecloud.C2D{Body: []byte("lost")}))
	refused(t, cloud, "EDGE-34/filter")
	outcome(t, cloud, "Rejected")
	subscribe(t, conn, "devices/demo-leaf/messages/devicebound/#")
	require.NoError(t, cloud.SendC2D(demoHub, "demo-leaf", fakecloud.C2D{Body: []byte("got")}))
	require.Equal(t, "got", receiveAcked(t, conn).Payload())
	rule.Proves(t, "EDGE-34/filter")
}

// A message whose properties are too long for a topic holds up no other.
func TestEdgeC2DTooLongForATopic(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	subscribe(t, conn, "devices/demo-leaf/messages/devicebound/#")
	require.NoError(t, cloud.SendC2D(demoHub, "demo-leaf", fakecloud.C2D{Properties: []fakecloud.C2DProperty{{Name: "k", Value: strings.Repeat("ä", 11_000)}}}))
	require.NoError(t, cloud.SendC2D(demoHub, "demo-leaf", fakecloud.C2D{Body: []byte("next")}))
	require.Equal(t, "next", receive(t, conn).Payload())
	passed := cloud.Events(fakecloud.Filter{Platform: "edge", Kind: "c2d", Match: func(e *fakecloud.Event) bool { return strings.Contains(e.Detail, "passed over") }})
	require.Len(t, passed, 1)
	require.Contains(t, passed[0].Detail, "MQTT takes 65535")
}
