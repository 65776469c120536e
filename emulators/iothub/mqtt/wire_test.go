package mqtt_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/emulators/iothub/mqtt"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	demoKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	contoso = "contoso.azure-devices.net"

	userDev01  = contoso + "/dev-01/?api-version=2021-04-12"
	passDev01  = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01&sig=JQmpIEKDMl%2BOJOOeafv5EINLZmT%2FO%2Fu0tqZURbAHh%2BQ%3D&se=1893456000"
	userModule = contoso + "/dev-01/mod-a/?api-version=2021-04-12"
	passModule = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01%2Fmodules%2Fmod-a&sig=Aph6WgFAF00uSVneZglExBjOsbRbUsrlT6bipTiK5iU%3D&se=1893456000"
)

// cloud is a hub behind a broker, reached over pipes.
type cloud struct {
	t       testing.TB
	hub     *iothub.Service
	journal *journal.Journal
	clock   *clock.Control
	server  *broker.Server
	conns   atomic.Uint64
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	c := &cloud{t: t, clock: clock.New()}
	c.journal = journal.New(c.clock, rule.NewTable(iothub.Rules), journal.Options{})
	c.hub = iothub.New(iothub.Config{Clock: c.clock, IDs: ids.New(1), Journal: c.journal, Store: store.New()})
	policies := iothub.DefaultPolicies()
	for i := range policies {
		policies[i].PrimaryKey = demoKey
	}
	_, err := c.hub.PutHub(iothub.Hub{Name: "contoso", Policies: policies})
	require.NoError(t, err)
	c.put("dev-01", keys())
	_, err = c.hub.PutModule(contoso, iothub.Module{DeviceID: "dev-01", ModuleID: "mod-a", Authentication: keys()})
	require.NoError(t, err)
	c.server, err = broker.New(mqtt.Config(c.hub, broker.Config{Journal: c.journal, Clock: c.clock}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.server.Close(context.Background())) })
	return c
}

func keys() iothub.Authentication {
	return iothub.Authentication{Type: iothub.AuthSAS, SymmetricKey: iothub.SymmetricKey{
		PrimaryKey: demoKey, SecondaryKey: base64.StdEncoding.EncodeToString([]byte("the secondary key of the device!"))}}
}

func (c *cloud) put(id string, a iothub.Authentication) {
	c.t.Helper()
	_, err := c.hub.PutDevice(contoso, iothub.Device{DeviceID: id, Authentication: a})
	require.NoError(c.t, err)
}

// change edits the hub's settings.
func (c *cloud) change(f func(*iothub.Hub)) {
	c.t.Helper()
	h, err := c.hub.GetHub(contoso)
	require.NoError(c.t, err)
	f(&h)
	_, err = c.hub.PutHub(h)
	require.NoError(c.t, err)
}

// dial opens a connection; certs are those of its TLS handshake.
func (c *cloud) dial(certs ...*x509.Certificate) *brokertest.Conn {
	near, far := net.Pipe()
	peer := broker.Peer{Conn: c.conns.Add(1), Endpoint: contoso, Certificates: certs, Hosts: []string{"127.0.0.1", "localhost"}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.server.Serve(far, peer)
	}()
	c.t.Cleanup(func() {
		_ = near.Close()
		<-done
	})
	return brokertest.New(c.t, near)
}

var (
	accepted = []byte{0x20, 2, 0, 0}
	resumed  = []byte{0x20, 2, 1, 0}
)

func refused(code byte) []byte { return []byte{0x20, 2, 0, code} }

// login is the CONNECT of dev-01.
func login() brokertest.Connect {
	return brokertest.Connect{ClientID: "dev-01", Username: brokertest.Text(userDev01), Password: brokertest.Text(passDev01)}
}

func loginModule() brokertest.Connect {
	return brokertest.Connect{ClientID: "dev-01/mod-a", Username: brokertest.Text(userModule), Password: brokertest.Text(passModule)}
}

// connect signs dev-01 in.
func (c *cloud) connect() *brokertest.Conn {
	return c.signIn(login())
}

func (c *cloud) signIn(hello brokertest.Connect, certs ...*x509.Certificate) *brokertest.Conn {
	c.t.Helper()
	conn := c.dial(certs...)
	conn.Send(hello.Bytes())
	conn.Expect(accepted...)
	return conn
}

// expectRefused waits for the journal's word on the newest connection's refusal.
func (c *cloud) expectRefused(id rule.ID) journal.Event {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	events, _, err := c.journal.Wait(ctx, journal.Filter{Kind: journal.Refused, Rule: id}, 1)
	if err != nil {
		all, _ := c.journal.Select(journal.Filter{Kind: journal.Refused})
		require.NoError(c.t, err, "no %s but %+v", id, all)
	}
	require.NotEmpty(c.t, events[0].Fix)
	require.NotEmpty(c.t, events[0].Source)
	return events[0]
}

// telemetry waits for n telemetry events and returns them.
func (c *cloud) telemetry(n int) []journal.Event {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	events, _, err := c.journal.Wait(ctx, journal.Filter{Kind: journal.Telemetry}, n)
	require.NoError(c.t, err)
	return events
}

func (c *cloud) noTelemetry() {
	c.t.Helper()
	events, _ := c.journal.Select(journal.Filter{Kind: journal.Telemetry})
	require.Empty(c.t, events)
}

// publish sends one QoS 1 message and expects its PUBACK.
func publish(conn *brokertest.Conn, topic, payload string) {
	conn.Send(brokertest.Publish{Topic: topic, Payload: []byte(payload), QoS: 1, ID: 9}.Bytes())
	conn.Expect(0x40, 2, 0, 9)
}
