package e2e

import (
	"net/http"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

// scenarioTwice sees what the platform sends two times.
func scenarioTwice(d *scenarioDevice) {
	switch d.platform {
	case "dps":
		c := d.registering()
		p := register(d.T, c, "")
		require.Equal(d, p.Payload(), receive(d.T, c).Payload())
	case "iothub", "edge":
		c := d.enter()
		subscribe(d.T, c, "devices/"+d.id+"/messages/devicebound/#")
		require.NoError(d, d.cloud.SendC2D(demoHub, d.id, fakecloud.C2D{Body: []byte("left")}))
		first, second := answer(d.T, c), receive(d.T, c)
		require.Equal(d, "left", first.Payload())
		require.Equal(d, "left", second.Payload())
		require.Equal(d, byte(0x3a), second.First, "marked as a duplicate")
	case "mindsphere":
		d.onboard()
		c := d.enter()
		subscribe(d.T, c, "tc/demo/"+d.name()+"/i/#")
		d.said(c)
		require.Equal(d, answer(d.T, c).Payload(), receive(d.T, c).Payload())
	case "iotda":
		c := d.enter()
		got := iotdaSays(d.T, d.cloud, "POST", "/devices/"+d.name()+"/messages", `{"message":"left"}`)
		require.Equal(d, http.StatusCreated, got.StatusCode, got.body)
		require.Equal(d, receive(d.T, c).Payload(), receive(d.T, c).Payload())
	}
	events := d.cloud.Events(fakecloud.Filter{Kind: "fault", Device: d.name(), Platform: d.platform})
	require.NotEmpty(d, events)
	d.fired("twice", len(events))
}

// scenarioDisabled sees the refusal that a disabled device gets, by the platform's own rule.
func scenarioDisabled(d *scenarioDevice) {
	switch d.platform {
	case "dps":
		c := d.registering()
		operation := wantAssigning(d.T, register(d.T, c, ""))
		poll(d.T, c, operation)
		require.Contains(d, poll(d.T, c, operation).Payload(), `"status":"disabled"`)
		refused(d.T, d.cloud, "DPS-24/disabled")
		d.fired("disabled", 1)
	case "iothub":
		wantRefused(d.T, d.cloud, d.knock(), 3, "HUB-12/disabled", "enabled")
	case "edge":
		wantConnack(d.T, d.knock(), 5)
		refused(d.T, d.cloud, "EDGE-11/disabled")
	case "iotda":
		wantConnack(d.T, d.knock(), 5)
		refused(d.T, d.cloud, "DA-11/frozen")
	}
	require.NotEmpty(d, d.cloud.Events(fakecloud.Filter{Device: d.name(), Match: func(e *fakecloud.Event) bool {
		return e.Source == "docs/scenarios.md" && e.Properties["scenario"] == "disabled"
	}}))
}

// scenarioExpires sees a connection, and an access token, end after five seconds.
func scenarioExpires(d *scenarioDevice) {
	if d.platform == "mindsphere" {
		d.onboard()
		c := d.enter()
		subscribe(d.T, c, "tc/demo/"+d.name()+"/i/#")
		d.said(c)
		require.Contains(d, answer(d.T, c).Payload(), `"expires_in":5,`)
		d.fired("expires-5s", 1)
		return
	}
	for range 2 {
		c := d.enter()
		require.NoError(d, d.cloud.Advance(4*time.Second))
		d.said(c)
		require.NoError(d, d.cloud.Advance(2*time.Second))
		wantCut(d.T, d.cloud, c, "HUB-24/expired")
	}
	d.fired("expires-5s", 2)
}
