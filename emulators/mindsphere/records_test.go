package mindsphere_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
)

func TestPutTenantRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for why, tenant := range map[string]mindsphere.Tenant{
		"underscore":                     {Name: "a_b"},
		"none of eu1, eu2, private":      {Name: "a", Region: "us1"},
		"needs its broker's host name":   {Name: "a", Region: mindsphere.Private},
		"needs the host name of its IoT": {Name: "a", Region: mindsphere.EU2},
		"only region eu2 has them":       {Name: "a", Hub: "h"},
		"needs the ID scope":             {Name: "a", Region: mindsphere.EU2, Hub: "h"},
		"at most 40 characters":          {Name: strings.Repeat("a", 41), Region: mindsphere.EU2, Hub: "h", IDScope: "0ne00FAKE02"},
		"only a private cloud":           {Name: "a", Host: "broker.example"},
		"not between 0 and 1h":           {Name: "a", Provisioning: duration(2 * time.Hour)},
		"cannot change from eu1 to eu2":  {Name: "camexia", Region: mindsphere.EU2, Hub: "h.azure-devices.net", IDScope: "0ne00FAKE02"},
	} {
		require.ErrorContains(t, f.PutTenant(tenant), why)
		require.ErrorIs(t, f.PutTenant(tenant), mindsphere.ErrInvalid)
	}
	require.NoError(t, f.PutTenant(mindsphere.Tenant{Name: "camexia", Provisioning: duration(0)}))
	require.Len(t, f.Tenants(), 1)
}

func TestCertificateAuthorities(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.PutCA("camexia", mindsphere.CA{Certificate: "x"})
	require.ErrorIs(t, err, mindsphere.ErrInvalid)
	_, err = f.PutCA("camexia", mindsphere.CA{Certificate: f.leaf(t, "camexia-ca", "dev").Certificate})
	require.ErrorContains(t, err, "CA:FALSE")
	_, err = f.PutCA("nobody", mindsphere.CA{Certificate: f.ca(t, "a")})
	require.ErrorIs(t, err, mindsphere.ErrNotFound)
	second, err := f.PutCA("camexia", mindsphere.CA{Certificate: f.ca(t, "second")})
	require.NoError(t, err)
	require.Len(t, second.ID, 32)
	require.Len(t, second.RegistrationCode, 64)
	_, err = f.PutCA("camexia", mindsphere.CA{Certificate: f.ca(t, "third")})
	require.ErrorIs(t, err, mindsphere.ErrLimit)

	proof, err := f.cas.Proof("camexia-ca", second.RegistrationCode)
	require.NoError(t, err)
	require.ErrorContains(t, f.VerifyCA("camexia", second.ID, proof.Certificate), "not issued by this CA")
	proof, err = f.cas.Proof("second", "wrong")
	require.NoError(t, err)
	require.ErrorContains(t, f.VerifyCA("camexia", second.ID, proof.Certificate), "instead of the registration code")
	proof, err = f.cas.Proof("second", second.RegistrationCode)
	require.NoError(t, err)
	require.NoError(t, f.VerifyCA("camexia", second.ID, proof.Certificate))
	got, _ := f.CA("camexia", second.ID)
	require.True(t, got.Verified)
	require.ErrorIs(t, f.VerifyCA("camexia", "none", proof.Certificate), mindsphere.ErrNotFound)
	require.True(t, f.DeleteCA("camexia", second.ID))
	require.Len(t, f.CAs("camexia"), 1)
}

// Certificates that MindSphere has issued see no first drop; a tenant goes with all it has.
func TestAddAgentAndDeleteTenant(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	leaf := f.leaf(t, "camexia-ca", "dev").Leaf
	a, err := f.AddAgent("camexia", "dev", leaf)
	require.NoError(t, err)
	require.Equal(t, mindsphere.Ready, a.Status)
	_, err = f.AddAgent("camexia", "dev", leaf)
	require.ErrorIs(t, err, mindsphere.ErrExists)
	id, err := f.Authenticate(mindsphere.Credentials{ClientID: "camexia_dev", Certificates: []*x509.Certificate{leaf}})
	require.NoError(t, err)
	require.Equal(t, mindsphere.Identity{Tenant: "camexia", Region: mindsphere.EU1, ClientID: "camexia_dev", AgentID: a.AgentID}, id)
	require.True(t, f.DeleteTenant("camexia"))
	require.Empty(t, f.Agents("camexia"))
	require.Empty(t, f.Assets("camexia"))
	require.Empty(t, f.CAs("camexia"))
	require.False(t, f.DeleteTenant("camexia"))
}

// Many renewals keep the agent's record small.
func TestManyRenewals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 12 {
		_, err := f.Authenticate(mindsphere.Credentials{ClientID: "camexia_dev", Certificates: []*x509.Certificate{f.leaf(t, "camexia-ca", "dev").Leaf}})
		require.Error(t, err)
	}
	a, _ := f.Agent("camexia_dev")
	require.Len(t, a.Certificates, 8)
}

func TestClaim(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.NoError(t, f.PutTenant(mindsphere.Tenant{Name: "demo2", Region: mindsphere.EU2, Hub: "h.azure-devices.net", IDScope: "0ne00FAKE02"}))
	require.NoError(t, f.PutTenant(mindsphere.Tenant{Name: "site", Region: mindsphere.Private, Host: "mqtt.site.test"}))
	own := []*x509.Certificate{f.leaf(t, "camexia-ca", "dev").Leaf}
	f.ca(t, "foreign")
	foreign := []*x509.Certificate{f.leaf(t, "foreign", "dev").Leaf}
	for _, c := range []struct {
		name, clientID, username string
		certs                    []*x509.Certificate
		endpoint, near           string
	}{
		{"right", "camexia_dev", "", own, "camexia", ""},
		{"foreign certificate", "camexia_dev", "", foreign, "camexia", ""},
		{"no certificate", "camexia_dev", "", nil, "camexia", ""},
		{"common name alone", "dev", "", own, "camexia", ""},
		{"user name that is ignored", "camexia_dev", "x", own, "camexia", ""},
		{"another platform's device", "dev_0_0_2026010100", "dev", own, "", `MindSphere takes this certificate with client id "camexia_dev", without user name`},
		{"no certificate, but a user", "camexia_dev", "x", nil, "", `MindSphere takes the client id "camexia_dev" with the agent's certificate, without user name`},
		{"eu2", "demo2_dev", "", foreign, "", ""},
		{"bearer", "site_dev", "_CertificateBearer", nil, "site", ""},
		{"stranger", "x", "y", nil, "", ""},
	} {
		endpoint, ok, near := f.Claim(c.clientID, c.username, c.certs)
		require.Equal(t, c.endpoint, endpoint, c.name)
		require.Equal(t, c.endpoint != "", ok, c.name)
		require.Equal(t, c.near, near, c.name)
	}
}
