package e2e

import (
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// chain is a root with an intermediate below it.
type chain struct{ root, middle *signer }

func newChain(t *testing.T) chain {
	t.Helper()
	root := issueBy(t, "Contoso Root", nil, true, nil)
	return chain{root, issueBy(t, "Contoso Plant 7", root, true, nil)}
}

// world uploads the root and makes a group of the intermediate.
func (c chain) world(verified bool) string {
	return fmt.Sprintf(`
azure:
  dps:
    - name: fakecloud-dps
      certificates:
        - {name: contoso-root, verified: %t, pem: %s}
      groups:
        - {name: plant-7, attestation: {x509: {primary: {pem: %s}}}}
`, verified, c.root.yaml(), c.middle.yaml())
}

func expired(c *x509.Certificate)  { c.NotAfter = time.Now().Add(-time.Hour) }
func tomorrow(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }

func TestDPSCertificateOfAnIntermediate(t *testing.T) {
	t.Parallel()
	ca := newChain(t)
	cloud := fakecloud.Start(t)
	patch(t, cloud, ca.world(true))
	leaf := issueBy(t, "press-1", ca.middle, false, nil)

	c := enrollee{id: "press-1", via: via{cert: leaf.tls()}}.open(t, cloud)
	wantError(t, register(t, c, ""), 401002, "CA certificate not found")
	require.Contains(t, refused(t, cloud, "DPS-22/issuer").Detail, "Contoso Plant 7")

	for name, sent := range map[string][]*signer{"up to the root": {ca.middle, ca.root}, "the root left out": {ca.middle}, "in disorder": {ca.root, ca.middle}} {
		t.Run(name, func(t *testing.T) {
			r := provision(t, cloud, enrollee{id: "press-1", via: via{cert: leaf.tls(sent...)}})
			require.Equal(t, "plant-7", r.State.X509.EnrollmentGroupID)
			rule.Proves(t, "DPS-22")
		})
	}

	// A foreign chain of the same names leads nowhere.
	foreign := newChain(t)
	c = enrollee{id: "press-1", via: via{cert: issueBy(t, "press-1", foreign.middle, false, nil).tls(foreign.middle, foreign.root)}}.open(t, cloud)
	wantError(t, register(t, c, ""), 401002, "CA certificate not found")
	refused(t, cloud, "DPS-22/ca")
}

func TestDPSCertificateOfAnUnverifiedCA(t *testing.T) {
	t.Parallel()
	ca := newChain(t)
	cloud := fakecloud.Start(t)
	patch(t, cloud, ca.world(false))
	e := enrollee{id: "press-1", via: via{cert: issueBy(t, "press-1", ca.middle, false, nil).tls(ca.middle, ca.root)}}
	c := e.open(t, cloud)
	wantError(t, register(t, c, ""), 401002, ".+")
	refused(t, cloud, "DPS-23/unverified")

	patch(t, cloud, ca.world(true))
	wantAssigning(t, register(t, c, "")) // the same connection
}

func TestDPSCertificatesAreRefused(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	demo := demoSigner(t, cloud)
	own := issueBy(t, "own-1", nil, false, nil)
	old := issueBy(t, "own-2", nil, false, expired)
	patch(t, cloud, fmt.Sprintf(`
azure:
  dps:
    - name: fakecloud-dps
      enrollments:
        - {registrationId: own-1, attestation: {x509: {primary: {pem: %s}}}}
        - {registrationId: own-2, attestation: {x509: {primary: {pem: %s}}}}
`, own.yaml(), old.yaml()))
	worn := issueBy(t, "Worn CA", nil, true, expired)
	patch(t, cloud, fmt.Sprintf(`
azure:
  dps:
    - name: fakecloud-dps
      certificates: [{name: worn, pem: %s}]
      groups: [{name: worn-group, attestation: {x509: {ca: worn}}}]
`, worn.yaml()))
	for name, row := range map[string]struct {
		id      string
		leaf    *signer
		code    int
		message string
		rule    rule.ID
	}{
		"another common name":            {"dev-1", issueBy(t, "dev-2", demo, false, nil), 401002, "Invalid certificate\\.", "DPS-21/cn"},
		"individual, another name":       {"own-1", issueBy(t, "dev-2", demo, false, nil), 401002, "Invalid certificate\\.", "DPS-21/cn"},
		"individual, another leaf":       {"own-1", issueBy(t, "own-1", demo, false, nil), 401002, "Invalid certificate\\.", "DPS-15/certificate"},
		"individual, expired":            {"own-2", old, 401002, "Invalid certificate\\.", "DPS-15/cert-expired"},
		"group, expired":                 {"dev-1", issueBy(t, "dev-1", demo, false, expired), 401002, "Invalid certificate\\.", "DPS-15/cert-expired"},
		"group, not yet valid":           {"dev-1", issueBy(t, "dev-1", demo, false, tomorrow), 401002, "Invalid certificate\\.", "DPS-15/cert-not-yet-valid"},
		"group, expired CA":              {"dev-1", issueBy(t, "dev-1", worn, false, nil), 401002, "Invalid certificate\\.", "DPS-15/ca-expired"},
		"a CA that nobody knows":         {"dev-1", issueBy(t, "dev-1", issueBy(t, "Stranger CA", nil, true, nil), false, nil), 401002, "CA certificate not found", "DPS-22/ca"},
		"self-signed without enrollment": {"dev-1", issueBy(t, "dev-1", nil, false, nil), 404201, ".+", "DPS-26/enrollment"},
	} {
		t.Run(name, func(t *testing.T) { // one after the other: they share ids
			c := enrollee{id: row.id, via: via{cert: row.leaf.tls()}}.open(t, cloud)
			wantError(t, register(t, c, ""), row.code, row.message)
			refused(t, cloud, row.rule)
			wantAlive(t, c)
		})
	}
}

func TestDPSCertificatesAreAccepted(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	own, spare := issueBy(t, "own-1", nil, false, nil), issueBy(t, "own-1", nil, false, nil)
	patch(t, cloud, fmt.Sprintf(`
azure:
  dps:
    - name: fakecloud-dps
      enrollments:
        - {registrationId: own-1, attestation: {x509: {primary: {pem: %s}, secondary: {pem: %s}}}}
`, own.yaml(), spare.yaml()))
	for _, leaf := range []*signer{own, spare} {
		r := provision(t, cloud, enrollee{id: "own-1", via: via{cert: leaf.tls()}})
		require.NotNil(t, r.State.X509)
		require.Empty(t, r.State.X509.EnrollmentGroupID, "an individual enrollment names no group")
	}
	// The common name is compared without case, as registration ids are.
	mixed := enrollee{id: "mixed-CASE", via: via{cert: device(t, cloud, "Mixed-Case")}}
	require.Equal(t, "demo-x509", provision(t, cloud, mixed).State.X509.EnrollmentGroupID)
	rule.Proves(t, "DPS-21")
}

func TestDPSIndividualEnrollmentDecides(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	cert := device(t, cloud, "pump-1")
	leaf := &signer{cert: cert.Leaf}
	if leaf.cert == nil {
		parsed, err := x509.ParseCertificate(cert.Certificate[0])
		require.NoError(t, err)
		leaf.cert = parsed
	}
	e := enrollee{id: "pump-1", via: via{cert: cert}}
	require.Equal(t, "demo-x509", provision(t, cloud, e).State.X509.EnrollmentGroupID, "by the group")

	world := func(status string) string {
		return fmt.Sprintf(`
azure:
  dps:
    - name: fakecloud-dps
      enrollments:
        - {registrationId: pump-1, deviceId: hall-3-pump, provisioningStatus: %s, attestation: {x509: {primary: {pem: %s}}}}
`, status, leaf.yaml())
	}
	patch(t, cloud, world("enabled"))
	r := provision(t, cloud, e)
	require.Equal(t, "hall-3-pump", r.State.DeviceID)
	require.Equal(t, "pump-1", r.State.RegistrationID)
	require.Empty(t, r.State.X509.EnrollmentGroupID)
	rule.Proves(t, "DPS-25")

	patch(t, cloud, world("disabled"))
	before := len(cloud.Events(fakecloud.Filter{Kind: "provisioned"}))
	r, body := finish(t, e.open(t, cloud), "")
	require.Equal(t, "disabled", r.Status, body)
	require.Equal(t, "disabled", r.State.Status, body)
	require.Equal(t, "pump-1", r.State.RegistrationID)
	require.Empty(t, r.State.AssignedHub+r.State.DeviceID, body)
	require.NotEmpty(t, r.State.ETag)
	refused(t, cloud, "DPS-24/disabled")
	require.Len(t, cloud.Events(fakecloud.Filter{Kind: "provisioned"}), before)
}

func TestDPSDisabledGroup(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	patch(t, cloud, "azure: {dps: [{name: fakecloud-dps, groups: [{name: demo-x509, provisioningStatus: disabled, attestation: {x509: {ca: demo-ca}}}]}]}")
	r, _ := finish(t, enrolled(t, cloud, "dev-1").open(t, cloud), "")
	require.Equal(t, "disabled", r.Status)
	refused(t, cloud, "DPS-24/disabled")
}
