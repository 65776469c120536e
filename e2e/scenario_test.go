package e2e

import (
	"crypto/tls"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// scenarioDevice is a scenario device at one platform of the default world, where nothing is set up for it.
type scenarioDevice struct {
	*testing.T
	cloud    *fakecloud.Cloud
	platform string
	id       string
	cert     *tls.Certificate
}

var scenarioPlatforms = []string{"dps", "iothub", "edge", "mindsphere", "iotda"}

func newScenarioDevice(t *testing.T, cloud *fakecloud.Cloud, platform, id string) *scenarioDevice {
	t.Helper()
	d := &scenarioDevice{T: t, cloud: cloud, platform: platform, id: id}
	if platform == "dps" || platform == "mindsphere" {
		d.cert = device(t, cloud, id)
	}
	return d
}

// name is the device's in the journal.
func (d *scenarioDevice) name() string {
	if d.platform == "mindsphere" || d.platform == "iotda" {
		return "demo_" + d.id
	}
	return d.id
}

// knock dials and sends a CONNECT.
func (d *scenarioDevice) knock() *rawmqtt.Conn {
	d.Helper()
	v, packet := via{cert: d.cert}, rawmqtt.Connect{}
	switch d.platform {
	case "dps":
		v.name, packet = globalDPS, enrollee{id: d.id}.connect()
	case "iothub":
		v.name, packet = demoHub, child(d.id)
	case "edge":
		return tryEdge(d.T, d.cloud, child(d.id))
	case "mindsphere":
		v.name, packet = mindConnect, rawmqtt.Connect{ClientID: d.name()}
	case "iotda":
		v.name, packet = iotdaMQTT, huawei(d.name()+"_0_0_2025041401", d.name(), passwordV1)
	}
	c := dial(d.T, d.cloud, v)
	send(d.T, c, packet.Bytes())
	return c
}

// onboard takes an agent past the drop that every first connection of MindSphere meets.
func (d *scenarioDevice) onboard() {
	d.Helper()
	if d.platform == "mindsphere" {
		wantClosed(d.T, d.knock())
		require.NoError(d, d.cloud.Advance(3*time.Second))
	}
}

// enter is knock and sees CONNACK 0.
func (d *scenarioDevice) enter() *rawmqtt.Conn {
	d.Helper()
	c := d.knock()
	wantConnack(d.T, c, 0)
	return c
}

// message is a PUBLISH that the platform takes; its packet id is 7.
func (d *scenarioDevice) message() []byte {
	topic := map[string]string{
		"dps":        "$dps/registrations/PUT/iotdps-register/?$rid=1",
		"iothub":     "devices/" + d.id + "/messages/events/",
		"edge":       "devices/" + d.id + "/messages/events/",
		"mindsphere": "tc/demo/demo_" + d.id + "/o/agm_v3/t",
		"iotda":      "$oc/devices/demo_" + d.id + "/sys/messages/up",
	}[d.platform]
	return rawmqtt.Publish(topic, map[string]string{"mindsphere": `{"id":"r1"}`, "iotda": "21.5", "iothub": "21.5", "edge": "21.5"}[d.platform], 1, 7, false)
}

// said sees the message acknowledged.
func (d *scenarioDevice) said(c *rawmqtt.Conn) {
	d.Helper()
	send(d.T, c, d.message())
	wantBytes(d.T, c, 0x40, 2, 0, 7)
}

// fired sees that the journal names the scenario n times for this device, and what to do about it.
func (d *scenarioDevice) fired(scenario string, n int) {
	d.Helper()
	events := d.cloud.Events(fakecloud.Filter{Kind: "fault", Platform: d.platform, Device: d.name()})
	require.Len(d, events, n)
	for _, e := range events {
		require.Equal(d, scenario, e.Properties["scenario"])
		require.Contains(d, e.Detail, "scenario "+scenario+", ")
		require.Contains(d, e.Expected, "a correct client ")
		require.Equal(d, "docs/scenarios.md", e.Source)
	}
}

// everyScenario holds a test of each scenario on each of its platforms.
var everyScenario = map[string]func(d *scenarioDevice){
	"no-connack": func(d *scenarioDevice) {
		wantClosed(d.T, d.knock())
		wantClosed(d.T, d.knock())
		d.onboard()
		d.said(d.enter())
		d.fired("no-connack", 2)
	},
	"refused": func(d *scenarioDevice) {
		for range 3 {
			c := d.knock()
			wantConnack(d.T, c, 5)
			wantClosed(d.T, c)
		}
		d.fired("refused", 3)
	},
	"unavailable": func(d *scenarioDevice) {
		for range 2 {
			c := d.knock()
			wantConnack(d.T, c, 3)
			wantClosed(d.T, c)
		}
		d.said(d.enter())
		d.fired("unavailable", 2)
	},
	"slow-start": func(d *scenarioDevice) {
		c := d.knock()
		_, err := d.cloud.Await(d.Context(), fakecloud.Filter{Kind: "fault", Device: d.name(), Platform: d.platform}, 1)
		require.NoError(d, err)
		require.NoError(d, d.cloud.Advance(4*time.Second))
		require.Empty(d, d.cloud.Events(fakecloud.Filter{Kind: "connack", Device: d.name(), Platform: d.platform}))
		require.NoError(d, d.cloud.Advance(time.Second))
		if d.platform == "mindsphere" { // it is judged now, and it is the first
			wantClosed(d.T, c)
			require.NoError(d, d.cloud.Advance(3*time.Second))
		} else {
			wantConnack(d.T, c, 0)
		}
		d.said(d.enter())
		d.fired("slow-start", 1)
	},
	"dropped-twice": func(d *scenarioDevice) {
		d.onboard()
		for range 2 {
			c := d.enter()
			send(d.T, c, d.message())
			wantClosed(d.T, c)
		}
		d.said(d.enter())
		d.fired("dropped-twice", 2)
	},
	"cut-off": func(d *scenarioDevice) {
		d.onboard()
		for range 2 {
			c := d.enter()
			send(d.T, c, d.message())
			wantClosed(d.T, c)
		}
		d.said(d.enter())
		d.fired("cut-off", 2)
		if d.platform == "iothub" || d.platform == "edge" {
			require.Len(d, atHub(d.T, d.cloud, d.id, 3), 3, "taken each time")
		}
	},
	"lost-puback": func(d *scenarioDevice) {
		d.onboard()
		c := d.enter()
		send(d.T, c, d.message())
		wantAlive(d.T, c)
		d.said(c)
		d.fired("lost-puback", 1)
	},
	"twice":           scenarioTwice,
	"disabled":        scenarioDisabled,
	"three-polls":     scenarioThreePolls,
	"throttled":       scenarioThrottled,
	"polls-throttled": scenarioPollsThrottled,
	"server-error":    scenarioServerError,
	"answer-lost":     scenarioAnswerLost,
	"twin-throttled":  scenarioTwinThrottled,
	"method-lost":     scenarioMethodLost,
	"expires-5s":      scenarioExpires,
	"upstream-lost":   scenarioUpstreamLost,
}

// Every scenario does on each of its platforms what the list says, with an unmodified client and nothing set up.
func TestScenarios(t *testing.T) {
	t.Parallel()
	for _, s := range fakecloud.Scenarios() {
		run := everyScenario[s.Name]
		require.NotNil(t, run, "scenario %s has a test", s.Name)
		for _, platform := range s.Platforms {
			require.Contains(t, scenarioPlatforms, platform)
			t.Run(s.Name+"/"+platform, func(t *testing.T) {
				t.Parallel()
				cloud := fakecloud.Start(t)
				run(newScenarioDevice(t, cloud, platform, "scenario-"+s.Name))
			})
		}
	}
	require.Len(t, everyScenario, len(fakecloud.Scenarios()))
}

// Each id begins anew, a reset begins anew, and nobody else notices.
func TestScenarioDevicesAreCountedEach(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	at := func(id string) *scenarioDevice { return newScenarioDevice(t, cloud, "iothub", id) }
	twice := func(d *scenarioDevice) {
		t.Helper()
		wantConnack(t, d.knock(), 3)
		wantConnack(t, d.knock(), 3)
		d.enter()
	}
	first, second, other := at("scenario-unavailable-job1"), at("scenario-unavailable-job2"), at("demo-sas")
	wantConnack(t, first.knock(), 3)
	other.enter()
	twice(second)
	wantConnack(t, first.knock(), 3)
	first.enter()

	count, err := cloud.ResetDevices("*-job2")
	require.NoError(t, err)
	require.Equal(t, 1, count, "its identity goes, as it was not there at first")
	twice(second)
	first.enter()
	over := slices.DeleteFunc(cloud.ScenarioDevices(), func(d fakecloud.ScenarioDevice) bool { return !d.Over })
	require.Len(t, over, 2)
	require.Equal(t, fakecloud.ScenarioDevice{Scenario: "unavailable", Platform: "iothub", Endpoint: demoHub, Device: "scenario-unavailable-job1",
		Fired: 2, Over: true}, over[0])

	require.NoError(t, cloud.Reset())
	require.Empty(t, cloud.ScenarioDevices())
	twice(first)
	other.enter()
	cloud.ClearFaults()
	twice(at("scenario-unavailable-3")) // is not of those that were set
}

// A name that no scenario has is told, and the device is like every other; so is one that only looks similar.
func TestScenarioThatIsNone(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	provision(t, cloud, enrollee{id: "scenario-trottled", via: via{name: globalDPS, cert: device(t, cloud, "scenario-trottled")}})
	events := cloud.Events(fakecloud.Filter{Kind: "fault"})
	require.NotEmpty(t, events)
	require.Contains(t, events[0].Detail, "no scenario has this name")
	require.Contains(t, events[0].Detail, "throttled")
	provision(t, cloud, enrollee{id: "my-scenario-throttled", via: via{name: globalDPS, cert: device(t, cloud, "my-scenario-throttled")}})
	require.Len(t, cloud.Events(fakecloud.Filter{Kind: "fault"}), len(events))

	// The hub makes no such device, nor a module of one, nor one whose credential is wrong.
	stranger := newScenarioDevice(t, cloud, "iothub", "scenario-trotled")
	wantConnack(t, stranger.knock(), 5)
	refused(t, cloud, "HUB-9/unknown")
	wrong := child("scenario-unavailable")
	wrong.Password = ptr(sign(demoHub+"/devices/scenario-unavailable", groupKey, later, ""))
	for range 3 {
		c := dial(t, cloud, via{name: demoHub})
		send(t, c, wrong.Bytes())
		require.Equal(t, byte(0x20), receive(t, c).First)
	}
	refused(t, cloud, "HUB-5/signature")
	require.NotContains(t, strings.Join(deviceIDs(cloud), " "), "scenario-unavailable")
}

// A world without the switch has no scenario devices of its own; those that it registers still behave.
func TestScenariosOfAnOwnWorld(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(`
base: none
azure: {hubs: [{name: fakecloud-hub, devices: [
  {deviceId: scenario-unavailable-own, authentication: {symmetricKey: {primaryKey: `+demoKey+`}}}]}]}
`))
	own := newScenarioDevice(t, cloud, "iothub", "scenario-unavailable-own")
	wantConnack(t, own.knock(), 3)
	wantConnack(t, own.knock(), 3)
	own.enter()
	wantConnack(t, newScenarioDevice(t, cloud, "iothub", "scenario-expires-5s").knock(), 5)
	require.Contains(t, refused(t, cloud, "HUB-9/unknown").Detail, "scenarios: true")
}

