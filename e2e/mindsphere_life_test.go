package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// A reset makes the next connection a first one again; a snapshot brings agent, model and data back.
func TestMindSphereResetAndSnapshot(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	p := newPump(t, cloud)
	p.publish("amo_v4/mi", pumpModel(""))
	for p.progress("amo_v4/mip").Data.Status != "Success" {
	}
	p.publish("mc_v3/ts", reading)
	series := "/api/iottimeseries/v3/timeseries/" + assetNamed(t, cloud, "demo", "Pump 7") + "/climate?from=2020-01-01T00:00:00Z"
	stored := gateway(t, cloud, mindGateway, "demo", series)
	require.Contains(t, stored, `"temperature":21.5`)
	image, err := cloud.Snapshot()
	require.NoError(t, err)

	require.NoError(t, cloud.Reset())
	wantClosed(t, p.Conn)
	wantClosed(t, attempt(t, cloud, p.cert, rawmqtt.Connect{ClientID: "demo_pump-7"}))
	refused(t, cloud, "MS-1/first")
	require.NotContains(t, gateway(t, cloud, mindGateway, "demo", "/api/assetmanagement/v3/assets"), "Pump 7")

	require.NoError(t, cloud.Restore(image))
	p.connect()
	require.Equal(t, stored, gateway(t, cloud, mindGateway, "demo", series))
	p.publish("mc_v3/ts", reading)
	require.Empty(t, cloud.Events(fakecloud.Filter{Rule: "MS-23"}), "the mappings are back")
}

// An agent that is reset alone starts over, without what it made and sent; the others stay.
func TestMindSphereResetOfOneAgent(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	p := newPump(t, cloud)
	work := func() string {
		p.publish("amo_v4/mi", pumpModel(""))
		for p.progress("amo_v4/mip").Data.Status != "Success" {
		}
		p.publish("mc_v3/ts", reading)
		return "/api/iottimeseries/v3/timeseries/" + assetNamed(t, cloud, "demo", "Pump 7") + "/climate?from=2020-01-01T00:00:00Z"
	}
	series := work()
	require.Contains(t, gateway(t, cloud, mindGateway, "demo", series), `"temperature":21.5`)
	other := device(t, cloud, "saw")
	onboard(t, cloud, "demo_saw", other)
	saw := attempt(t, cloud, other, rawmqtt.Connect{ClientID: "demo_saw"})
	wantConnack(t, saw, 0)
	n, err := cloud.ResetDevices("demo_pump-*")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	wantClosed(t, p.Conn)
	wantAlive(t, saw)
	wantClosed(t, attempt(t, cloud, p.cert, rawmqtt.Connect{ClientID: "demo_pump-7"}))
	require.NotContains(t, gateway(t, cloud, mindGateway, "demo", "/api/assetmanagement/v3/assets"), "Pump 7")
	require.NoError(t, cloud.Advance(3*time.Second))
	p.connect()
	p.subscribe()
	require.NotEqual(t, series, work(), "a new asset")
}

// The control plane sees agents of both regions with their connections, ends those without a packet, and deletes an
// agent of eu2 with its device and its registration.
func TestMindSphereControl(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	p := newPump(t, cloud)
	cert := device(t, cloud, eu2Agent)
	registerEU2(t, cloud, eu2Agent, cert)
	c := agentEU2(t, cloud, eu2Agent, cert)
	for _, x := range []struct {
		endpoint, id string
		conn         *rawmqtt.Conn
	}{{"demo", "demo_pump-7", p.Conn}, {"demo2", eu2Agent, c}} {
		d, err := cloud.Device("mindsphere", x.endpoint, x.id)
		require.NoError(t, err)
		require.True(t, d.Connected, x.id)
		require.NotZero(t, d.Conn)
		require.Error(t, cloud.Expire("mindsphere", x.endpoint, x.id), "a certificate is judged at the CONNECT alone")
		require.NoError(t, cloud.Disconnect("mindsphere", x.endpoint, x.id))
		wantClosed(t, x.conn)
	}
	wantAlive(t, agentEU2(t, cloud, eu2Agent, cert))
	require.NoError(t, cloud.DeleteDevice("mindsphere", "demo2", eu2Agent))
	for _, d := range cloud.Devices() {
		require.NotEqual(t, eu2Agent, d.ID, "%s has it still", d.Platform)
	}
	c = dial(t, cloud, via{name: eu2Hub, cert: cert})
	send(t, c, rawmqtt.Connect{ClientID: eu2Agent, Username: ptr(eu2Hub + "/" + eu2Agent + "/?api-version=2018-06-30"), Password: ptr("")}.Bytes())
	wantConnack(t, c, 5)
	registerEU2(t, cloud, eu2Agent, cert)
	wantAlive(t, agentEU2(t, cloud, eu2Agent, cert))
}
