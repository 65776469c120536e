package fakecloud

import (
	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// Plane is for this module's own commands: what the admin API is made from. The admin port is the
// caller's to fill in.
func (c *Cloud) Plane() *plane.Plane {
	bound := c.door.Ports()
	ports := plane.Ports{MQTTS: bound.MQTTS, MQTT: bound.MQTT, Edge: bound.Edge, Proxy: bound.Proxy}
	if len(bound.HTTPS) > 0 {
		ports.HTTPS = bound.HTTPS[0]
	}
	return &plane.Plane{
		Version: c.config.Version, Seed: c.seed, DataDir: c.config.DataDir, Journal: c.journal, Rules: c.rules,
		Clock: c.clock, Faults: c.faults, PKI: c.pki, EdgeRoot: c.edgePKI.Root, Devices: registry{c}, Hubs: backEnd{c}, Container: backEnd{c}.container, Registrars: registrarControl{c}, World: worldControl{c}, Life: lifeControl{c}, Edge: edgeControl{c}, Consoles: consoleControl{c}, Ports: ports,
		Addresses: append([]string{"localhost", "127.0.0.1"}, c.config.Advertise...), Endpoints: func() []plane.Endpoint { return c.gen().endpoints() }, Adopt: c.Adopt, Trouble: c.trouble,
	}
}

func (c *generation) endpoints() []plane.Endpoint {
	var all []plane.Endpoint
	for _, i := range c.cores.dps.Instances() {
		all = append(all, plane.Endpoint{Platform: dps.Platform, Name: i.Name, Hosts: append([]string{i.Name + dpsSuffix}, globalDPS...),
			Facts: map[string]string{"idScope": i.IDScope}})
	}
	for _, h := range c.cores.hub.Hubs() {
		all = append(all, plane.Endpoint{Platform: iothub.Platform, Name: h.Host, Hosts: h.Names()})
	}
	for _, t := range c.cores.mind.Tenants() {
		all = append(all, plane.Endpoint{Platform: mindsphere.Platform, Name: t.Name, Hosts: tenantHosts(t),
			Facts: map[string]string{"region": string(t.Region)}})
	}
	for _, i := range c.cores.iot.Instances() {
		all = append(all, plane.Endpoint{Platform: iotda.Platform, Name: i.Name, Hosts: i.Hosts(), Facts: map[string]string{"projectId": i.ProjectID}})
	}
	for _, g := range c.cores.edge.Gateways() {
		all = append(all, plane.Endpoint{Platform: edge.Platform, Name: g.Name, Hosts: g.Names(),
			Facts: map[string]string{"hub": g.Hub, "deviceId": g.DeviceID}})
	}
	return all
}
