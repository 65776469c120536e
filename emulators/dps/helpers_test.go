package dps_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

const (
	scope    = "0ne00FAKE01"
	instance = "fakecloud-dps"
	hub      = "fakecloud-hub.azure-devices.net"

	// Keys and tokens of the vectors V2 to V6 in the fact sheet; openssl and Python agree on each.
	groupKey      = "ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAxLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg=="
	derivedKey    = "d+XLGuS2T7b8v7TXsSf+PtIWVOUvarQCXwIBe1g9yNU="
	individualKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	tokenV3       = "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2Fdevice-001&sig=%2BUMInG4dEKIdrF%2FV9%2F0%2FKk9gnlSf4YnvBeLW0PrFgGU%3D&se=4102444800&skn=registration"
	tokenV4       = "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2Fdevice-001&sig=1%2F7JadeGBemKLfY73yLNP6VZhqgNmFAPIO6o0HpsoN8%3D&se=1577836800&skn=registration"
	tokenV5       = "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2FMeter-01&sig=WlpM10gU8RjKF57rf%2BLBwsGvwkMHyXjfxZSRqyofPEU%3D&se=4102444800&skn=registration"
	tokenV6       = "SharedAccessSignature sr=0ne00FAKE01%2fregistrations%2fMeter-01&sig=kDszwdcTR8wsAR434SImJ2bDuN%2BQD9czO5uXRBO677U%3D&se=4102444800&skn=registration"
)

// hubs is an Allocator that keeps what it was asked for.
type hubs struct {
	mu       sync.Mutex
	assigned []dps.Assignment
	fail     error
	lost     map[string]bool // devices that the hub does not hold any more
}

func (h *hubs) Assign(_ context.Context, a dps.Assignment) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return h.fail
	}
	h.assigned = append(h.assigned, a)
	return nil
}

func (h *hubs) Holds(hub, deviceID string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.assigned {
		if a.Hub == hub && a.DeviceID == deviceID && !h.lost[deviceID] {
			return true
		}
	}
	return false
}

func (h *hubs) last(t *testing.T) dps.Assignment {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	require.NotEmpty(t, h.assigned)
	return h.assigned[len(h.assigned)-1]
}

func (h *hubs) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.assigned)
}

// world is a service with one instance and what it is wired to.
type world struct {
	*dps.Service
	clock   *clock.Control
	journal *journal.Journal
	store   *store.Store
	hubs    *hubs
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: clock.New(), hubs: &hubs{lost: map[string]bool{}}, store: store.New()}
	w.journal = journal.New(w.clock, rule.NewTable(dps.Rules), journal.Options{})
	w.Service = dps.New(dps.Config{Clock: w.clock, IDs: ids.New(1), Journal: w.journal, Store: w.store, Allocator: w.hubs,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	require.NoError(t, w.PutInstance(dps.Instance{Name: instance, IDScope: scope, LinkedHubs: []string{hub}}))
	return w
}

func (w *world) enrollKeys(t *testing.T, id, primary, secondary string) {
	t.Helper()
	_, err := w.PutEnrollment(instance, dps.Enrollment{RegistrationID: id, Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: primary, Secondary: secondary}}})
	require.NoError(t, err)
}

func (w *world) enrollGroupKey(t *testing.T, id, primary string) {
	t.Helper()
	_, err := w.PutGroup(instance, dps.Group{ID: id, Attestation: dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: primary}}})
	require.NoError(t, err)
}

func (w *world) enrollCA(t *testing.T, group string, ca authority, verified bool) {
	t.Helper()
	require.NoError(t, w.PutCA(instance, dps.CA{Name: "ca-" + group, Certificate: ca.pem(), Verified: verified}))
	_, err := w.PutGroup(instance, dps.Group{ID: group, Attestation: dps.Attestation{X509: &dps.X509{PrimaryCA: "ca-" + group}}})
	require.NoError(t, err)
}

func withToken(id, token string) dps.Caller {
	return dps.Caller{Scope: scope, RegistrationID: id, APIVersion: "2019-03-31", Token: token, Conn: 7, Address: "127.0.0.1:5"}
}

func withChain(id string, chain ...*x509.Certificate) dps.Caller {
	return dps.Caller{Scope: scope, RegistrationID: id, APIVersion: "2019-03-31", Certificates: chain, Conn: 7, Address: "127.0.0.1:5"}
}

// provision registers and polls until the answer is final.
func (w *world) provision(t *testing.T, c dps.Caller) (final dps.Answer, state map[string]any) {
	t.Helper()
	s := w.Open(c)
	op := operationID(t, s.Register(t.Context(), nil))
	for range 5 {
		final = s.Poll(t.Context(), op)
		if final.Status != 202 {
			break
		}
	}
	require.Equal(t, 200, final.Status, string(final.Body))
	state, ok := fields(t, final)["registrationState"].(map[string]any)
	require.True(t, ok)
	return final, state
}

// refused registers and returns the error body, having compared status, code and rule.
func (w *world) refused(t *testing.T, c dps.Caller, code int, id rule.ID) (*rule.Refusal, map[string]any) {
	t.Helper()
	before := w.hubs.count()
	a := w.Open(c).Register(t.Context(), nil)
	require.NotNil(t, a.Refusal, string(a.Body))
	require.Equal(t, id, a.Refusal.Rule, "%+v", a.Refusal)
	body := fields(t, a)
	require.EqualValues(t, code, body["errorCode"])
	require.Equal(t, code/1000, a.Status)
	require.Equal(t, a.Status, a.Refusal.Code)
	require.Zero(t, a.RetryAfter)
	require.NotEmpty(t, a.Refusal.Seen)
	require.NotEmpty(t, a.Refusal.Expected)
	require.Equal(t, before, w.hubs.count(), "a refused device must not reach a hub")
	return a.Refusal, body
}

func operationID(t *testing.T, a dps.Answer) string {
	t.Helper()
	require.Equal(t, 202, a.Status, string(a.Body))
	id, _ := fields(t, a)["operationId"].(string)
	require.NotEmpty(t, id)
	return id
}

func fields(t *testing.T, a dps.Answer) map[string]any {
	t.Helper()
	var body map[string]any
	require.NoError(t, json.Unmarshal(a.Body, &body), string(a.Body))
	return body
}

// authority is a certificate that can sign others.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (a authority) pem() string { return pemOf(a.cert) }

func pemOf(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

var serial struct {
	sync.Mutex
	n int64
}

// issue makes a certificate of name, signed by parent (nil: by itself), changed by each edit.
func issue(t *testing.T, name string, parent *authority, edits ...func(*x509.Certificate)) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return reissue(t, name, key, parent, edits...)
}

func reissue(t *testing.T, name string, key *ecdsa.PrivateKey, parent *authority, edits ...func(*x509.Certificate)) authority {
	t.Helper()
	serial.Lock()
	serial.n++
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial.n), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	serial.Unlock()
	for _, edit := range edits {
		edit(tmpl)
	}
	up, signer := tmpl, key
	if parent != nil {
		up, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, up, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{cert, key}
}

func isCA(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }

var errBroken = errors.New("hub is broken")

// keyOf returns n bytes as a base64 key.
func keyOf(n int) string {
	return base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("%0*d", n, 7)))
}

func parsePEM(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	require.NotNil(t, block)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return cert
}
