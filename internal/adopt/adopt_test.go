package adopt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/world"
)

// signer is a certificate with its key.
type signer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// issue makes a certificate, self-signed without a parent.
func issue(t *testing.T, cn string, parent *signer) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	at := time.Now()
	wanted := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: cn},
		NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour), IsCA: parent == nil, BasicConstraintsValid: true}
	by := parent
	if by == nil {
		by = &signer{wanted, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, wanted, by.certificate, &key.PublicKey, by.key)
	require.NoError(t, err)
	made, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &signer{made, key}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	ca := issue(t, "plant", nil)
	leaf := issue(t, "pump", ca)
	alone, chain := []*x509.Certificate{leaf.certificate}, []*x509.Certificate{leaf.certificate, ca.certificate}
	no := false
	w := &world.World{}
	w.Azure.Hubs = []world.Hub{{Name: "fakecloud-hub", Certificates: []world.CACertificate{
		{Name: "other", PEM: pemOf(issue(t, "other", nil).certificate), Verified: &no}, {Name: "plant", PEM: pemOf(ca.certificate), Verified: &no}}}}
	w.Azure.DPS = []world.DPS{{Name: "d", IDScope: "0ne00FAKE01", Enrollments: []world.Enrollment{{RegistrationID: "Pump",
		Attestation: world.Attestation{SymmetricKey: &world.SymmetricKey{PrimaryKey: "MDEyMzQ1Njc4OWFiY2RlZg=="}}}},
		Certificates: []world.CACertificate{{Name: "plant", PEM: pemOf(ca.certificate), Verified: &no}}}}
	w.MindSphere.Tenants = []world.Tenant{{Name: "known", Region: "private", Host: "mqtt.plant.internal",
		Certificates: []world.CACertificate{{Name: "plant", PEM: pemOf(ca.certificate), Verified: &no}}}}
	const hubUser, dpsUser = "new-hub.azure-devices.net/pump/?api-version=2021-04-12", "0ne00FAKE01/registrations/pump/api-version=2019-03-31"

	for name, c := range map[string]struct {
		rule               rule.ID
		platform, id, user string
		certificates       []*x509.Certificate
		want               []string // parts of the YAML
	}{
		"hub and thumbprint":      {"HUB-9/unknown", "iothub", "pump", hubUser, alone, []string{"name: new-hub", "deviceId: pump", "type: selfSigned"}},
		"unclaimed hub":           {"DOOR-1/nobody", "door", "pump", "plant.example.com/pump/?api-version=2021-04-12", alone, []string{"name: fakecloud-hub", "deviceId: pump"}},
		"module":                  {"HUB-9/module", "iothub", "pump/m", "fakecloud-hub.azure-devices.net/pump/m/?api-version=2021-04-12", alone, []string{"moduleId: m", "primaryThumbprint:"}},
		"disabled device":         {"HUB-12/disabled", "iothub", "pump", hubUser, nil, []string{"status: enabled"}},
		"hub's CA":                {"HUB-16/chain", "iothub", "pump", hubUser, chain, []string{"name: adopted-pump", "verified: true"}},
		"hub's unverified CA":     {"HUB-16/unverified", "iothub", "pump", "fakecloud-hub.azure-devices.net/pump/?api-version=2021-04-12", alone, []string{"name: plant\n          verified: true"}},
		"scope":                   {"DPS-26/scope", "dps", "pump", "0ne00NEW/registrations/pump/api-version=2019-03-31", alone, []string{"name: adopted-0ne00new", "idScope: 0ne00NEW", "linkedHubs:", "registrationId: pump"}},
		"group by CA":             {"DPS-22/ca", "dps", "pump", dpsUser, chain, []string{"name: d\n", "groups:", "ca: adopted-pump"}},
		"enrolled certificate":    {"DPS-15/certificate", "dps", "pump", dpsUser, chain, []string{"enrollments:", "BEGIN CERTIFICATE"}},
		"disabled enrollment":     {"DPS-24/disabled", "dps", "pump", dpsUser, alone, []string{"registrationId: Pump", "provisioningStatus: enabled"}},
		"DPS's unverified CA":     {"DPS-23/unverified", "dps", "pump", dpsUser, alone, []string{"verified: true"}},
		"tenant":                  {"DOOR-1/nobody", "door", "acme_pump", "", chain, []string{"name: acme", "region: eu1", "verified: true"}},
		"tenant's CA":             {"MS-6/unknown-ca", "mindsphere", "known_pump", "", chain, []string{"name: known", "region: private", "adopted-known"}},
		"tenant's unverified CA":  {"MS-6/unverified", "mindsphere", "known_pump", "", alone, []string{"name: plant", "verified: true"}},
		"hub by a local name":     {"HUB-15/thumbprint", "iothub", "pump", "127.0.0.1/pump/?api-version=2021-04-12", alone, []string{"name: fakecloud-hub"}},
		"certificate, not a key":  {"HUB-15/sas-device", "iothub", "pump", hubUser, alone, []string{"type: selfSigned"}},
		"unclaimed ID scope":      {"DOOR-1/nobody", "door", "pump", dpsUser, alone, []string{"registrationId: pump"}},
		"hub's CA, leaf was sent": {"HUB-16/chain", "iothub", "pump", hubUser, alone, []string{"type: selfSigned"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change, err := Plan(w, Attempt{Rule: c.rule, Platform: c.platform, ClientID: c.id, Username: c.user, Certificates: c.certificates})
			require.NoError(t, err)
			text := string(world.Format(change))
			for _, part := range c.want {
				require.Contains(t, text, part)
			}
			require.NoError(t, world.Validate(world.Merge(w, change)))
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	leaf := issue(t, "pump", issue(t, "plant", nil))
	certificates := []*x509.Certificate{leaf.certificate}
	for name, c := range map[string]struct {
		attempt Attempt
		says    string
	}{
		"key of a hub":        {Attempt{Rule: "HUB-9/unknown", Platform: "iothub", Username: "h.azure-devices.net/pump/?api-version=2021-04-12"}, "fakecloud add hub-device pump --hub h --key"},
		"wrong signature":     {Attempt{Rule: "HUB-5/signature", Platform: "iothub", Username: "h.azure-devices.net/pump/"}, "cannot be read from its signature"},
		"expired":             {Attempt{Rule: "HUB-6/expired", Platform: "iothub", Username: "h.azure-devices.net/pump/"}, "HUB-6/expired is the client's to mend"},
		"hub's user name":     {Attempt{Rule: "HUB-11/username", Platform: "iothub", Username: "pump"}, "HUB-11/username is the client's"},
		"key of DPS":          {Attempt{Rule: "DPS-26/enrollment", Platform: "dps", Username: "0ne/registrations/pump/api-version=2019-03-31"}, "add enrollment pump"},
		"DPS signature":       {Attempt{Rule: "DPS-15/signature", Platform: "dps", Username: "0ne/registrations/pump/api-version=2019-03-31"}, "add enrollment pump"},
		"DPS common name":     {Attempt{Rule: "DPS-21/cn", Platform: "dps", Username: "0ne/registrations/pump/api-version=2019-03-31", Certificates: certificates}, "DPS-21/cn"},
		"disabled group":      {Attempt{Rule: "DPS-24/disabled", Platform: "dps", Username: "0ne/registrations/pump/api-version=2019-03-31"}, "group"},
		"agent without CA":    {Attempt{Rule: "MS-6/unknown-ca", Platform: "mindsphere", ClientID: "acme_pump", Certificates: certificates}, "--to mindsphere/acme"},
		"agent's client id":   {Attempt{Rule: "MS-6/unknown-ca", Platform: "mindsphere", ClientID: "pump", Certificates: certificates}, "{tenant}_{common name}"},
		"agent's first drop":  {Attempt{Rule: "MS-1/first", Platform: "mindsphere", ClientID: "acme_pump", Certificates: certificates}, "MS-1/first"},
		"nobody's":            {Attempt{Rule: "DOOR-1/nobody", Platform: "door", ClientID: "x"}, "which platform"},
		"another gateway":     {Attempt{Rule: "EDGE-11/unknown", Platform: "edge", Username: "h/leaf/?api-version=2021-04-12"}, "EDGE-11/unknown is the client's"},
		"IoTDA client id":     {Attempt{Rule: "DA-7/parts", Platform: "iotda", ClientID: "pump"}, "DA-7/parts is the client's"},
		"another platform":    {Attempt{Rule: "X-1/x", Platform: "arm"}, "X-1/x is the client's"},
		"somebody else's CA":  {Attempt{Rule: "HUB-16/unverified", Platform: "iothub", Username: "h.azure-devices.net/pump/", Certificates: certificates}, "HUB-16/unverified"},
		"no certificate sent": {Attempt{Rule: "MS-6/no-certificate", Platform: "mindsphere", ClientID: "acme_pump"}, "MS-6/no-certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Plan(&world.World{}, c.attempt)
			require.ErrorIs(t, err, ErrNotAdoptable)
			require.ErrorContains(t, err, c.says)
		})
	}
}
