package world

import (
	"slices"
	"strings"
)

// MindSphere lists the emulated MindSphere tenants.
type MindSphere struct {
	Tenants []Tenant `yaml:"tenants" doc:"tenants whose agents connect to MindConnect MQTT"`
}

// Tenant is one MindSphere tenant. Region eu2 stands on Azure: a DPS instance and
// a hub of azure, where the tenant gets an enrollment group with its certificates.
type Tenant struct {
	Name         string          `yaml:"name" world:"id check=dpsName" doc:"tenant name, the first part of its agents' client ids"`
	Region       string          `yaml:"region" enum:"eu1 eu2 private" doc:"eu1, eu2 or a private cloud; default eu1"`
	Host         string          `yaml:"host" world:"check=host" doc:"host name of the broker of a private cloud"`
	IDScope      string          `yaml:"idScope" world:"check=idScope" doc:"ID scope of the DPS instance where agents of region eu2 register"`
	Hub          string          `yaml:"hub" world:"ref=hub" doc:"name or host name of the hub that holds the agents of region eu2"`
	Provisioning *Duration       `yaml:"provisioning" doc:"how long new agents are turned away; default 3s"`
	RateLimits   *bool           `yaml:"rateLimits" doc:"refuse more requests to the REST APIs than the real service takes; default false"`
	EventTypes   []string        `yaml:"eventTypes" doc:"event types that the tenant knows; none takes all"`
	Certificates []CACertificate `yaml:"certificates" doc:"CA certificates of the tenant, at most two"`
}

// maxTenantCAs is how many CA certificates a tenant may have (MindSphere, "MindConnect MQTT Broker").
const maxTenantCAs = 2

// tenants checks that tenants are complete and that those of region eu2 lead somewhere.
func (v *validator) tenants() {
	for _, t := range v.w.MindSphere.Tenants {
		at := element("mindsphere.tenants", t.Name)
		v.certificates(at+".certificates", t.Certificates)
		switch {
		case len(t.Certificates) > maxTenantCAs:
			v.report(at+".certificates", "has %d certificates; a tenant has at most %d", len(t.Certificates), maxTenantCAs)
		case t.Region == "private" && t.Host == "":
			v.report(at, "is a private cloud and needs host, the name of its broker")
		case t.Region != "private" && t.Host != "":
			v.report(at+".host", "goes with region private; the brokers of eu1 and eu2 have names of their own")
		case t.Region == "eu2":
			v.tenantEU2(at, t)
		case t.Hub != "" || t.IDScope != "":
			v.report(at, "has hub or idScope, which go with region eu2")
		}
	}
}

func (v *validator) tenantEU2(at string, t Tenant) {
	var scopes, hubs []string
	for _, d := range v.w.Azure.DPS {
		scopes = append(scopes, d.IDScope)
	}
	for _, h := range v.w.Azure.Hubs {
		hubs = append(hubs, h.Name)
	}
	i := slices.IndexFunc(v.w.Azure.DPS, func(d DPS) bool { return strings.EqualFold(d.IDScope, t.IDScope) })
	hub, known := v.w.Hub(t.Hub)
	switch {
	case t.IDScope == "" || t.Hub == "":
		v.report(at, "is in region eu2 and needs idScope and hub, of a DPS instance and a hub of azure")
		return
	case i < 0:
		v.report(at+".idScope", "no DPS instance of azure.dps has the ID scope %s%s", t.IDScope, didYouMean(t.IDScope, scopes))
		return
	case !known:
		v.report(at+".hub", "no hub %s in azure.hubs%s", quote(t.Hub), didYouMean(t.Hub, hubs))
		return
	}
	for _, name := range v.w.Azure.DPS[i].LinkedHubs {
		if linked, ok := v.w.Hub(name); ok && linked.HostName() == hub.HostName() {
			return
		}
	}
	v.report(at+".hub", "%s is not a linked hub of the DPS instance %s", quote(t.Hub), v.w.Azure.DPS[i].Name)
}
