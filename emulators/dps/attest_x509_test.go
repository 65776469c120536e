package dps_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/journal"
)

func (w *world) enrollCert(t *testing.T, id string, x dps.X509, terms dps.Terms, deviceID string) {
	t.Helper()
	_, err := w.PutEnrollment(instance, dps.Enrollment{RegistrationID: id, DeviceID: deviceID, Attestation: dps.Attestation{X509: &x}, Terms: terms})
	require.NoError(t, err)
}

// An individual enrollment takes its primary and secondary certificate and no other, even one with the
// same name and key. The hub's device gets the thumbprints of the leaf that was presented.
func TestIndividualCertificates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	primary, secondary := issue(t, "dev1", nil), issue(t, "dev1", nil)
	w.enrollCert(t, "dev1", dps.X509{Primary: primary.pem(), Secondary: secondary.pem()}, dps.Terms{}, "")
	for _, a := range []authority{primary, secondary} {
		final, state := w.provision(t, withChain("dev1", a.cert))
		require.Nil(t, final.Refusal)
		require.Equal(t, map[string]any{}, state["x509"])
		auth := w.hubs.last(t).Auth
		require.Equal(t, fmt.Sprintf("%X", sha1.Sum(a.cert.Raw)), auth.SHA1)
		require.Equal(t, fmt.Sprintf("%X", sha256.Sum256(a.cert.Raw)), auth.SHA256)
		require.Empty(t, auth.PrimaryKey)
	}
	twin := reissue(t, "dev1", primary.key, nil)
	refusal, body := w.refused(t, withChain("dev1", twin.cert), 401002, "DPS-15/certificate")
	require.Equal(t, "Invalid certificate.", body["message"])
	require.Contains(t, refusal.Expected, "SHA-256")
	w.refused(t, withToken("dev1", tokenV3), 401002, "DPS-15/attestation")
	w.refused(t, withToken("dev1", "secret"), 401002, "DPS-15/attestation")
	beside := withChain("dev1", primary.cert)
	beside.Token = "ignored"
	w.provision(t, beside)
}

// DPS-21, for individual enrollments and groups, without case.
func TestCommonName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := issue(t, "ca", nil, isCA)
	w.enrollCA(t, "g", ca, true)
	leaf := issue(t, "Demo_Device", &ca)
	_, state := w.provision(t, withChain("demo_device", leaf.cert))
	require.Equal(t, "demo_device", state["deviceId"])
	refusal, body := w.refused(t, withChain("demo_device2", leaf.cert), 401002, "DPS-21/cn")
	require.Equal(t, "Invalid certificate.", body["message"])
	require.Equal(t, `CN="Demo_Device"`, refusal.Seen)
	require.Equal(t, `CN="demo_device2"`, refusal.Expected)

	other := issue(t, "other", nil)
	w.enrollCert(t, "dev1", dps.X509{Primary: other.pem()}, dps.Terms{}, "")
	w.refused(t, withChain("dev1", other.cert), 401002, "DPS-21/cn")
	w.refused(t, withChain("dev2", issue(t, "", &ca).cert), 401002, "DPS-21/cn")
}

