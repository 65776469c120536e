package e2e

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// attempt sends a CONNECT to the broker of eu1.
func attempt(t *testing.T, cloud *fakecloud.Cloud, cert *tls.Certificate, packet rawmqtt.Connect) *rawmqtt.Conn {
	t.Helper()
	c := dial(t, cloud, via{name: mindConnect, cert: cert})
	send(t, c, packet.Bytes())
	return c
}

// onboard takes the agent {tenant}_{common name} past its first connection.
func onboard(t *testing.T, cloud *fakecloud.Cloud, clientID string, cert *tls.Certificate) {
	t.Helper()
	wantClosed(t, attempt(t, cloud, cert, rawmqtt.Connect{ClientID: clientID}))
	require.NoError(t, cloud.Advance(3*time.Second))
}

// MS-1 to MS-3: the delay is the tenant's, follows the clock to the second, and holds for each certificate.
func TestMindSphereProvisioningTime(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(`mindsphere: {tenants: [{name: demo, provisioning: 10s}]}`))
	first, renewed := device(t, cloud, "pump-7"), device(t, cloud, "pump-7")
	connect := rawmqtt.Connect{ClientID: "demo_pump-7"}
	for round, cert := range []*tls.Certificate{first, renewed} {
		wantClosed(t, attempt(t, cloud, cert, connect))
		refused(t, cloud, []rule.ID{"MS-1/first", "MS-1/renewal"}[round])
		require.NoError(t, cloud.Advance(9*time.Second))
		wantClosed(t, attempt(t, cloud, cert, connect))
		require.NoError(t, cloud.Advance(time.Second))
		wantConnack(t, attempt(t, cloud, cert, connect), 0)
	}
	require.Contains(t, refused(t, cloud, "MS-2/pending").Expected, "a new connection in ")
	wantConnack(t, attempt(t, cloud, first, connect), 0) // the old certificate is still good
	require.Contains(t, gateway(t, cloud, "gateway.eu1.mindsphere.io", "demo", "/api/assetmanagement/v3/assets?filter=%7B%22externalId%22%3A%22demo_pump-7%22%7D"),
		`"typeId":"core.mcmqtt"`)
	rule.Proves(t, "MS-1", "MS-2", "MS-3")
}

// MS-4: a provisioned agent is known after a restart.
func TestMindSphereAgentOutlivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cloud := fakecloud.Start(t, fakecloud.WithDataDir(dir))
	cert := device(t, cloud, "pump-7")
	onboard(t, cloud, "demo_pump-7", cert)
	wantConnack(t, attempt(t, cloud, cert, rawmqtt.Connect{ClientID: "demo_pump-7"}), 0)
	require.NoError(t, cloud.Close())
	again := fakecloud.Start(t, fakecloud.WithDataDir(dir))
	wantConnack(t, attempt(t, again, cert, rawmqtt.Connect{ClientID: "demo_pump-7"}), 0)
	rule.Proves(t, "MS-4")
}

// MS-5: only {tenant}_{common name}; nothing is provisioned by another client id.
func TestMindSphereClientIDs(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(`mindsphere: {tenants: [{name: other}]}`))
	for _, c := range []struct {
		id       rule.ID
		cn       string
		clientID string
		expected string
	}{
		{"MS-5/prefix", "pump-7", "pump-7", `"demo_pump-7"`},
		{"MS-5/tenant", "pump-7", "other_pump-7", `"demo_pump-7"`},
		{"MS-5/device", "pump-7", "demo_pump-8", `"demo_pump-7"`},
		{"MS-5/spelling", "pump-7", "demo_Pump-7", `"demo_pump-7"`},
		{"MS-5/quotes", `"pump-7"`, "demo_pump-7", `CN="pump-7"`}, // set DEVICE_NAME="pump-7" on Windows
		{"MS-5/eu2-name", "demo_pump-7", "demo_pump-7", `CN="pump-7"`},
		{"MS-5/region", "demo2_pump-7", "demo2_pump-7", "DPS"},
	} {
		wantClosed(t, attempt(t, cloud, device(t, cloud, c.cn), rawmqtt.Connect{ClientID: c.clientID}))
		require.Contains(t, refused(t, cloud, c.id).Expected, c.expected, "%s", c.id)
	}
	require.NoError(t, cloud.Advance(time.Minute))
	require.Empty(t, cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "provisioned"}))
	rule.Proves(t, "MS-5")
}

