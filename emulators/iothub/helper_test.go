package iothub

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

const (
	demoKey  = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	otherKey = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	contoso  = "contoso.azure-devices.net"
)

type world struct {
	*Service
	clock   *clock.Control
	journal *journal.Journal
	store   *store.Store
}

// newWorld has the hub contoso with the SAS device dev-01 and its module mod-a.
func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldWith(t, Config{})
}

// newWorldWith has the given limits.
func newWorldWith(t testing.TB, config Config) *world {
	t.Helper()
	c := clock.New()
	j := journal.New(c, rule.NewTable(Rules), journal.Options{})
	w := &world{clock: c, journal: j, store: store.New()}
	config.Clock, config.IDs, config.Journal, config.Store = c, ids.New(1), j, w.store
	w.Service = New(config)
	policies := DefaultPolicies()
	for i := range policies {
		policies[i].PrimaryKey, policies[i].SecondaryKey = demoKey, otherKey
	}
	_, err := w.PutHub(Hub{Name: "contoso", Policies: policies})
	require.NoError(t, err)
	w.put(t, Device{DeviceID: "dev-01", Authentication: sasKeys()})
	_, err = w.PutModule(contoso, Module{DeviceID: "dev-01", ModuleID: "mod-a", Authentication: sasKeys()})
	require.NoError(t, err)
	return w
}

func sasKeys() Authentication {
	return Authentication{Type: AuthSAS, SymmetricKey: SymmetricKey{PrimaryKey: demoKey, SecondaryKey: otherKey}}
}

func (w *world) put(t testing.TB, d Device) Device {
	t.Helper()
	d, err := w.PutDevice(contoso, d)
	require.NoError(t, err)
	return d
}

// authority is a CA of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate; a nil parent makes a self-signed one.
func issue(t testing.TB, parent *authority, cn string, change func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: cn},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	if change != nil {
		change(template)
	}
	signer := &authority{cert: template, key: key}
	if parent != nil {
		signer = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, key.Public(), signer.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert: cert, key: key}
}

func asCA(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }

func refusalOf(t testing.TB, err error) *rule.Refusal {
	t.Helper()
	var r *rule.Refusal
	require.True(t, errors.As(err, &r), "no refusal but %v", err)
	return r
}

// line is a Downlink that remembers why it was closed.
type line struct{ closed chan error }

func newLine() *line { return &line{closed: make(chan error, 8)} }

func (l *line) Close(cause error) { l.closed <- cause }
