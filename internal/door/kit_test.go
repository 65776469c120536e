package door

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Names and CONNECT packets as a device sends them.
const (
	hubName = "fakecloud-hub.azure-devices.net"
	dpsName = "global.azure-devices-provisioning.net"
)

var connack = []byte{0x20, 0x02, 0x00, 0x00}

// connectPacket builds an MQTT 3.1.1 CONNECT.
func connectPacket(clientID, username string) []byte {
	flags := byte(0x02)
	if username != "" {
		flags |= 0x80
	}
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, flags, 0, 60}, lengthed(clientID)...)
	if username != "" {
		body = append(body, lengthed(username)...)
	}
	return packet(0x10, body)
}

func lengthed(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }

func packet(first byte, body []byte) []byte {
	b := []byte{first}
	for n := len(body); ; n >>= 7 {
		if n < 0x80 {
			b = append(b, byte(n))
			break
		}
		b = append(b, byte(n)|0x80)
	}
	return append(b, body...)
}

// authority signs the test's certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

var newAuthority = sync.OnceValue(func() *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
})

// issue makes a certificate; change may spoil it.
func (a *authority) issue(name string, change func(*x509.Certificate)) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	if ip, err := netip.ParseAddr(name); err == nil {
		template.IPAddresses = []net.IP{ip.AsSlice()}
	} else if name != "" {
		template.DNSNames = []string{name}
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: crypto.PrivateKey(key)}, err
}

// server makes certificates as internal/pki does, one per name or address.
type server struct {
	mu    sync.Mutex
	cache map[string]*tls.Certificate
}

func (s *server) BrokenServer(_ string, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.GetCertificate(hello)
}

func (s *server) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	sni, local := hello.ServerName, addrOf(hello.Conn.LocalAddr())
	name := sni
	switch {
	case sni == "forbidden.example":
		return nil, errors.New("the root does not permit it")
	case sni == "" && local.IsValid():
		name = local.String()
	case sni == "":
		name = "127.0.0.1"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cache[name] == nil {
		cert, err := newAuthority().issue(name, nil)
		if err != nil {
			return nil, err
		}
		s.cache[name] = cert
	}
	return s.cache[name], nil
}

// cloud is a platform's MQTT server: it accepts every CONNECT and tells the test who came.
type cloud struct {
	visits chan visited
}

type visited struct {
	peer  broker.Peer
	first []byte
}

func newCloud() *cloud { return &cloud{visits: make(chan visited, 4096)} }

// Serve implements MQTTServer.
func (c *cloud) Serve(conn net.Conn, peer broker.Peer) error {
	defer conn.Close()
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil {
		return err
	}
	if string(b[:n]) == string(connectPacket("panic", "")) || peer.Endpoint == "panics" {
		panic("a platform with a defect")
	}
	c.visits <- visited{peer, b[:n]}
	if _, err := conn.Write(connack); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}

// bench is a door with two platforms.
type rig struct {
	*Door
	t       testing.TB
	hub     *cloud
	dps     *cloud
	journal *journal.Journal
}

type change func(*Config)

func testConfig(t testing.TB, changes ...change) (Config, *rig) {
	table := hosts.New()
	require.NoError(t, table.Put(hosts.DPS, "fakecloud-dps", dpsName))
	require.NoError(t, table.Put(hosts.IoTHub, hubName, hubName))
	r := &rig{t: t, hub: newCloud(), dps: newCloud()}
	r.journal = journal.New(clock.New(), rule.NewTable(Rules), journal.Options{})
	cfg := Config{
		Ports:        Ports{HTTPS: []int{0}},
		Hosts:        table,
		Certificates: &server{cache: map[string]*tls.Certificate{}},
		Journal:      r.journal,
		Log:          slog.New(slog.DiscardHandler),
		Platforms: []Platform{
			{Name: hosts.DPS, MQTT: r.dps, Claim: claimDPS},
			{Name: hosts.IoTHub, MQTT: r.hub, Claim: claimHub, HTTP: http.HandlerFunc(echo)},
		},
	}
	for _, change := range changes {
		change(&cfg)
	}
	return cfg, r
}

