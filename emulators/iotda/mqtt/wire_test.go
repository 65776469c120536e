package mqtt_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/emulators/iotda/mqtt"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The devices of the tests; clients and passwords are literal, from vectors V1 to V7 of the sheet.
const (
	instance = "fakecloud"
	demo     = "demo_node1" // secret 12345678
	dev01    = "5e25cd2ea16ebc0a3f7b1f1c_dev01"
	gateway  = "demo_gw1"
	child    = "demo_child1"
	cert1    = "demo_cert1"

	passV1 = "c75150e6cb841417396819e4d2ee4358a416344a03a083e3a8567074ddec820a" // 12345678, 2025041401
	passV2 = "2a6acdf8e766b25981f6cc109313db3dc99937bc50f4b966535703f20b5a19c1" // mySecret_0123, 2018072417
	passV3 = "9757a7db81ff9a18449ecf611e763f2552e6f94aea53e66fe6559db3bb41eef9" // dev01's, 2026010100
	passV6 = "a110c9e1536980a2ca572e7d5b82542a20a04e144937385f224d587fa1d0e862" // 12345678, SM3
	passV7 = "75e7262705ff85203403e600f652133f9cac4e4d1400b44f3582e778a97f6c36" // swapped
)

// today is the wall reading in the bubbles.
var today = time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC)

// cloud is IoTDA behind the real broker, reached over pipes.
type cloud struct {
	*iotda.Service
	t       *testing.T
	clock   *clock.Control
	journal *journal.Journal
	server  *broker.Server
	conns   atomic.Uint64
}

// onWire runs test against a cloud, in a bubble with its own time.
func onWire(t *testing.T, test func(t *testing.T, c *cloud)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{t: t, clock: clock.New()}
		c.clock.Skew(time.Until(today))
		c.journal = journal.New(c.clock, rule.NewTable(iotda.Rules), journal.Options{})
		c.Service = iotda.New(iotda.Config{Clock: c.clock, IDs: ids.New(1), Journal: c.journal, Store: store.New()})
		_, err := c.PutInstance(iotda.Instance{Name: instance, Scopes: []iotda.Scope{{ID: "scope1", Secret: "Z3JvdXBzZWNyZXQtMDE="}}, Strategies: []string{"plant"}})
		require.NoError(t, err)
		c.product("demo")
		c.device(demo, "12345678")
		c.device(dev01, "0123456789abcdef0123456789abcdef")
		c.device(gateway, "12345678")
		_, err = c.CreateDevice(instance, iotda.NewDevice{Device: iotda.Device{NodeID: "child1", ProductID: "demo", GatewayID: gateway}})
		require.NoError(t, err)
		c.server, err = broker.New(mqtt.Config(c.Service, broker.Config{Journal: c.journal, Clock: c.clock}))
		require.NoError(t, err)
		test(t, c)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		require.NoError(t, c.server.Close(ctx))
		c.Reset(broker.ErrShutdown)
		c.Close()
	})
}

// product is the seed's, and a service with every other type.
func (c *cloud) product(id string) {
	c.t.Helper()
	var p iotda.Product
	require.NoError(c.t, json.Unmarshal([]byte(`{"name":"demo","service_capabilities":[
		{"service_id":"Connectivity","properties":[{"property_name":"dailyActivityTime","data_type":"int","min":"0","max":"65535","step":1,"unit":"s","method":"R"}]},
		{"service_id":"Battery","properties":[{"property_name":"batteryLevel","data_type":"int","min":"0","max":"100","step":1,"unit":"%","method":"RW"}]},
		{"service_id":"Mixed","properties":[
			{"property_name":"mode","data_type":"enum","enum_list":["on","off"]},{"property_name":"label","data_type":"string","max_length":4},
			{"property_name":"flag","data_type":"boolean"},{"property_name":"object","data_type":"jsonObject"},
			{"property_name":"list","data_type":"string list"},{"property_name":"ratio","data_type":"decimal"},{"property_name":"big","data_type":"long"}],
			"events":[{"event_type":"alarm"}]}],
		"topics":[{"topic":"up","operation":"PUBLISH"},{"topic":"down","operation":"SUBSCRIBE"}]}`), &p))
	p.ProductID = id
	_, err := c.PutProduct(instance, p)
	require.NoError(c.t, err)
}

func (c *cloud) device(id, secret string) {
	c.t.Helper()
	_, err := c.CreateDevice(instance, iotda.NewDevice{Device: iotda.Device{DeviceID: id, NodeID: id, ProductID: "demo", Auth: iotda.AuthInfo{Secret: secret}}})
	require.NoError(c.t, err)
}

// way is how a client comes: its certificates, its TLS server name, or without TLS.
type way struct {
	certs []*x509.Certificate
	sni   string
	plain bool
}

