package fakecloud

import (
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	mindrest "github.com/fakecloud/fakecloud/emulators/mindsphere/rest"
	"github.com/fakecloud/fakecloud/internal/door"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/world"
)

// applyTenant creates or replaces a MindSphere tenant.
func (p platforms) applyTenant(t world.Tenant, caPEM func(string) ([]byte, error)) error {
	if _, exists := p.mind.Tenant(t.Name); p.gaps.takes(exists, "MindSphere tenant "+t.Name) {
		tenant := mindsphere.Tenant{Name: t.Name, Region: mindsphere.Region(t.Region), Host: t.Host, EventTypes: t.EventTypes, IDScope: t.IDScope, RateLimits: isTrue(t.RateLimits)}
		if t.Hub != "" {
			tenant.Hub = p.hubHosts([]string{t.Hub})[0]
		}
		if t.Provisioning != nil {
			d := t.Provisioning.D()
			tenant.Provisioning = &d
		}
		if err := p.mind.PutTenant(tenant); err != nil {
			return err
		}
	}
	for _, c := range t.Certificates {
		if _, exists := p.mind.CA(t.Name, c.Name); !p.gaps.takes(exists, "MindSphere certificate "+c.Name) {
			continue
		}
		text, err := certificatePEM(c, caPEM)
		if err != nil {
			return err
		}
		if _, err := p.mind.PutCA(t.Name, mindsphere.CA{ID: c.Name, Certificate: string(text), Verified: c.IsVerified()}); err != nil {
			return err
		}
	}
	return nil
}

// exportTenants writes the MindSphere tenants with their CAs.
func (c *generation) exportTenants(known map[string]string) ([]world.Tenant, error) {
	var all []world.Tenant
	for _, t := range c.cores.mind.Tenants() {
		out := world.Tenant{Name: t.Name, Region: string(t.Region), Host: t.Host, Hub: t.Hub, IDScope: t.IDScope, EventTypes: t.EventTypes, RateLimits: trueOrNil(t.RateLimits)}
		if t.Provisioning != nil {
			d := world.Duration(*t.Provisioning)
			out.Provisioning = &d
		}
		for _, ca := range c.cores.mind.CAs(t.Name) {
			certs, err := pki.ParseCertificates([]byte(ca.Certificate))
			if err != nil {
				return nil, fmt.Errorf("mindsphere.tenants[%s]: %w", t.Name, err)
			}
			out.Certificates = append(out.Certificates, exportCA(known, ca.ID, certs[0], ca.Verified))
		}
		all = append(all, out)
	}
	return all, nil
}

func (c *generation) claimMindSphere(h *door.Hello) door.Claim {
	if h.Level == 0 { // HTTP
		return door.Claim{OK: mindrest.Handles(h.Path)}
	}
	if h.Username == "" && !agentHello(h) && c.cores.iot.Names(h.ClientID) {
		return door.Claim{} // an IoTDA device that forgot its user name, with a product named as a tenant
	}
	endpoint, ok, near := c.cores.mind.Claim(h.ClientID, h.Username, h.Certificates)
	return door.Claim{Endpoint: endpoint, OK: ok, Near: near}
}

// agentHello reports whether the client id ends in the certificate's common name, as a MindConnect agent's does.
func agentHello(h *door.Hello) bool {
	return len(h.Certificates) > 0 && strings.HasSuffix(h.ClientID, "_"+h.Certificates[0].Subject.CommonName)
}

// tenantHosts are the host names that lead to a tenant: region eu1 has one broker and one gateway for all.
func tenantHosts(t mindsphere.Tenant) []string {
	switch t.Region {
	case mindsphere.EU1:
		return []string{mindsphere.HostEU1, mindsphere.GatewayEU1}
	case mindsphere.EU2:
		return []string{mindsphere.GatewayEU2}
	}
	return []string{t.Host}
}

// nameTenants makes the host table know the tenants.
func (c *generation) nameTenants() error {
	for _, t := range c.cores.mind.Tenants() {
		if err := c.hosts.Put(mindsphere.Platform, t.Name, tenantHosts(t)...); err != nil {
			return err
		}
	}
	return nil
}
