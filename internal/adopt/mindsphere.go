package adopt

import (
	"crypto/x509"
	"strings"

	"github.com/fakecloud/fakecloud/internal/world"
)

func planMindSphere(w *world.World, a *Attempt) (*world.World, error) {
	if len(a.Certificates) == 0 {
		return nil, fault(a)
	}
	leaf := a.Certificates[0]
	tenant, ok := strings.CutSuffix(a.ClientID, "_"+leaf.Subject.CommonName)
	switch a.Rule {
	case "MS-6/unverified":
		for _, t := range w.MindSphere.Tenants {
			if name, ok := unverified(a, t.Certificates); ok {
				return tenants(world.Tenant{Name: t.Name, Region: t.Region,
					Certificates: []world.CACertificate{{Name: name, Verified: &yes}}}), nil
			}
		}
		return nil, fault(a)
	case "MS-6/unknown-ca", "DOOR-1/nobody":
		if !ok || tenant == "" {
			return nil, cannot("the client id %q is not {tenant}_{common name}, with the common name %q", a.ClientID, leaf.Subject.CommonName)
		}
	default:
		return nil, fault(a)
	}
	ca, ok := issuer(a)
	if !ok {
		return nil, cannot("the agent did not send the certificate of its CA (%s): fakecloud add ca FILE --to mindsphere/%s", leaf.Issuer, tenant)
	}
	change := world.Tenant{Name: tenant, Region: "eu1"}
	for _, t := range w.MindSphere.Tenants {
		if t.Name == tenant {
			change.Region = t.Region
		}
	}
	change.Certificates = []world.CACertificate{{Name: "adopted-" + strings.ToLower(tenant), PEM: pemOf(ca), Verified: &yes}}
	return tenants(change), nil
}

// issuer returns the certificate among those sent that has signed the agent's own: MindConnect MQTT wants
// direct issue.
func issuer(a *Attempt) (*x509.Certificate, bool) {
	leaf := a.Certificates[0]
	for _, c := range a.Certificates[1:] {
		if c.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil {
			return c, true
		}
	}
	return nil, false
}

func tenants(t world.Tenant) *world.World {
	return &world.World{MindSphere: world.MindSphere{Tenants: []world.Tenant{t}}}
}
