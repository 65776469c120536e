package mqtt_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/emulators/mindsphere/mqtt"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// today is the wall reading in the bubbles.
var today = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// server is MindSphere behind the real broker, reached over a pipe.
type server struct {
	*broker.Server
	clock   *clock.Control
	journal *journal.Journal
	store   *store.Store
	svc     *mindsphere.Service
	cas     *pki.DeviceCAs
	conns   atomic.Uint64
	name    string // that clients come by
}

// onWire runs test against a server with tenant camexia and its verified CA, in a bubble with its own time.
func onWire(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		require.NoError(t, s.svc.PutTenant(mindsphere.Tenant{Name: "camexia"}))
		s.addCA(t, "camexia", "camexia-ca", true)
		test(t, s)
		s.stop(t)
	})
}

func newServer(t *testing.T) *server {
	t.Helper()
	return serverOn(t, func(c *clock.Control) clock.Clock { return c })
}

// serverOn is newServer with another clock for the platform.
func serverOn(t *testing.T, platform func(*clock.Control) clock.Clock) *server {
	t.Helper()
	c, st := clock.New(), store.New()
	c.Skew(time.Until(today))
	cas, err := pki.OpenDeviceCAs(pki.Options{Clock: func() time.Time { return today }})
	require.NoError(t, err)
	s := &server{clock: c, store: st, cas: cas, journal: journal.New(c, rule.NewTable(mindsphere.Rules), journal.Options{})}
	s.svc = mindsphere.New(mindsphere.Config{Clock: platform(c), IDs: ids.New(1), Journal: s.journal, Store: st})
	s.Server, err = broker.New(mqtt.Config(s.svc, broker.Config{Journal: s.journal, Clock: c, Log: slog.New(slog.DiscardHandler)}))
	require.NoError(t, err)
	return s
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	require.NoError(t, s.Close(ctx))
}

// addCA makes a CA and uploads it to a tenant.
func (s *server) addCA(t *testing.T, tenant, name string, verified bool) {
	t.Helper()
	ca, err := s.cas.CreateCA(pki.CARequest{Name: name})
	require.NoError(t, err)
	_, err = s.svc.PutCA(tenant, mindsphere.CA{ID: name, Certificate: string(ca.PEM()), Verified: verified})
	require.NoError(t, err)
}

// leaf issues an agent's certificate.
func (s *server) leaf(t *testing.T, ca, cn string) pki.Issued {
	t.Helper()
	i, err := s.cas.IssueDevice(pki.DeviceRequest{CommonName: cn, CA: ca})
	require.NoError(t, err)
	return i
}

// chain is what a client with a chain file presents.
func chain(i pki.Issued) []*x509.Certificate {
	return append([]*x509.Certificate{i.Leaf}, i.Issuers...)
}

// dial connects a raw client without sending anything.
func (s *server) dial(t *testing.T, certs ...*x509.Certificate) *brokertest.Conn {
	t.Helper()
	near, far := net.Pipe()
	peer := broker.Peer{Conn: s.conns.Add(1), Endpoint: "camexia", Remote: far.RemoteAddr(), Local: far.LocalAddr(), Certificates: certs, Transport: "mqtts", SNI: s.name}
	go func() { _ = s.Serve(far, peer) }()
	t.Cleanup(func() { _ = near.Close() })
	return brokertest.New(t, near)
}

// attempt dials and sends a CONNECT.
func (s *server) attempt(t *testing.T, packet brokertest.Connect, certs ...*x509.Certificate) *brokertest.Conn {
	t.Helper()
	c := s.dial(t, certs...)
	c.Send(packet.Bytes())
	return c
}

// provision makes an agent ready and returns its certificate.
func (s *server) provision(t *testing.T, cn string) pki.Issued {
	t.Helper()
	i := s.leaf(t, "camexia-ca", cn)
	s.attempt(t, brokertest.Connect{ClientID: "camexia_" + cn}, chain(i)...).ExpectClosed()
	require.NoError(t, s.clock.Advance(mindsphere.DefaultProvisioning))
	return i
}

// join connects a ready agent; the CONNACK has no session.
func (s *server) join(t *testing.T, cn string) *brokertest.Conn {
	t.Helper()
	i := s.provision(t, cn)
	c := s.attempt(t, brokertest.Connect{ClientID: "camexia_" + cn, Session: false}, i.Leaf)
	c.Expect(0x20, 2, 0, 0)
	return c
}

// told returns the newest event that cites a rule.
func (s *server) told(t *testing.T, id rule.ID) journal.Event {
	t.Helper()
	synctest.Wait()
	events, _ := s.journal.Select(journal.Filter{Rule: id})
	require.NotEmpty(t, events, "%s is not in the journal", id)
	e := events[len(events)-1]
	require.NotEmpty(t, e.Fix)
	require.NotEmpty(t, e.Detail)
	require.NotEmpty(t, e.Source)
	return e
}

// refusedAs returns the refused event of a rule.
func (s *server) refusedAs(t *testing.T, id rule.ID) journal.Event {
	t.Helper()
	e := s.told(t, id)
	require.Equal(t, journal.Refused, e.Kind)
	return e
}

// count returns how many events of a kind an agent has.
func (s *server) count(kind journal.Kind, device string) int {
	events, _ := s.journal.Select(journal.Filter{Kind: kind, Device: device})
	return len(events)
}

func pemOf(certs ...*x509.Certificate) string {
	var b bytes.Buffer
	for _, c := range certs {
		b.WriteString(pemBlock(c))
	}
	return b.String()
}
