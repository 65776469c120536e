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

// hubConnect opens an MQTT connection to a hub on c.
func hubConnect(t *testing.T, c *rawmqtt.Conn, host, device string, password *string) *rawmqtt.Conn {
	t.Helper()
	send(t, c, rawmqtt.Connect{ClientID: device, Username: ptr(host + "/" + device + "/?api-version=2021-04-12"), Password: password}.Bytes())
	wantConnack(t, c, 0)
	return c
}

// twin reads the twin of the device that c is connected as.
func twin(t *testing.T, c *rawmqtt.Conn) string {
	t.Helper()
	send(t, c, rawmqtt.Subscribe(1, 0, "$iothub/twin/res/#"))
	wantBytes(t, c, 0x90, 0x03, 0x00, 0x01, 0x00)
	send(t, c, rawmqtt.Publish("$iothub/twin/GET/?$rid=1", "", 0, 0, false))
	p := receive(t, c)
	require.Equal(t, "$iothub/twin/res/200/?$rid=1", p.Topic())
	return p.Payload()
}

// settings is a world whose group demo-x509 gives its devices a twin.
func settings(speed int) string {
	return fmt.Sprintf(`
azure:
  dps:
    - name: fakecloud-dps
      groups:
        - name: demo-x509
          attestation: {x509: {ca: demo-ca}}
          initialTwin: {tags: {hall: 3}, properties: {desired: {speed: %d}}}
`, speed)
}

// A device that registers again keeps hub, twin and status (DPS-27); its credential is the new one.
func TestDPSRegisterAgain(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	patch(t, cloud, settings(5))
	e := enrolled(t, cloud, "fan-1")
	first := provision(t, cloud, e)
	require.Equal(t, "initialAssignment", first.State.Substatus)
	c := hubConnect(t, dial(t, cloud, via{name: demoHub, cert: e.via.cert}), demoHub, "fan-1", nil)
	require.JSONEq(t, `{"desired":{"speed":5,"$version":1},"reported":{"$version":1}}`, twin(t, c))
	send(t, c, rawmqtt.Publish("$iothub/twin/PATCH/properties/reported/?$rid=2", `{"speed":4}`, 0, 0, false))
	require.Equal(t, "$iothub/twin/res/204/?$rid=2&$version=2", receive(t, c).Topic())

	patch(t, cloud, settings(9)) // for new devices only
	e.via.cert = device(t, cloud, "fan-1")
	second := provision(t, cloud, e)
	require.Equal(t, first.State.AssignedHub, second.State.AssignedHub)
	require.Equal(t, first.State.DeviceID, second.State.DeviceID)
	require.Equal(t, first.State.CreatedDateTimeUTC, second.State.CreatedDateTimeUTC)
	require.NotEqual(t, first.OperationID, second.OperationID, "every register is an operation of its own")
	rule.Proves(t, "DPS-27")

	c = hubConnect(t, dial(t, cloud, via{name: demoHub, cert: e.via.cert}), demoHub, "fan-1", nil)
	require.JSONEq(t, `{"desired":{"speed":5,"$version":1},"reported":{"speed":4,"$version":2}}`, twin(t, c))
}

func TestDPSRegisterAgainKeepsADeviceDisabled(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	e := enrolled(t, cloud, "fan-2")
	provision(t, cloud, e)
	patch(t, cloud, "azure: {hubs: [{name: fakecloud-hub, devices: [{deviceId: fan-2, status: disabled}]}]}")
	provision(t, cloud, e)
	c := dial(t, cloud, via{name: demoHub, cert: e.via.cert})
	send(t, c, rawmqtt.Connect{ClientID: "fan-2", Username: ptr(demoHub + "/fan-2/?api-version=2021-04-12")}.Bytes())
	wantConnack(t, c, 3)
	refused(t, cloud, "HUB-12/disabled")
}

func TestDPSKeyDeviceReachesItsHub(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	hub := provision(t, cloud, enrollee{id: "device-001", token: ptr(v3Token)}).State.AssignedHub
	token := sasFor(t, v2Key, hub+"%2Fdevices%2Fdevice-001", farFuture, "") // the derived key
	c := hubConnect(t, dial(t, cloud, via{name: hub}), hub, "device-001", &token)
	send(t, c, rawmqtt.Publish("devices/device-001/messages/events/", "21.5", 1, 3, false))
	wantBytes(t, c, 0x40, 0x02, 0x00, 0x03)
	require.Equal(t, "21.5", string(telemetry(t, cloud, "device-001", 1)[0].Payload))
}

func TestDPSWithoutAHub(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	patch(t, cloud, `
azure:
  dps:
    - name: lonely
      idScope: 0ne00FAKE09
      certificates: [{name: demo-ca, ca: demo-ca}]
      groups: [{name: everybody, attestation: {x509: {ca: demo-ca}}}]
`)
	e := enrolled(t, cloud, "dev-1")
	e.scope = "0ne00FAKE09"
	r, body := finish(t, e.open(t, cloud), "")
	require.Equal(t, "failed", r.Status)
	require.Equal(t, "failed", r.State.Status)
	require.Equal(t, 400208, r.State.ErrorCode)
	require.NotEmpty(t, r.State.ErrorMessage)
	require.NotContains(t, body, "assignedHub")
	require.NotContains(t, body, "deviceId")
	refused(t, cloud, "DPS-13/no-hub")
}