func TestCertificateDates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := issue(t, "ca", nil, isCA)
	w.enrollCA(t, "g", ca, true)
	expired := issue(t, "dev1", &ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	early := issue(t, "dev1", &ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
	w.refused(t, withChain("dev1", expired.cert), 401002, "DPS-15/cert-expired")
	w.refused(t, withChain("dev1", early.cert), 401002, "DPS-15/cert-not-yet-valid")
	w.enrollCert(t, "dev1", dps.X509{Primary: expired.pem()}, dps.Terms{}, "")
	w.refused(t, withChain("dev1", expired.cert), 401002, "DPS-15/cert-expired")
	w.DeleteEnrollment(instance, "dev1")
	w.clock.Skew(2 * time.Hour)
	w.provision(t, withChain("dev1", early.cert))

	old := issue(t, "old", nil, isCA, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	w.enrollCA(t, "old", old, true)
	w.refused(t, withChain("dev1", issue(t, "dev1", &old).cert), 401002, "DPS-15/ca-expired")
}

// DPS-22: the device must send what lies between its leaf and a verified CA certificate.
func TestChains(t *testing.T) {
	t.Parallel()
	root := issue(t, "root", nil, isCA)
	middle := issue(t, "middle", &root, isCA)
	leaf := issue(t, "dev1", &middle)
	newCase := func(t *testing.T) *world {
		w := newWorld(t)
		require.NoError(t, w.PutCA(instance, dps.CA{Name: "root", Certificate: root.pem(), Verified: true}))
		_, err := w.PutGroup(instance, dps.Group{ID: "g", Attestation: dps.Attestation{X509: &dps.X509{Primary: middle.pem()}}})
		require.NoError(t, err)
		return w
	}
	for name, chain := range map[string][]*x509.Certificate{
		"root not sent": {leaf.cert, middle.cert},
		"root sent":     {leaf.cert, middle.cert, root.cert},
		"any order":     {leaf.cert, root.cert, issue(t, "stray", nil).cert, middle.cert},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			final, state := newCase(t).provision(t, withChain("dev1", chain...))
			require.Nil(t, final.Refusal)
			require.Equal(t, map[string]any{"enrollmentGroupId": "g"}, state["x509"])
		})
	}
	w := newCase(t)
	refusal, body := w.refused(t, withChain("dev1", leaf.cert), 401002, "DPS-22/issuer")
	require.Equal(t, "CA certificate not found", body["message"])
	require.Contains(t, refusal.Detail, "CN=middle")
	require.Contains(t, refusal.Expected, "enrollment group g")

	strange := issue(t, "strange", nil, isCA)
	refusal, body = w.refused(t, withChain("dev1", issue(t, "dev1", &strange).cert), 401002, "DPS-22/ca")
	require.Equal(t, "CA certificate not found", body["message"])
	require.Contains(t, refusal.Expected, "root (CN=root)")
	impostor := issue(t, "root", nil, isCA)
	refusal, _ = w.refused(t, withChain("dev1", issue(t, "dev1", &impostor).cert), 401002, "DPS-22/ca")
	require.Contains(t, refusal.Detail, "not signed by that CA's key")

	device := issue(t, "dev9", &middle) // a device's certificate must not issue others
	w.refused(t, withChain("dev1", issue(t, "dev1", &device).cert, device.cert, middle.cert), 401002, "DPS-22/ca")
}

// DPS-23: unverified refuses, verifying the same certificate admits.
func TestUnverifiedCA(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := issue(t, "ca", nil, isCA)
	w.enrollCA(t, "g", ca, false)
	leaf := issue(t, "dev1", &ca)
	refusal, _ := w.refused(t, withChain("dev1", leaf.cert), 401002, "DPS-23/unverified")
	require.Contains(t, refusal.Seen, "ca-g (CN=ca)")
	w.enrollCA(t, "g", ca, true)
	w.provision(t, withChain("dev1", leaf.cert))
}

// DPS-24 and DPS-25: individual before group, and the lowest certificate of a chain before the higher.
func TestSelection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root := issue(t, "root", nil, isCA)
	middle := issue(t, "middle", &root, isCA)
	leaf := issue(t, "dev1", &middle)
	w.enrollCA(t, "a-root", root, true)
	_, err := w.PutGroup(instance, dps.Group{ID: "z-middle", Attestation: dps.Attestation{X509: &dps.X509{Primary: middle.pem()}}})
	require.NoError(t, err)
	_, state := w.provision(t, withChain("dev1", leaf.cert, middle.cert))
	require.Equal(t, map[string]any{"enrollmentGroupId": "z-middle"}, state["x509"])

	_, err = w.PutGroup(instance, dps.Group{ID: "z-middle", Attestation: dps.Attestation{X509: &dps.X509{Primary: middle.pem()}}, Terms: dps.Terms{Disabled: true}})
	require.NoError(t, err)
	final, _ := w.provision(t, withChain("dev1", leaf.cert, middle.cert))
	require.EqualValues(t, "DPS-24/disabled", final.Refusal.Rule, "a disabled hit decides too")

	w.enrollCert(t, "dev1", dps.X509{Primary: leaf.pem()}, dps.Terms{}, "my-device")
	_, state = w.provision(t, withChain("dev1", leaf.cert, middle.cert))
	require.Equal(t, "my-device", state["deviceId"])
	require.Equal(t, "dev1", state["registrationId"])
	require.Equal(t, map[string]any{}, state["x509"])
	w.enrollCert(t, "dev1", dps.X509{Primary: leaf.pem()}, dps.Terms{Disabled: true}, "")
	require.True(t, w.DeleteGroup(instance, "z-middle"))
	final, _ = w.provision(t, withChain("dev1", leaf.cert, middle.cert))
	require.EqualValues(t, "DPS-24/disabled", final.Refusal.Rule, "the group a-root must not admit it")
	w.DeleteEnrollment(instance, "dev1")
	_, state = w.provision(t, withChain("dev1", leaf.cert, middle.cert))
	require.Equal(t, map[string]any{"enrollmentGroupId": "a-root"}, state["x509"])
}