func newRig(t testing.TB, changes ...change) *rig {
	t.Helper()
	cfg, r := testConfig(t, changes...)
	d, err := Open(cfg)
	require.NoError(t, err)
	r.Door = d
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, d.Close(ctx))
	})
	return r
}

// claimDPS and claimHub are what the real ones do with the user name, in short.
func claimDPS(h *Hello) Claim {
	if len(h.Username) > 3 && h.Username[:3] == "0ne" {
		return Claim{Endpoint: "fakecloud-dps", OK: true}
	}
	return Claim{}
}

func claimHub(h *Hello) Claim {
	switch h.Username {
	case "127.0.0.1/dev-01/?api-version=2021-04-12", hubName + "/dev-01/?api-version=2021-04-12":
		return Claim{Endpoint: hubName, OK: true}
	case "panics":
		return Claim{Endpoint: "panics", OK: true}
	case "other.azure-devices.net/dev-01/":
		return Claim{Near: "no hub other.azure-devices.net; there is " + hubName}
	}
	return Claim{}
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Endpoint", PeerOf(r).Endpoint)
	_, _ = io.WriteString(w, r.URL.Path)
}

func (r *rig) address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// tcp dials a port.
func (r *rig) tcp(port int) net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.address(port))
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn
}

// tls dials a port with a server name, empty for none.
func (r *rig) tls(port int, name string, change func(*tls.Config)) (*tls.Conn, error) {
	r.t.Helper()
	config := &tls.Config{RootCAs: newAuthority().pool, ServerName: name}
	if name == "" {
		config.InsecureSkipVerify = true
	}
	if change != nil {
		change(config)
	}
	conn := tls.Client(r.tcp(port), config)
	return conn, conn.Handshake()
}

func (r *rig) mustTLS(port int, name string, change func(*tls.Config)) *tls.Conn {
	r.t.Helper()
	conn, err := r.tls(port, name, change)
	require.NoError(r.t, err)
	return conn
}

// event waits for the next event of a kind and rule.
func (r *rig) event(kind journal.Kind, id rule.ID) journal.Event {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	events, _, err := r.journal.Wait(ctx, journal.Filter{Kind: kind, Rule: id}, 1)
	if err != nil {
		all, _ := r.journal.Select(journal.Filter{})
		for _, e := range all {
			r.t.Logf("%s %s %s: %s (seen %s)", e.Kind, e.Platform, e.Rule, e.Detail, e.Seen)
		}
		r.t.Fatalf("no event of kind %s, rule %q: %v", kind, id, err)
	}
	return events[0]
}

// refused waits for a refusal by a rule and requires that it is explained.
func (r *rig) refused(id rule.ID) journal.Event {
	r.t.Helper()
	e := r.event(journal.Refused, id)
	require.NotEmpty(r.t, e.Detail)
	require.NotEmpty(r.t, e.Fix, "rule %s has no such cause", id)
	require.NotEmpty(r.t, e.Source)
	require.NotEmpty(r.t, e.Seen)
	require.NotEmpty(r.t, e.Expected)
	require.NotEmpty(r.t, e.Address)
	require.NotZero(r.t, e.Conn)
	return e
}

// requireClosed reads to the end and returns what came before.
func requireClosed(t testing.TB, conn net.Conn) []byte {
	t.Helper()
	b, err := io.ReadAll(conn)
	if err != nil {
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		var netErr net.Error
		require.False(t, errors.As(err, &netErr) && netErr.Timeout(), "the connection stayed open: %v", err)
	}
	return b
}

// requireServed sends a CONNECT and requires that the platform got it, byte for byte.
func requireServed(t testing.TB, conn net.Conn, c *cloud, raw []byte) broker.Peer {
	t.Helper()
	_, err := conn.Write(raw)
	require.NoError(t, err)
	answer := make([]byte, len(connack))
	_, err = io.ReadFull(conn, answer)
	require.NoError(t, err)
	require.Equal(t, connack, answer)
	v := <-c.visits
	require.Equal(t, raw, v.first)
	return v.peer
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
