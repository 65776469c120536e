package e2e

import (
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// registering connects to DPS and subscribes to the answers.
func (d *scenarioDevice) registering() *rawmqtt.Conn {
	d.Helper()
	return enrollee{id: d.id, via: via{name: globalDPS, cert: d.cert}}.open(d.T, d.cloud)
}

func scenarioThreePolls(d *scenarioDevice) {
	c := d.registering()
	operation := wantAssigning(d.T, register(d.T, c, ""))
	for range 2 {
		require.Equal(d, "$dps/registrations/res/202/?$rid=p-1&retry-after=3", poll(d.T, c, operation).Topic())
	}
	got := poll(d.T, c, operation)
	require.Equal(d, "$dps/registrations/res/200/?$rid=p-1", got.Topic())
	require.Contains(d, got.Payload(), `"status":"assigned"`)
	d.fired("three-polls", 1)
}

const (
	throttledRegister = "$dps/registrations/res/429/?$rid=r-1&retry-after=2"
	throttledPoll     = "$dps/registrations/res/429/?$rid=p-1&retry-after=2"
)

func scenarioThrottled(d *scenarioDevice) {
	c := d.registering()
	for range 2 {
		p := register(d.T, c, "")
		require.Equal(d, throttledRegister, p.Topic())
		require.Contains(d, p.Payload(), `"errorCode":429001`)
	}
	finish(d.T, c, "")
	d.fired("throttled", 2)
}

func scenarioPollsThrottled(d *scenarioDevice) {
	c := d.registering()
	operation := wantAssigning(d.T, register(d.T, c, ""))
	require.Equal(d, throttledPoll, poll(d.T, c, operation).Topic())
	require.Equal(d, throttledPoll, poll(d.T, c, operation).Topic())
	require.Equal(d, "$dps/registrations/res/202/?$rid=p-1&retry-after=3", poll(d.T, c, operation).Topic())
	require.Equal(d, "$dps/registrations/res/200/?$rid=p-1", poll(d.T, c, operation).Topic())
	d.fired("polls-throttled", 2)
}

// twin subscribes to the twin's answers on a new connection.
func (d *scenarioDevice) twin() *rawmqtt.Conn {
	d.Helper()
	c := d.enter()
	send(d.T, c, rawmqtt.Subscribe(1, 0, "$iothub/twin/res/#"))
	wantBytes(d.T, c, 0x90, 3, 0, 1, 0)
	return c
}

const (
	getTwin   = "$iothub/twin/GET/?$rid=1"
	patchTwin = "$iothub/twin/PATCH/properties/reported/?$rid=1"
)

// ask sends a request to the twin and returns the answer's topic.
func (d *scenarioDevice) ask(c *rawmqtt.Conn, topic string) string {
	d.Helper()
	send(d.T, c, rawmqtt.Publish(topic, map[bool]string{true: `{"n":1}`}[topic == patchTwin], 0, 0, false))
	return receive(d.T, c).Topic()
}

// unhappyTwin sees the first two reads and reports answered with status, and the next ones served.
func (d *scenarioDevice) unhappyTwin(status int) {
	d.Helper()
	c := d.twin()
	for _, topic := range []string{getTwin, patchTwin} {
		for range 2 {
			require.Equal(d, fmt.Sprintf("$iothub/twin/res/%d/?$rid=1", status), d.ask(c, topic))
		}
	}
	require.Equal(d, "$iothub/twin/res/200/?$rid=1", d.ask(c, getTwin))
	require.Equal(d, "$iothub/twin/res/204/?$rid=1&$version=2", d.ask(c, patchTwin))
}

func scenarioServerError(d *scenarioDevice) {
	if d.platform == "iothub" {
		d.unhappyTwin(500)
		d.fired("server-error", 4)
		return
	}
	c := d.registering()
	for range 2 {
		p := register(d.T, c, "")
		require.Equal(d, "$dps/registrations/res/500/?$rid=r-1", p.Topic())
		require.Contains(d, p.Payload(), `"errorCode":500000`)
	}
	finish(d.T, c, "")
	d.fired("server-error", 2)
}

func scenarioTwinThrottled(d *scenarioDevice) {
	d.unhappyTwin(429)
	d.fired("twin-throttled", 4)
}

func scenarioAnswerLost(d *scenarioDevice) {
	if d.platform == "iothub" {
		c := d.twin()
		for _, topic := range []string{getTwin, patchTwin} {
			send(d.T, c, rawmqtt.Publish(topic, "{}", 0, 0, false))
			wantAlive(d.T, c)
		}
		require.Equal(d, "$iothub/twin/res/200/?$rid=1", d.ask(c, getTwin))
		d.fired("answer-lost", 2)
		return
	}
	c := d.registering()
	d.said(c)
	wantAlive(d.T, c)
	finish(d.T, c, "")
	d.fired("answer-lost", 1)
}

func scenarioMethodLost(d *scenarioDevice) {
	c := d.enter()
	send(d.T, c, rawmqtt.Subscribe(1, 0, "$iothub/methods/POST/#"))
	wantBytes(d.T, c, 0x90, 3, 0, 1, 0)
	answer := make(chan error, 1)
	call := func() {
		_, err := d.cloud.InvokeMethod(d.Context(), demoHub, d.id, "reboot", nil, 5*time.Second)
		answer <- err
	}
	go call()
	_, err := d.cloud.Await(d.Context(), fakecloud.Filter{Kind: "fault", Device: d.id}, 1)
	require.NoError(d, err)
	wantAlive(d.T, c)
	go func() { answer <- d.cloud.Advance(5 * time.Second) }()
	require.ErrorContains(d, errors.Join(<-answer, <-answer), "in time")

	go call()
	topic := receive(d.T, c).Topic()
	send(d.T, c, rawmqtt.Publish("$iothub/methods/res/200/?$rid="+topic[len("$iothub/methods/POST/reboot/?$rid="):], "{}", 0, 0, false))
	require.NoError(d, <-answer)
	d.fired("method-lost", 1)
}

func scenarioUpstreamLost(d *scenarioDevice) {
	c := d.enter()
	for range 3 {
		d.said(c)
	}
	for n := range 3 {
		_, err := d.cloud.Await(d.Context(), fakecloud.Filter{Kind: "fault", Device: d.id, Platform: "edge"}, n+1)
		require.NoError(d, err)
		state, err := d.cloud.EdgeGateway(edgeGateway) // by now it knows when to try again
		require.NoError(d, err)
		require.Equal(d, 3, state.Queue.Messages)
		require.NoError(d, d.cloud.Advance(5*time.Second))
	}
	require.Len(d, atHub(d.T, d.cloud, d.id, 3), 3)
	d.fired("upstream-lost", 3)
}