// retry-after and the number of polls follow the instance; with none the first poll is final.
func TestDPSPaceOfAnInstance(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	patch(t, cloud, "azure: {dps: [{name: fakecloud-dps, retryAfter: 1s, rounds: 0}]}")
	c := enrolled(t, cloud, "quick").open(t, cloud)
	p := register(t, c, "")
	require.Equal(t, "$dps/registrations/res/202/?$rid=r-1&retry-after=1", p.Topic())
	p = poll(t, c, assigning.FindStringSubmatch(p.Payload())[1])
	require.Equal(t, "$dps/registrations/res/200/?$rid=p-1", p.Topic(), p.Payload())
}

// DPS-46: MindSphere eu2 sends an empty password and empty bodies.
func TestDPSMindSphereEU2(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	const agent = "demo2_MqttTestAgent"
	e := enrollee{id: agent, scope: "0ne00FAKE02", token: ptr(""), via: via{cert: device(t, cloud, agent)}}
	r := provision(t, cloud, e)
	require.Equal(t, "TenantEnrollmentGroup-TenantCACertificate-demo2", r.State.X509.EnrollmentGroupID)
	require.Equal(t, "conn-demo2-iothub.azure-devices.net", r.State.AssignedHub)
	require.Equal(t, agent, r.State.DeviceID)
	hub := r.State.AssignedHub
	c := hubConnect(t, dial(t, cloud, via{name: hub, cert: e.via.cert}), hub, agent, ptr(""))
	send(t, c, rawmqtt.Publish("devices/"+agent+"/messages/events/", "{}", 1, 3, false))
	wantBytes(t, c, 0x40, 0x02, 0x00, 0x03)
	require.Equal(t, hub, telemetry(t, cloud, agent, 1)[0].Endpoint)
	rule.Proves(t, "DPS-46")
}

// DPS-33: the same rid on many connections at once; each gets its own answer and nothing else.
func TestDPSAnswersNeverCross(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	const devices = 8
	conns := make([]*rawmqtt.Conn, devices)
	for i := range conns {
		conns[i] = enrolled(t, cloud, fmt.Sprintf("many-%d", i)).open(t, cloud)
	}
	for _, c := range conns {
		send(t, c, rawmqtt.Publish("$dps/registrations/PUT/iotdps-register/?$rid=same", "", 0, 0, false))
	}
	seen := map[string]bool{}
	for i, c := range conns {
		operation := assigning.FindStringSubmatch(answer(t, c).Payload())
		require.NotNil(t, operation)
		require.False(t, seen[operation[1]], "an operation was told twice")
		seen[operation[1]] = true
		p := poll(t, c, operation[1])
		var r registration
		require.NoError(t, json.Unmarshal([]byte(p.Payload()), &r))
		require.Equal(t, fmt.Sprintf("many-%d", i), r.State.RegistrationID)
		wantAlive(t, c) // and no further answer
	}
	rule.Proves(t, "DPS-33")
}

// A second connection of a registration id closes the first.
func TestDPSTakeover(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	e := enrolled(t, cloud, "Twin-1")
	first := e.open(t, cloud)
	wantAssigning(t, register(t, first, ""))
	second := e.open(t, cloud)
	wantClosed(t, first)
	refused(t, cloud, "DPS-33/takeover")
	r, _ := finish(t, second, "")
	require.Equal(t, "assigned", r.Status)
	require.Equal(t, "Twin-1", r.State.DeviceID)
}

// The same registration id in two instances is two devices.
func TestDPSInstancesAreApart(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	e := enrolled(t, cloud, "demo2_shared")
	one := e.open(t, cloud)
	e.scope = "0ne00FAKE02"
	two := e.open(t, cloud)
	a, _ := finish(t, one, "")
	b, _ := finish(t, two, "")
	require.Equal(t, demoHub, a.State.AssignedHub)
	require.Equal(t, "conn-demo2-iothub.azure-devices.net", b.State.AssignedHub)
	wantError(t, poll(t, two, a.OperationID), 404203, "Operation not found\\.")
}

// Wall time stamps what DPS answers.
func TestDPSTimes(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	before := time.Now().Add(-time.Second)
	r := provision(t, cloud, enrolled(t, cloud, "clock-1"))
	for _, text := range []string{r.State.CreatedDateTimeUTC, r.State.LastUpdatedDateTimeUTC} {
		at, err := time.Parse("2006-01-02T15:04:05.0000000Z", text)
		require.NoError(t, err)
		require.WithinRange(t, at, before, time.Now().Add(time.Second))
	}
}

// Where devices will not find the hub on port 8883 the journal says so beside the assignment.
func TestDPSWarnsOfAnotherPort(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := dial(t, cloud, via{name: globalDPS, cert: device(t, cloud, "port-1")})
	send(t, c, rawmqtt.Connect{ClientID: "port-1", Username: ptr(idScope + "/registrations/port-1/api-version=2019-03-31")}.Bytes())
	wantConnack(t, c, 0)
	send(t, c, rawmqtt.Publish("$dps/registrations/PUT/iotdps-register/?$rid=1", "", 1, 1, false))
	wantBytes(t, c, 0x40, 2, 0, 1)
	events := cloud.Events(fakecloud.Filter{Kind: "provisioned", Device: "port-1"})
	require.Len(t, events, 1)
	require.Contains(t, events[0].Detail, "port 8883")
	require.Contains(t, events[0].Detail, "proxy")
}
