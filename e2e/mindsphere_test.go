package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const (
	mindConnect = "mindconnectmqtt.eu1.mindsphere.io"
	mindGateway = "gateway.eu1.mindsphere.io"
)

// agent opens a connection of the default tenant's agent pump-7 by a server name and sends a CONNECT with
// neither user name nor password.
func agent(t *testing.T, cloud *fakecloud.Cloud, name string, cert *tls.Certificate) *rawmqtt.Conn {
	t.Helper()
	c := dial(t, cloud, via{name: name, cert: cert})
	send(t, c, rawmqtt.Connect{ClientID: "demo_pump-7"}.Bytes())
	return c
}

// The first connection is closed without CONNACK while the agent is being provisioned; after the delay,
// which follows the clock, the agent is accepted and its topics work.
func TestMindSphereFirstConnectionDrops(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	pump := device(t, cloud, "pump-7")
	wantClosed(t, agent(t, cloud, mindConnect, pump))
	rule.Proves(t, "MS-1")
	wantClosed(t, agent(t, cloud, mindConnect, pump))
	rule.Proves(t, "MS-2")
	require.NoError(t, cloud.Advance(4*time.Second))

	c := agent(t, cloud, mindConnect, pump)
	wantConnack(t, c, 0)
	rule.Proves(t, "MS-3")
	send(t, c, rawmqtt.Subscribe(1, 1, "tc/demo/demo_pump-7/i/amo_v3/ms"))
	wantBytes(t, c, 0x90, 3, 0, 1, 1)
	send(t, c, rawmqtt.Subscribe(2, 1, "tc/demo/demo_other/i/amo_v3/ms"))
	wantBytes(t, c, 0x90, 3, 0, 2, 0x80)
	send(t, c, rawmqtt.Publish("tc/demo/demo_pump-7/i/amo_v3/ms", "{}", 1, 3, false))
	wantClosed(t, c)
	events := cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "refused"})
	require.NotEmpty(t, events)
	require.NotEmpty(t, events[len(events)-1].Fix)
}

// Without the vendor's name the tenant is found by the client id and its certificate.
func TestMindSphereByAddress(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	pump := device(t, cloud, "pump-7")
	wantClosed(t, agent(t, cloud, "", pump))
	require.NoError(t, cloud.Advance(4*time.Second))
	wantConnack(t, agent(t, cloud, "", pump), 0)
}

// A client id without the tenant never connects, and the journal says which one would.
func TestMindSphereWrongClientID(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := dial(t, cloud, via{name: mindConnect, cert: device(t, cloud, "pump-7")})
	send(t, c, rawmqtt.Connect{ClientID: "pump-7"}.Bytes())
	wantClosed(t, c)
	events := cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "refused"})
	require.NotEmpty(t, events)
	require.Contains(t, events[0].Expected, "demo_pump-7")
}

// MS-8: the HTTPS port takes MQTT by its ALPN name; without it MQTT is not spoken there.
func TestMindSphereALPN(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	pump := device(t, cloud, "pump-7")
	over443 := func(name string, protocols ...string) *rawmqtt.Conn {
		t.Helper()
		raw, err := net.Dial("tcp", httpsAddr(cloud))
		require.NoError(t, err)
		t.Cleanup(func() { raw.Close() })
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM(cloud.RootsPEM()))
		conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: name, NextProtos: protocols, Certificates: []tls.Certificate{*pump}})
		require.NoError(t, conn.SetDeadline(time.Now().Add(rawmqtt.Patience)))
		require.NoError(t, conn.Handshake())
		c := rawmqtt.New(conn)
		send(t, c, rawmqtt.Connect{ClientID: "demo_pump-7"}.Bytes())
		return c
	}
	wantClosed(t, over443(mindConnect, "x-amzn-mqtt-ca"))
	require.NoError(t, cloud.Advance(4*time.Second))
	c := over443(mindConnect, "x-amzn-mqtt-ca")
	wantConnack(t, c, 0)
	send(t, c, rawmqtt.Subscribe(1, 1, "tc/demo/demo_pump-7/i/amo_v3/#"))
	wantBytes(t, c, 0x90, 3, 0, 1, 1)

	for _, protocols := range [][]string{nil, {"http/1.1"}, {"mqtt"}} {
		wantClosed(t, over443(mindConnect, protocols...))
	}
	require.Contains(t, refused(t, cloud, "DOOR-5/mqtt").Expected, "x-amzn-mqtt-ca")
	rule.Proves(t, "MS-8")
}