// A renewed CA keeps its name and key; the certificate that the group names is found.
func TestRenewedCA(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := issue(t, "ca", nil, isCA)
	renewed := reissue(t, "ca", old.key, nil, isCA)
	require.NoError(t, w.PutCA(instance, dps.CA{Name: "a-old", Certificate: old.pem(), Verified: true}))
	w.enrollCA(t, "g", renewed, true)
	w.provision(t, withChain("dev1", issue(t, "dev1", &old).cert))
}

// DPS-26/enrollment, by certificate.
func TestCertificateWithoutEnrollment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := issue(t, "ca", nil, isCA)
	require.NoError(t, w.PutCA(instance, dps.CA{Name: "ca", Certificate: ca.pem(), Verified: true}))
	w.refused(t, withChain("dev1", issue(t, "dev1", &ca).cert), 404201, "DPS-26/enrollment")
	refusal, _ := w.refused(t, withChain("dev1", issue(t, "dev1", nil).cert), 404201, "DPS-26/enrollment")
	require.Contains(t, refusal.Detail, "self-signed")
	stranger := withChain("dev1", issue(t, "dev1", nil).cert)
	stranger.Scope = "0neOTHER"
	w.refused(t, stranger, 401000, "DPS-26/scope")
}

// DPS-46: the eu2 onboarding of MindSphere, with X.509 v1 certificates as its openssl commands make them.
func TestMindSphereOnboarding(t *testing.T) {
	t.Parallel()
	const group = "TenantEnrollmentGroup-TenantCACertificate-demo2"
	w := newWorld(t)
	require.NoError(t, w.PutInstance(dps.Instance{Name: "mindsphere-eu2", IDScope: "0ne00FAKE02", LinkedHubs: []string{"conn-demo2-iothub.azure-devices.net"}}))
	require.NoError(t, w.PutCA("mindsphere-eu2", dps.CA{Name: "TenantCACertificate-demo2", Certificate: read(t, "openssl-v1-ca.pem"), Verified: true}))
	_, err := w.PutGroup("mindsphere-eu2", dps.Group{ID: group, Attestation: dps.Attestation{X509: &dps.X509{PrimaryCA: "TenantCACertificate-demo2"}}})
	require.NoError(t, err)
	ca, leaf := parse(t, "openssl-v1-ca.pem"), parse(t, "openssl-v1-device.pem")
	require.Equal(t, 1, leaf.Version)
	c := dps.Caller{Scope: "0ne00FAKE02", RegistrationID: "demo2_MqttTestAgent", APIVersion: "2019-03-31", Certificates: []*x509.Certificate{leaf, ca}}
	_, state := w.provision(t, c)
	require.Equal(t, map[string]any{"enrollmentGroupId": group}, state["x509"])
	require.Equal(t, "demo2_MqttTestAgent", state["deviceId"])
	require.Equal(t, "conn-demo2-iothub.azure-devices.net", state["assignedHub"])
	c.Certificates = c.Certificates[:1]
	w.provision(t, c) // the verified CA itself need not be sent
	events, _ := w.journal.Select(journal.Filter{Kind: journal.Provisioned, Endpoint: "mindsphere-eu2"})
	require.Len(t, events, 2)

	c.RegistrationID = "demo2_Other"
	w.refused(t, c, 401002, "DPS-21/cn")
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return string(text)
}

func parse(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	return parsePEM(t, read(t, name))
}