// IoTDA has a product of that name before it has a scenario device of it.
func TestScenarioDeviceOfNoProduct(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := dial(t, cloud, via{name: iotdaMQTT})
	send(t, c, huawei("other_scenario-twice_0_0_2025041401", "other_scenario-twice", passwordV1).Bytes())
	wantConnack(t, c, 4)
	require.Contains(t, refused(t, cloud, "DA-9/unknown").Detail, "in a product that it has")
}

// A certificate of demo-ca does as well as key or secret, and the device keeps it.
func TestScenarioDevicesByCertificate(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	id := "scenario-dropped-twice-cert"
	cert := device(t, cloud, id)
	hub := func() *rawmqtt.Conn {
		c := dial(t, cloud, via{name: demoHub, cert: cert})
		send(t, c, rawmqtt.Connect{ClientID: id, Username: ptr(demoHub + "/" + id + "/?api-version=2021-04-12")}.Bytes())
		return c
	}
	for range 2 {
		c := hub()
		wantConnack(t, c, 0)
		send(t, c, rawmqtt.Publish("devices/"+id+"/messages/events/", "1", 1, 7, false))
		wantClosed(t, c)
	}
	c := hub()
	wantConnack(t, c, 0)
	say(t, c, "devices/"+id+"/messages/events/", "1")
	wantConnack(t, newScenarioDevice(t, cloud, "iothub", id).knock(), 5)

	// The same device through the gateway, which becomes its parent.
	c = tryEdge(t, cloud, rawmqtt.Connect{ClientID: id, Username: ptr(demoHub + "/" + id + "/?api-version=2021-04-12")}, *cert)
	wantConnack(t, c, 0)

	c = dial(t, cloud, via{name: iotdaMQTT, cert: cert})
	send(t, c, huawei("demo_"+id+"_0_0_2025041401", "demo_"+id, "").Bytes())
	wantConnack(t, c, 0)
}