// MS-6: never CONNACK 0 without a valid certificate that a verified CA of the tenant has issued directly.
func TestMindSphereCertificates(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	day := 24 * time.Hour
	stranger, unproven := issueBy(t, "Stranger CA", nil, true, nil), issueBy(t, "Unproven CA", nil, true, nil)
	patch(t, cloud, `mindsphere: {tenants: [{name: demo, certificates: [{name: unproven, verified: false, pem: `+unproven.yaml()+`}]}]}`)
	ca := demoSigner(t, cloud)
	middle := issueBy(t, "Line 1", ca, true, nil)
	impostor := issueBy(t, "", nil, true, func(c *x509.Certificate) { c.RawSubject = ca.cert.RawSubject })
	for _, c := range []struct {
		id   rule.ID
		cert *tls.Certificate
	}{
		{"MS-6/no-certificate", nil},
		{"MS-6/unknown-ca", issueBy(t, "pump-7", stranger, false, nil).tls(stranger)},
		{"MS-6/unverified", issueBy(t, "pump-7", unproven, false, nil).tls(unproven)},
		{"MS-6/intermediate", issueBy(t, "pump-7", middle, false, nil).tls(middle, ca)},
		{"MS-6/signature", issueBy(t, "pump-7", impostor, false, nil).tls(ca)},
		{"MS-6/expired", issueBy(t, "pump-7", ca, false, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(-2*day), time.Now().Add(-day) }).tls(ca)},
		{"MS-6/not-yet-valid", issueBy(t, "pump-7", ca, false, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(day), time.Now().Add(2*day) }).tls(ca)},
	} {
		wantClosed(t, attempt(t, cloud, c.cert, rawmqtt.Connect{ClientID: "demo_pump-7"}))
		refused(t, cloud, c.id)
	}
	require.Empty(t, cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "connack"}))
	rule.Proves(t, "MS-6")
}

// MS-7: the newer connection stays, the older one is closed.
func TestMindSphereTakeover(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	cert := device(t, cloud, "pump-7")
	onboard(t, cloud, "demo_pump-7", cert)
	older := attempt(t, cloud, cert, rawmqtt.Connect{ClientID: "demo_pump-7"})
	wantConnack(t, older, 0)
	newer := attempt(t, cloud, cert, rawmqtt.Connect{ClientID: "demo_pump-7"})
	wantConnack(t, newer, 0)
	wantClosed(t, older)
	wantAlive(t, newer)
	refused(t, cloud, "MS-7/takeover")
	rule.Proves(t, "MS-7")
}

// MS-9, MS-10: a leaf as openssl x509 -req makes it, alone and without its chain; credentials that are present and
// empty, or stand beside the certificate, change nothing.
func TestMindSphereV1LeafAndEmptyCredentials(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	leaf := v1(t, "old-1", demoSigner(t, cloud))
	require.Equal(t, 1, leaf.cert.Version)
	onboard(t, cloud, "demo_old-1", leaf.tls())
	wantConnack(t, attempt(t, cloud, leaf.tls(), rawmqtt.Connect{ClientID: "demo_old-1"}), 0)
	rule.Proves(t, "MS-9")
	wantConnack(t, attempt(t, cloud, leaf.tls(), rawmqtt.Connect{ClientID: "demo_old-1", Username: ptr(""), Password: ptr("")}), 0)
	wantConnack(t, attempt(t, cloud, leaf.tls(), rawmqtt.Connect{ClientID: "demo_old-1", Username: ptr("x"), Password: ptr("y")}), 0)
	rule.Proves(t, "MS-10")
}

// rsaAgent is an agent of a private cloud: an RSA key, and a certificate that ca has issued for it.
type rsaAgent struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
	ca   *signer
}

func newRSAAgent(t *testing.T, name string, ca *signer) *rsaAgent {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &rsaAgent{key, cert, ca}
}