func (c *cloud) dial(w way) *brokertest.Conn {
	near, far := net.Pipe()
	peer := broker.Peer{Conn: c.conns.Add(1), Endpoint: instance, Certificates: w.certs, SNI: w.sni, Remote: far.RemoteAddr(), TLSVersion: tls.VersionTLS12}
	if w.plain {
		peer.TLSVersion = 0
	}
	go func() { _ = c.server.Serve(far, peer) }()
	c.t.Cleanup(func() { _ = near.Close() })
	return brokertest.New(c.t, near)
}

func login(clientID, username, password string) brokertest.Connect {
	hello := brokertest.Connect{ClientID: clientID, Username: &username, KeepAlive: 120}
	if password != "" {
		hello.Password = &password
	}
	return hello
}

// join signs a device with the secret 12345678 in.
func (c *cloud) join(device string) *brokertest.Conn {
	c.t.Helper()
	conn := c.dial(way{})
	conn.Send(login(device+"_0_0_2025041401", device, passV1).Bytes())
	conn.Expect(0x20, 2, 0, 0)
	synctest.Wait()
	return conn
}

// try sends one CONNECT and returns the return code of its CONNACK.
func (c *cloud) try(hello brokertest.Connect, w way) byte {
	c.t.Helper()
	conn := c.dial(w)
	conn.Send(hello.Bytes())
	packet := conn.Next()
	require.Equal(c.t, []byte{0x20, 2, 0}, packet[:3])
	if packet[3] == 0 {
		conn.Send(brokertest.Disconnect)
	}
	conn.ExpectClosed()
	synctest.Wait()
	return packet[3]
}

// publish sends one QoS 1 message and expects its PUBACK.
func (c *cloud) publish(conn *brokertest.Conn, topic, payload string) {
	c.t.Helper()
	conn.Send(brokertest.Publish{Topic: topic, Payload: []byte(payload), QoS: 1, ID: 9}.Bytes())
	conn.Expect(0x40, 2, 0, 9)
	synctest.Wait()
}

// told returns the newest event that cites a rule.
func (c *cloud) told(id rule.ID) journal.Event {
	c.t.Helper()
	synctest.Wait()
	events, _ := c.journal.Select(journal.Filter{Rule: id})
	if len(events) == 0 {
		all, _ := c.journal.Select(journal.Filter{Kind: journal.Refused})
		require.NotEmpty(c.t, events, "%s is not in the journal, but %+v", id, all)
	}
	e := events[len(events)-1]
	require.NotEmpty(c.t, e.Fix, id)
	require.NotEmpty(c.t, e.Detail, id)
	require.NotEmpty(c.t, e.Source, id)
	return e
}

// refusedAs returns the newest refused event of a rule.
func (c *cloud) refusedAs(id rule.ID) journal.Event {
	c.t.Helper()
	e := c.told(id)
	require.Equal(c.t, journal.Refused, e.Kind)
	return e
}

func (c *cloud) status(device string) string {
	c.t.Helper()
	synctest.Wait()
	d, err := c.Device(instance, device)
	require.NoError(c.t, err)
	return d.State()
}

// pki is a device CA and what it issues.
type pki struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T, name string) *pki {
	t.Helper()
	p := &pki{t: t}
	p.cert, p.key = issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true}, nil, nil)
	return p
}

func (p *pki) leaf(subject pkix.Name, from, to time.Time) *x509.Certificate {
	c, _ := issue(p.t, &x509.Certificate{Subject: subject, NotBefore: from, NotAfter: to}, p.cert, p.key)
	return c
}

func (p *pki) device(cn string) *x509.Certificate {
	return p.leaf(pkix.Name{CommonName: cn}, today.Add(-time.Hour), today.Add(1000*time.Hour))
}

func (p *pki) pem() string { return pemOf(p.cert) }

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func issue(t *testing.T, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = today.Add(-time.Hour), today.Add(10_000*time.Hour)
	}
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c, key
}

// upload adds a CA to the default space.
func (c *cloud) upload(p *pki, verified bool) iotda.CA {
	c.t.Helper()
	ca, err := c.UploadCA(instance, iotda.CA{Certificate: p.pem(), Verified: verified})
	require.NoError(c.t, err)
	return ca
}

// certDevice registers a certificate device.
func (c *cloud) certDevice(id, fingerprint string) {
	c.t.Helper()
	_, err := c.CreateDevice(instance, iotda.NewDevice{Device: iotda.Device{DeviceID: id, NodeID: id, ProductID: "demo",
		Auth: iotda.AuthInfo{Type: iotda.AuthCertificates, Fingerprint: fingerprint}}})
	require.NoError(c.t, err)
}
