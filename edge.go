package fakecloud

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/door"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// upstream is the hub behind the gateways.
type upstream struct{ hub *iothub.Service }

var _ edge.Upstream = upstream{}

// Hosts implements edge.Upstream.
func (u upstream) Hosts(hub string) []string {
	h, err := u.hub.GetHub(hub)
	if err != nil {
		return nil
	}
	return h.Names()
}

// Identities implements edge.Upstream.
func (u upstream) Identities(hub string) []edge.Identity {
	var all []edge.Identity
	for _, d := range u.hub.Devices(hub) {
		all = append(all, edgeDevice(d))
		for _, m := range u.hub.Modules(hub, d.DeviceID) {
			all = append(all, edgeModule(m))
		}
	}
	return all
}

// Identity implements edge.Upstream.
func (u upstream) Identity(hub, device, module string) (edge.Identity, error) {
	if module == "" {
		d, err := u.hub.GetDevice(hub, device)
		return edgeDevice(d), err
	}
	m, err := u.hub.GetModule(hub, device, module)
	return edgeModule(m), err
}

func edgeDevice(d iothub.Device) edge.Identity {
	id := edge.Identity{DeviceID: d.DeviceID, GenerationID: d.GenerationID, Disabled: d.Status == iothub.Disabled,
		IoTEdge: d.Capabilities.IoTEdge, DeviceScope: d.DeviceScope, ParentScopes: d.ParentScopes}
	return withAuth(id, d.Authentication)
}

func edgeModule(m iothub.Module) edge.Identity {
	return withAuth(edge.Identity{DeviceID: m.DeviceID, ModuleID: m.ModuleID, GenerationID: m.GenerationID}, m.Authentication)
}

func withAuth(id edge.Identity, a iothub.Authentication) edge.Identity {
	id.AuthType = string(a.Type)
	keep := func(list *[]string, values ...string) {
		for _, v := range values {
			if v != "" {
				*list = append(*list, v)
			}
		}
	}
	keep(&id.Keys, a.SymmetricKey.PrimaryKey, a.SymmetricKey.SecondaryKey)
	keep(&id.Thumbprints, a.Thumbprint.Primary, a.Thumbprint.Secondary)
	return id
}

// at is the identity as the hub knows it, which stands behind a gateway.
func (u upstream) at(hub string, id edge.Identity) (iothub.Identity, error) {
	h, err := u.hub.GetHub(hub)
	if err != nil {
		return iothub.Identity{}, err
	}
	now, err := u.Identity(hub, id.DeviceID, id.ModuleID)
	if err != nil {
		return iothub.Identity{}, err
	}
	auth := iothub.AuthMethod{Scope: "device", Type: "sas", Issuer: "iothub"}
	if id.ModuleID != "" {
		auth.Scope = "module"
	}
	if now.AuthType == string(iothub.AuthSelfSigned) || now.AuthType == string(iothub.AuthCA) {
		auth.Type = "x509"
	}
	return iothub.Identity{Hub: h.Host, DeviceID: id.DeviceID, ModuleID: id.ModuleID, GenerationID: now.GenerationID, Auth: auth, Switches: h.Switches}, nil
}

// Open implements edge.Upstream.
func (u upstream) Open(hub string, id edge.Identity, o edge.Origin, down edge.CloudSink) (edge.Cloud, error) {
	at, err := u.at(hub, id)
	if err != nil {
		return nil, err
	}
	origin := iothub.Origin{Conn: o.Conn, Address: o.Address, ModelID: o.ModelID, APIVersion: o.APIVersion}
	return cloudLink{u.hub.Open(at, origin, cloudSink{down}), u.hub}, nil
}

// Visit implements edge.Upstream.
func (u upstream) Visit(hub string, id edge.Identity) (edge.Cloud, error) {
	at, err := u.at(hub, id)
	if err != nil {
		return nil, err
	}
	const apiVersion = "2021-04-12" // twins need one
	return cloudLink{u.hub.Visit(at, iothub.Origin{APIVersion: apiVersion}), u.hub}, nil
}

// cloudSink is a gateway's child as the hub sees it.
type cloudSink struct{ edge.CloudSink }

var (
	_ iothub.DesiredSink = cloudSink{}
	_ iothub.MethodSink  = cloudSink{}
	_ iothub.C2DSink     = cloudSink{}
)

// Message implements iothub.C2DSink.
func (s cloudSink) Message(m iothub.C2DMessage, complete func()) bool {
	c := edge.C2D{MessageID: m.MessageID, CorrelationID: m.CorrelationID, UserID: m.UserID, To: m.To,
		ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, Body: m.Body}
	if m.ExpirySet {
		c.Expiry = m.Expiry
	}
	if m.Ack != iothub.AckNone {
		c.Ack = string(m.Ack)
	}
	for _, p := range m.Properties {
		c.Properties = append(c.Properties, edge.Property{Name: p.Name, Value: p.Value, Null: p.Null})
	}
	return s.CloudSink.Message(c, complete)
}

// cloudLink is a connection to the hub.
type cloudLink struct {
	*iothub.Session
	hub *iothub.Service
}

var _ edge.Cloud = cloudLink{}

// Send implements edge.Cloud.
func (l cloudLink) Send(ctx context.Context, batch []edge.Message) error {
	out := make([]iothub.D2C, len(batch))
	for i, m := range batch {
		out[i] = iothub.D2C{Body: m.Body, System: hubProperties(m.System), App: hubProperties(m.App)}
	}
	return sendError(l.TelemetryBatch(ctx, out))
}

