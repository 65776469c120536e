package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// otherHub is the hub that devices are moved to.
const otherHub = "second.azure-devices.net"

// bound is a world with two hubs whose group demo-x509 uses hub and says policy for devices that come again.
func bound(hub, policy string) string {
	return fmt.Sprintf(`
azure:
  hubs: [{name: second}]
  dps:
    - name: fakecloud-dps
      linkedHubs: [fakecloud-hub, second]
      groups:
        - name: demo-x509
          attestation: {x509: {ca: demo-ca}}
          iotHubs: [%s]
          reprovisionPolicy: %s
          initialTwin: {tags: {hall: 3}, properties: {desired: {speed: 5}}}
`, hub, policy)
}

// settle provisions a device to the first hub and gives its twin a life of its own.
func settle(t *testing.T, cloud *fakecloud.Cloud, e enrollee) registration {
	t.Helper()
	r := provision(t, cloud, e)
	require.Equal(t, demoHub, r.State.AssignedHub)
	require.Equal(t, "initialAssignment", r.State.Substatus)
	c := hubConnect(t, dial(t, cloud, via{name: demoHub, cert: e.via.cert}), demoHub, e.id, nil)
	require.JSONEq(t, `{"desired":{"speed":5,"$version":1},"reported":{"$version":1}}`, twin(t, c))
	send(t, c, rawmqtt.Publish("$iothub/twin/PATCH/properties/reported/?$rid=2", `{"speed":4}`, 0, 0, false))
	require.Equal(t, "$iothub/twin/res/204/?$rid=2&$version=2", receive(t, c).Topic())
	return r
}

// twinOn reads the twin of a device at a hub.
func twinOn(t *testing.T, cloud *fakecloud.Cloud, hub string, e enrollee) string {
	t.Helper()
	return twin(t, hubConnect(t, dial(t, cloud, via{name: hub, cert: e.via.cert}), hub, e.id, nil))
}

// wantGone sees that the first hub does not know the device any more.
func wantGone(t *testing.T, cloud *fakecloud.Cloud, e enrollee) {
	t.Helper()
	c := dial(t, cloud, via{name: demoHub, cert: e.via.cert})
	send(t, c, rawmqtt.Connect{ClientID: e.id, Username: ptr(demoHub + "/" + e.id + "/?api-version=2021-04-12")}.Bytes())
	wantConnack(t, c, 5)
	wantClosed(t, c)
	for _, d := range cloud.Plane().Devices.List() {
		require.False(t, d.Endpoint == demoHub && d.ID == e.id, "the old identity is gone")
	}
}

// provisioned is the newest event about a device's assignment.
func provisioned(t *testing.T, cloud *fakecloud.Cloud, e enrollee) fakecloud.Event {
	t.Helper()
	events := cloud.Events(fakecloud.Filter{Kind: "provisioned", Device: e.id})
	require.NotEmpty(t, events)
	return events[len(events)-1]
}

// DPS-28, and the way back; the policy is the default one.
func TestDPSReprovisionMigrates(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	patch(t, cloud, bound("fakecloud-hub", "{}"))
	e := enrolled(t, cloud, "mover-1")
	first := settle(t, cloud, e)
	live := hubConnect(t, dial(t, cloud, via{name: demoHub, cert: e.via.cert}), demoHub, e.id, nil)
	patch(t, cloud, bound("second", "{}"))
	second := provision(t, cloud, e)
	wantClosed(t, live)
	require.Equal(t, otherHub, second.State.AssignedHub)
	require.Equal(t, "deviceDataMigrated", second.State.Substatus)
	require.Equal(t, first.State.CreatedDateTimeUTC, second.State.CreatedDateTimeUTC)
	require.Equal(t, first.State.DeviceID, second.State.DeviceID)
	wantGone(t, cloud, e)
	require.JSONEq(t, `{"desired":{"speed":5,"$version":1},"reported":{"speed":4,"$version":2}}`, twinOn(t, cloud, otherHub, e))
	seen := provisioned(t, cloud, e)
	require.Equal(t, demoHub, seen.Properties["from"])
	require.Equal(t, "deviceDataMigrated", seen.Properties["substatus"])
	rule.Proves(t, "DPS-28")

	patch(t, cloud, bound("fakecloud-hub", "{}"))
	third := provision(t, cloud, e)
	require.Equal(t, demoHub, third.State.AssignedHub)
	require.Equal(t, "reprovisionedToInitialAssignment", third.State.Substatus)
	require.JSONEq(t, `{"desired":{"speed":5,"$version":1},"reported":{"speed":4,"$version":2}}`, twinOn(t, cloud, demoHub, e))
}