// In region eu2 of MindSphere the tenant stands before the name, at DPS and at the hub.
func TestScenarioDevicesOfRegionEU2(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	id := "demo2_scenario-throttled-1"
	c := enrollee{id: id, scope: "0ne00FAKE02", via: via{name: globalDPS, cert: device(t, cloud, id)}}.open(t, cloud)
	for range 2 {
		require.Equal(t, "$dps/registrations/res/429/?$rid=r-1&retry-after=2", register(t, c, "").Topic())
	}
	require.Contains(t, register(t, c, "").Topic(), "/res/202/")
}

// What is kept of a scenario device is what is kept of any: its identity, and not how far it has come.
func TestScenarioDevicesAfterARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	for life := range 2 {
		cloud, err := fakecloud.New(t.Context(), fakecloud.WithServerKey("ecdsa"), fakecloud.WithDataDir(dir))
		require.NoError(t, err)
		known := slices.Contains(deviceIDs(cloud), "iothub scenario-unavailable-1")
		require.Equal(t, life == 1, known)
		require.Empty(t, cloud.ScenarioDevices())
		d := newScenarioDevice(t, cloud, "iothub", "scenario-unavailable-1")
		wantConnack(t, d.knock(), 3)
		wantConnack(t, d.knock(), 3)
		d.said(d.enter())
		require.NoError(t, cloud.Close())
	}
}

// A snapshot holds the devices, and begins their scenarios again.
func TestScenarioDevicesOfASnapshot(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	d := newScenarioDevice(t, cloud, "iothub", "scenario-unavailable-1")
	wantConnack(t, d.knock(), 3)
	wantConnack(t, d.knock(), 3)
	d.enter()
	file, err := cloud.Snapshot()
	require.NoError(t, err)
	require.NoError(t, cloud.Restore(file))
	require.Contains(t, deviceIDs(cloud), "iothub scenario-unavailable-1")
	wantConnack(t, d.knock(), 3)
	wantConnack(t, d.knock(), 3)
	d.enter()
}
