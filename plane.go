package fakecloud

import (
	"context"
	"fmt"
	"net"
	"strconv"

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
		Clock: c.clock, Faults: c.faults, PKI: c.pki, EdgeRoot: c.edgePKI.Root, Devices: registry{c}, Hubs: backEnd{c}, Container: backEnd{c}.container, Registrars: registrarControl{c}, World: worldControl{c}, Life: lifeControl{c}, Edge: edgeControl{c}, Ports: ports,
		Addresses: append([]string{"localhost", "127.0.0.1"}, c.config.Advertise...), Endpoints: func() []plane.Endpoint { return c.gen().endpoints() }, Adopt: c.Adopt,
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

// Ports returns the bound ports; 0 is a listener that is off.
func (c *Cloud) Ports() Ports {
	b := c.door.Ports()
	return Ports{MQTTS: b.MQTTS, MQTT: b.MQTT, HTTPS: b.HTTPS, Edge: b.Edge, Proxy: b.Proxy}
}

// MQTTSAddr is where MQTT clients dial: "127.0.0.1:port".
func (c *Cloud) MQTTSAddr() string {
	return net.JoinHostPort(c.dialHost(), strconv.Itoa(c.door.Ports().MQTTS))
}

// dialHost is an address that leads to the listeners from this machine.
func (c *Cloud) dialHost() string {
	for _, bind := range c.config.Bind {
		if ip := net.ParseIP(bind); ip != nil && !ip.IsUnspecified() {
			return bind
		}
	}
	return "127.0.0.1"
}

// RootsPEM returns the certificate that clients are to trust.
func (c *Cloud) RootsPEM() []byte { return c.pki.RootPEM() }

// DialContext connects to the instance by a vendor's host name and port (8883 or 443, of IoTDA 1883 too), for clients that
// take a dial function and shall keep the vendors' names. Any other name or port is an error: nothing
// leaves this machine.
func (c *Cloud) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if c.hosts.Lookup(host).Platform == "" {
		return nil, fmt.Errorf("fakecloud: %s is not an emulated host", host)
	}
	bound := c.door.Ports()
	var target int
	switch {
	case port == "1883" && c.hosts.Lookup(host).Platform == iotda.Platform:
		target = bound.MQTT
	case port == "8883":
		target = bound.MQTTS
	case port == "443" && len(bound.HTTPS) > 0:
		target = bound.HTTPS[0]
	}
	if target == 0 {
		return nil, fmt.Errorf("fakecloud: no listener stands for port %s of %s", port, host)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, net.JoinHostPort(c.dialHost(), strconv.Itoa(target)))
}
