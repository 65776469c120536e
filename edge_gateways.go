package fakecloud

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/internal/door"
	"github.com/fakecloud/fakecloud/internal/pki"
)

// claimEdge says which gateway a child is for: that of the host name, else the one that has the device.
func (c *generation) claimEdge(h *door.Hello) door.Claim {
	if h.Level == 0 || h.Endpoint == "" && h.Port != door.Edge {
		return door.Claim{}
	}
	if h.Endpoint != "" {
		return door.Claim{Endpoint: h.Endpoint, OK: true}
	}
	device, _, _ := strings.Cut(h.ClientID, "/")
	name, ok := c.cores.edge.Claim(device)
	return door.Claim{Endpoint: name, OK: ok}
}

// edgeDistrusted is for clients that refuse a gateway's certificate: its root is not that of the other platforms.
const edgeDistrusted = "Give the client the root certificate of the gateways, pki/" + pki.EdgeRootFile + " in the data directory: it is not " +
	"that of the other platforms, pki/root.pem. If it is trusted, dial the gateway by its host name; GatewayHostName in the connection string has to be spelled the same."

// edgeCertificate makes what a gateway presents.
func (c *generation) edgeCertificate(hello *tls.ClientHelloInfo, own bool) (*tls.Certificate, error) {
	g, ok := c.cores.edge.Gateway(hello.ServerName)
	if !ok {
		all := c.cores.edge.Gateways()
		if len(all) == 0 {
			return nil, errors.New("there is no gateway")
		}
		g = all[0]
	}
	var local netip.Addr
	if addr, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok {
		local = addr.AddrPort().Addr()
	}
	return c.edgePKI.Certificate(edgeGateway(g), hello.ServerName, local, own)
}

func edgeGateway(g edge.Gateway) pki.EdgeGateway {
	return pki.EdgeGateway{Name: g.DeviceID, Host: g.Name, Hosts: g.Hosts, CA: []byte(g.CA), CAKey: []byte(g.CAKey)}
}

// EdgeRootPEM returns the root certificate that children of the gateways are to trust. It is made on first
// use.
func (c *Cloud) EdgeRootPEM() ([]byte, error) { return c.edgePKI.Root() }

// SetEdgeUpstream makes the hub reachable for a gateway, given by its host name, or not.
func (c *Cloud) SetEdgeUpstream(gateway string, up bool) error {
	return c.gen().cores.edge.SetUpstream(gateway, up)
}

// EdgeGateway is what a gateway holds: children, connections, routes, and what waits for the hub.
type EdgeGateway = edge.Status

// EdgeGateway returns the state of a gateway, given by its host name.
func (c *Cloud) EdgeGateway(gateway string) (EdgeGateway, error) {
	return c.gen().cores.edge.Status(gateway)
}

// RefreshEdge makes a gateway read its device scope from the hub, and returns how many children it has.
func (c *Cloud) RefreshEdge(gateway string) (children int, err error) {
	return c.gen().cores.edge.Refresh(gateway)
}

// SetParent makes a device of a hub the child of an edge device, or with an empty parent of none. Gateways
// hear of it when they next ask the hub.
func (c *Cloud) SetParent(hub, device, parent string) error {
	return c.gen().cores.hub.SetParent(hub, device, parent)
}

// nameGateways makes the host table know the gateways.
func (c *generation) nameGateways() error {
	for _, g := range c.cores.edge.Gateways() {
		if err := c.hosts.Put(edge.Platform, g.Name, g.Names()...); err != nil {
			return err
		}
	}
	return nil
}

// refreshGateways lets every gateway read its scope, for a world that has changed.
func (c *generation) refreshGateways() {
	for _, g := range c.cores.edge.Gateways() {
		if !g.Down {
			if _, err := c.cores.edge.Refresh(g.Name); err != nil {
				c.config.Log.Warn("a gateway did not read its scope", "endpoint", g.Name, "cause", err)
			}
		}
	}
}

// warmEdge makes the gateways' chain in the background where it is kept, so that the root's file is there
// for clients to trust and the first of them does not wait.
func (c *generation) warmEdge() {
	if c.config.DataDir == "" || c.config.ServerKey == string(pki.ServerECDSA) {
		return
	}
	for _, g := range c.cores.edge.Gateways() {
		c.edgePKI.Warm(edgeGateway(g), c.config.Log)
	}
}