// token is the JWT of the fact sheet's section 4; change may spoil header or claims, as text.
func (a *rsaAgent) token(t *testing.T, clientID, tenant, audience string, expires time.Time) string {
	t.Helper()
	b64 := base64.RawURLEncoding
	std := base64.StdEncoding
	header := fmt.Sprintf(`{"alg":"RS256","typ":"JWT","x5c":[%q,%q]}`, std.EncodeToString(a.cert.Raw), std.EncodeToString(a.ca.cert.Raw))
	claims := fmt.Sprintf(`{"jti":"7","iss":%q,"sub":%[1]q,"aud":[%q],"iat":%d,"nbf":%[3]d,"exp":%d,"schemas":["urn:siemens:mindsphere:v1"],"ten":%q}`,
		clientID, audience, time.Now().Add(-time.Minute).Unix(), expires.Unix(), tenant)
	text := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(claims))
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, a.key, crypto.SHA256, sum[:])
	require.NoError(t, err)
	return text + "." + b64.EncodeToString(signature)
}

// MS-32: a private cloud's broker takes a signed token for a password, by name and by address.
func TestMindSpherePrivateCloud(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(`mindsphere: {tenants: [{name: site, region: private, host: mqtt.site.test, certificates: [{name: ca, ca: demo-ca}]}]}`))
	a := newRSAAgent(t, "press", demoSigner(t, cloud))
	soon := time.Now().Add(time.Hour)
	connect := func(name, user, token string) *rawmqtt.Conn {
		t.Helper()
		c := dial(t, cloud, via{name: name})
		send(t, c, rawmqtt.Connect{ClientID: "site_press", Username: ptr(user), Password: ptr(token)}.Bytes())
		return c
	}
	good := a.token(t, "site_press", "site", "MQTTBroker", soon)
	for _, name := range []string{"mqtt.site.test", ""} {
		c := connect(name, "_CertificateBearer", good)
		wantConnack(t, c, 0)
		send(t, c, rawmqtt.Subscribe(1, 1, "tc/site/site_press/i/#"))
		wantBytes(t, c, 0x90, 3, 0, 1, 1)
		model := request(t, c, "tc/site/site_press/o/amo_v4/m", `{"id":"<a> & b"}`).Payload()
		require.Contains(t, model, `"requestId":"<a> & b"`, "as it was sent, not escaped")
		_, path, found := strings.Cut(model, `"content":"https://mqtt.site.test`)
		require.True(t, found, model)
		path, _, _ = strings.Cut(path, `"`)
		require.Contains(t, gateway(t, cloud, "mqtt.site.test", "site", path), `"typeModel"`)
	}
	for id, c := range map[rule.ID]*rawmqtt.Conn{
		"MS-32/audience":  connect("mqtt.site.test", "_CertificateBearer", a.token(t, "site_press", "site", "Broker", soon)),
		"MS-32/tenant":    connect("mqtt.site.test", "_CertificateBearer", a.token(t, "site_press", "demo", "MQTTBroker", soon)),
		"MS-32/expired":   connect("mqtt.site.test", "_CertificateBearer", a.token(t, "site_press", "site", "MQTTBroker", time.Now().Add(-time.Second))),
		"MS-32/subject":   connect("mqtt.site.test", "_CertificateBearer", a.token(t, "site_other", "site", "MQTTBroker", soon)),
		"MS-32/chain":     connect("mqtt.site.test", "_CertificateBearer", newRSAAgent(t, "press", issueBy(t, "Stranger", nil, true, nil)).token(t, "site_press", "site", "MQTTBroker", soon)),
		"MS-32/malformed": connect("mqtt.site.test", "_CertificateBearer", "secret"),
		"MS-32/username":  connect("mqtt.site.test", "bearer", good),
		"MS-32/signature": connect("mqtt.site.test", "_CertificateBearer", good[:strings.LastIndexByte(good, '.')+1]+strings.Repeat("A", 342)),
	} {
		wantConnack(t, c, 5)
		wantClosed(t, c)
		refused(t, cloud, id)
	}
	for _, e := range cloud.Events(fakecloud.Filter{Kind: "connect"}) {
		require.NotContains(t, fmt.Sprint(e.Properties), good[:40], "a token is a secret")
	}
	rule.Proves(t, "MS-32")
}
