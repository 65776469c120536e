package world

import (
	"fmt"
	"strings"
)

// Edge lists the emulated IoT Edge gateways.
type Edge struct {
	Gateways []EdgeGateway `yaml:"gateways" doc:"IoT Edge devices that are transparent gateways"`
}

// EdgeGateway is one transparent gateway. Its edge device and children live in its hub.
type EdgeGateway struct {
	HostName      string      `yaml:"hostname" world:"id fold check=host" doc:"host name as in the gateway's config.toml, which children dial (GatewayHostName)"`
	Aliases       []string    `yaml:"aliases" world:"check=host" doc:"further host names, certified beside the first"`
	Hub           string      `yaml:"hub" world:"ref=hub" doc:"name or host name of its hub"`
	DeviceID      string      `yaml:"deviceId" world:"check=deviceId" doc:"edge device in the hub, made where it is missing; default is the first part of the host name"`
	Mode          string      `yaml:"authenticationMode" enum:"Scope CloudAndScope" doc:"whether tokens of devices that are no children are taken while the hub can be reached; default Scope"`
	MaxClients    *int        `yaml:"maxClients" world:"min=1 max=100000" doc:"children served at a time; default 100"`
	QueueMessages *int        `yaml:"queueMessages" world:"min=1 max=10000000" doc:"messages stored at most; default 200000"`
	QueueBytes    *int        `yaml:"queueBytes" world:"min=1" doc:"bytes stored at most; default 268435456"`
	TrustBundle   []TrustedCA `yaml:"trustBundle" doc:"CAs that certificates of children may lead to; the hub's own CAs do not count"`
	EdgeCA        *EdgeCA     `yaml:"edgeCA" world:"whole" doc:"edge CA of your own, from which the gateway's certificate is issued; without it the test chain is made"`
	EdgeHub       *EdgeHub    `yaml:"edgeHub" world:"whole" doc:"what a deployment sets for the module $edgeHub"`
	Children      []Device    `yaml:"children" doc:"devices made in the hub with this gateway as parent"`
}

// TrustedCA is a CA of a gateway's trust bundle.
type TrustedCA struct {
	Name string `yaml:"name" world:"id fold check=certificateName" doc:"name of the entry"`
	CA   string `yaml:"ca" world:"ref=ca fold alt" doc:"name of a CA of pki.cas, instead of pem or file"`
	PEM  string `yaml:"pem" world:"check=certificates alt" doc:"certificate as PEM text"`
	File string `yaml:"file" doc:"PEM or DER file, relative to the world file"`
}

// EdgeCA is an edge CA with its key.
type EdgeCA struct {
	PEM  string       `yaml:"pem" world:"check=certificates" doc:"certificate of the edge CA, then each one above it, as PEM text"`
	File string       `yaml:"file" doc:"PEM file, relative to the world file"`
	Key  *KeyMaterial `yaml:"key" world:"whole" doc:"private key of the edge CA"`
}

// EdgeHub holds desired properties.
type EdgeHub struct {
	Desired map[string]any `yaml:"desired" doc:"desired properties of $edgeHub: schemaVersion, routes, storeAndForwardConfiguration"`
}

// EdgeDeviceID returns the id of the gateway's edge device.
func (g EdgeGateway) EdgeDeviceID() string {
	if g.DeviceID != "" {
		return g.DeviceID
	}
	name, _, _ := strings.Cut(g.HostName, ".")
	return name
}

// edges checks the gateways, and that every parent is an edge device.
func (v *validator) edges() {
	parents := map[string]map[string]bool{} // by hub: devices that may be parents
	add := func(hub string, devices []Device) {
		for _, d := range devices {
			if d.Capabilities != nil && d.Capabilities.IoTEdge != nil && *d.Capabilities.IoTEdge {
				parents[hub][d.DeviceID] = true
			}
		}
	}
	for _, h := range v.w.Azure.Hubs {
		parents[h.HostName()] = map[string]bool{}
		add(h.HostName(), h.Devices)
	}
	hosts := map[string]string{}
	for _, g := range v.w.Edge.Gateways {
		at := element("edge.gateways", lower(g.HostName))
		hub, ok := v.w.Hub(g.Hub)
		switch {
		case g.Hub == "":
			v.report(at, "needs hub: name or host name of a hub in azure.hubs")
		case !ok:
			v.report(at+".hub", "no hub %s in azure.hubs%s", quote(g.Hub), didYouMean(g.Hub, v.hubNames()))
		default:
			parents[hub.HostName()][g.EdgeDeviceID()] = true
			add(hub.HostName(), g.Children)
		}
		for _, name := range append([]string{g.HostName}, g.Aliases...) {
			if other, taken := hosts[lower(name)]; taken {
				v.report(at, "has the host name %s, which gateway %s has already", lower(name), other)
			}
			hosts[lower(name)] = g.HostName
		}
		for _, c := range g.TrustBundle {
			v.certificates(at+".trustBundle", []CACertificate{{Name: c.Name, CA: c.CA, PEM: c.PEM}})
		}
		if ca := g.EdgeCA; ca != nil {
			v.edgeCA(at+".edgeCA", ca)
		}
		for _, d := range g.Children {
			here := element(at+".children", d.DeviceID)
			v.authentication(here, d.Authentication)
			if d.Parent != "" && d.Parent != g.EdgeDeviceID() {
				v.report(here+".parent", "is %s; children of this gateway have %s, so leave it out", quote(d.Parent), g.EdgeDeviceID())
			}
		}
	}
	v.parents(parents)
}

func (v *validator) edgeCA(at string, ca *EdgeCA) {
	switch {
	case ca.PEM == "":
		v.report(at, "needs pem or file")
	case ca.Key == nil || ca.Key.PEM == "":
		v.report(at, "needs key: the gateway's certificate is issued with it")
	default:
		if certs, err := ParseCertificates([]byte(ca.PEM)); err == nil && !keyFits(certs[0], ca.Key.PEM) {
			v.report(at+".key", "does not belong to the first certificate")
		}
	}
}

func (v *validator) parents(known map[string]map[string]bool) {
	for _, h := range v.w.Azure.Hubs {
		for _, d := range h.Devices {
			if d.Parent != "" && !known[h.HostName()][d.Parent] {
				v.report(fmt.Sprintf("%s.parent", element(element("azure.hubs", lower(h.Name))+".devices", d.DeviceID)),
					"no edge device %s in this hub: it needs capabilities.iotEdge, or is the deviceId of a gateway%s", quote(d.Parent), didYouMean(d.Parent, sortedKeys(known[h.HostName()])))
			}
		}
	}
}

func (v *validator) hubNames() []string {
	var names []string
	for _, h := range v.w.Azure.Hubs {
		names = append(names, h.Name)
	}
	return names
}