// A device that was disabled in its hub is disabled in the next one.
func TestDPSReprovisionKeepsADeviceDisabled(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	patch(t, cloud, bound("fakecloud-hub", "{}"))
	e := enrolled(t, cloud, "mover-2")
	provision(t, cloud, e)
	patch(t, cloud, "azure: {hubs: [{name: fakecloud-hub, devices: [{deviceId: mover-2, status: disabled}]}]}")
	patch(t, cloud, bound("second", "{}"))
	require.Equal(t, otherHub, provision(t, cloud, e).State.AssignedHub)
	c := dial(t, cloud, via{name: otherHub, cert: e.via.cert})
	send(t, c, rawmqtt.Connect{ClientID: e.id, Username: ptr(otherHub + "/mover-2/?api-version=2021-04-12")}.Bytes())
	wantConnack(t, c, 3)
	refused(t, cloud, "HUB-12/disabled")
}

// DPS-29: on another hub, and on the same one.
func TestDPSReprovisionResets(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	const policy = "{migrateDeviceData: false}"
	patch(t, cloud, bound("fakecloud-hub", policy))
	e := enrolled(t, cloud, "mover-3")
	settle(t, cloud, e)
	patch(t, cloud, bound("second", policy))
	r := provision(t, cloud, e)
	require.Equal(t, otherHub, r.State.AssignedHub)
	require.Equal(t, "deviceDataReset", r.State.Substatus)
	wantGone(t, cloud, e)
	require.JSONEq(t, `{"desired":{"speed":5,"$version":1},"reported":{"$version":1}}`, twinOn(t, cloud, otherHub, e))
	require.Equal(t, "deviceDataReset", provisioned(t, cloud, e).Properties["substatus"])

	patch(t, cloud, strings.Replace(bound("second", policy), "speed: 5", "speed: 6", 1))
	require.Equal(t, otherHub, provision(t, cloud, e).State.AssignedHub)
	require.JSONEq(t, `{"desired":{"speed":6,"$version":2},"reported":{"$version":2}}`, twinOn(t, cloud, otherHub, e))
	rule.Proves(t, "DPS-29")
}

// DPS-30: the enrollment names another hub, and the device stays where it is.
func TestDPSReprovisionNever(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	const policy = "{updateHubAssignment: false}"
	patch(t, cloud, bound("fakecloud-hub", policy))
	e := enrolled(t, cloud, "stayer")
	settle(t, cloud, e)
	patch(t, cloud, bound("second", policy))
	r := provision(t, cloud, e)
	require.Equal(t, demoHub, r.State.AssignedHub)
	require.Equal(t, "initialAssignment", r.State.Substatus)
	require.JSONEq(t, `{"desired":{"speed":5,"$version":1},"reported":{"speed":4,"$version":2}}`, twinOn(t, cloud, demoHub, e))
	require.Equal(t, demoHub, provisioned(t, cloud, e).Properties["hub"])
	rule.Proves(t, "DPS-30")
}

// DPS-32: off by default, then the sixth poll is refused until the window has moved on.
func TestDPSPollLimit(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := enrolled(t, cloud, "eager").open(t, cloud)
	operation := wantAssigning(t, register(t, c, ""))
	for range 7 {
		require.NotContains(t, poll(t, c, operation).Topic(), "/res/429/")
	}
	patch(t, cloud, "azure: {dps: [{name: fakecloud-dps, pollLimit: true}]}")
	for range 5 {
		require.NotContains(t, poll(t, c, operation).Topic(), "/res/429/")
	}
	p := poll(t, c, operation)
	require.Regexp(t, `^\$dps/registrations/res/429/\?\$rid=p-1&retry-after=([1-9]|10)$`, p.Topic())
	require.Regexp(t, `^\{"errorCode":429001,"trackingId":"[0-9a-f-]{36}","message":"Too many requests.","timestampUtc":"[^"]+Z"\}$`, p.Payload())
	refused(t, cloud, "DPS-32/polls")
	require.NoError(t, cloud.Advance(10*time.Second))
	require.NotContains(t, poll(t, c, operation).Topic(), "/res/429/")
	rule.Proves(t, "DPS-32")
}