func hubProperties(list []edge.Property) []iothub.Property {
	out := make([]iothub.Property, len(list))
	for i, p := range list {
		out[i] = iothub.Property{Name: p.Name, Value: p.Value}
	}
	return out
}

// sendError tells what the hub will never take from what it does not take now.
func sendError(r *rule.Refusal) error {
	switch {
	case r == nil:
		return nil
	case r.Code == iothub.CodeMessageTooLarge || r.Code == iothub.CodeArgumentInvalid || r.Code == iothub.CodeMalformedJSON || r.Rule.Row() == "HUB-12":
		return fmt.Errorf("%w: %w", edge.ErrRejected, r)
	}
	return fmt.Errorf("%w: %w", edge.ErrAway, r)
}

// Twin implements edge.Cloud. What a gateway reads for itself is no event.
func (l cloudLink) Twin() ([]byte, error) {
	if id := l.Identity(); id.ModuleID == edgeHubModule {
		t, err := l.hub.GetTwin(id.Hub, id.DeviceID, id.ModuleID)
		if err != nil {
			return nil, err
		}
		return json.Marshal(map[string]any{"desired": versioned(t.Desired), "reported": versioned(t.Reported)})
	}
	body, r := l.TwinForDevice()
	return body, sendError(r)
}

func versioned(s iothub.Section) map[string]any {
	values := maps.Clone(s.Values)
	values["$version"] = s.Version
	return values
}

// Report implements edge.Cloud.
func (l cloudLink) Report(patch []byte) error {
	_, r := l.Session.Report(patch, "")
	return sendError(r)
}

// Answer implements edge.Cloud.
func (l cloudLink) Answer(rid string, status int, payload []byte) error {
	if r := l.MethodAnswer(rid, iothub.MethodResult{Status: status, Payload: payload}); r != nil {
		return r
	}
	return nil
}

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

// edgePart is the Edge gateways: their children. They are the hub's, too.
type edgePart struct{ g *generation }

var _ part = edgePart{}

func (p edgePart) name() string { return edge.Platform }

func (p edgePart) list() (all []plane.Device) {
	for _, g := range p.g.cores.edge.Gateways() {
		for _, e := range p.g.cores.edge.Children(g.Name) {
			all = append(all, plane.Device{Platform: edge.Platform, Endpoint: g.Name, ID: e.ID, Connected: e.Connected, Conn: e.Conn})
		}
	}
	return all
}

func (p edgePart) get(gateway, id string) (plane.Device, error) {
	e, ok := p.g.cores.edge.Child(gateway, id)
	if !ok {
		return plane.Device{}, plane.ErrNoDevice
	}
	return plane.Device{Platform: edge.Platform, Endpoint: gateway, ID: e.ID, Connected: e.Connected, Conn: e.Conn, State: stateOf(e)}, nil
}

// remove implements part: a device stays in the hub, without a parent; a module is deleted.
func (p edgePart) remove(gateway, id string) error {
	core := p.g.cores
	g, ok := core.edge.Gateway(gateway)
	if _, known := core.edge.Child(gateway, id); !ok || !known {
		return plane.ErrNoDevice
	}
	device, module, isModule := strings.Cut(id, "/")
	var err error
	if isModule {
		err = core.hub.DeleteModule(g.Hub, device, module, "")
	} else {
		err = core.hub.SetParent(g.Hub, device, "")
	}
	if err == nil && !g.Down {
		_, err = core.edge.Refresh(g.Name)
	}
	return noDevice(err)
}

func (p edgePart) disconnect(gateway, id string) {
	disconnectFrom(p.g.servers[edgeServer], gateway, id)
}

// expire implements part. A gateway judges tokens when they are presented.
func (p edgePart) expire(string, string) error { return plane.ErrNothingToExpire }

// forget implements part: the hub forgets the children, and the gateway hears of it when it asks.
func (p edgePart) forget(match func(string) bool) int {
	for _, d := range p.list() {
		if match(d.ID) {
			p.disconnect(d.Endpoint, d.ID)
		}
	}
	return 0
}

// edgeControl is the control plane's access to the gateways.
type edgeControl struct{ cloud *Cloud }

var _ plane.Edge = edgeControl{}

// Gateways implements plane.Edge.
func (e edgeControl) Gateways() []map[string]any {
	all := []map[string]any{}
	for _, g := range e.cloud.gen().cores.edge.Gateways() {
		if state, err := e.Gateway(g.Name); err == nil {
			all = append(all, state)
		}
	}
	return all
}

// Gateway implements plane.Edge.
func (e edgeControl) Gateway(name string) (map[string]any, error) {
	state, err := e.cloud.gen().cores.edge.Status(name)
	if err != nil {
		return nil, noGateway(err)
	}
	return stateOf(state), nil
}

// SetUpstream implements plane.Edge.
func (e edgeControl) SetUpstream(name string, up bool) error {
	return noGateway(e.cloud.SetEdgeUpstream(name, up))
}

// Refresh implements plane.Edge.
func (e edgeControl) Refresh(name string) (int, error) {
	children, err := e.cloud.RefreshEdge(name)
	return children, noGateway(err)
}

// noGateway gives the core's errors the control plane's names.
func noGateway(err error) error {
	switch {
	case errors.Is(err, edge.ErrNotFound):
		return plane.ErrNoGateway
	case errors.Is(err, edge.ErrAway):
		return plane.ErrNoUpstream
	}
	return err
}
