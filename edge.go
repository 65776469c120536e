package fakecloud

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/emulators/iothub"
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

// Away implements edge.Upstream.
func (u upstream) Away(hub string) bool { return u.hub.Away(hub) }

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

// Welcome implements edge.Upstream.
func (u upstream) Welcome(hub, device, parent string, certificate bool) bool {
	if !u.hub.Welcome(hub, device, certificate) {
		return false
	}
	d, err := u.hub.GetDevice(hub, device)
	if err == nil && len(d.ParentScopes) == 0 && d.DeviceScope == "" {
		err = u.hub.SetParent(hub, device, parent)
	}
	return err == nil
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
	if u.hub.Away(hub) {
		return iothub.Identity{}, edge.ErrAway
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
	_ iothub.C2DJudge    = cloudSink{}
)

// Message implements iothub.C2DSink.
func (s cloudSink) Message(m iothub.C2DMessage, complete func()) bool {
	return s.CloudSink.Message(edgeC2D(m), complete)
}

// WantsC2D implements iothub.C2DJudge.
func (s cloudSink) WantsC2D(m iothub.C2DMessage) bool { return s.Wants(edgeC2D(m)) }

func edgeC2D(m iothub.C2DMessage) edge.C2D {
	c := edge.C2D{EnqueuedAt: m.EnqueuedAt, MessageID: m.MessageID, CorrelationID: m.CorrelationID, UserID: m.UserID, To: m.To,
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
	return c
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

// Twin implements edge.Cloud. What $edgeHub reads, the gateway reads for itself.
func (l cloudLink) Twin() ([]byte, error) {
	if l.Identity().ModuleID == edgeHubModule {
		return l.Look()
	}
	body, r := l.TwinForDevice()
	return body, sendError(r)
}

// Look implements edge.Cloud.
func (l cloudLink) Look() ([]byte, error) {
	id := l.Identity()
	t, err := l.hub.GetTwin(id.Hub, id.DeviceID, id.ModuleID)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"desired": versioned(t.Desired), "reported": versioned(t.Reported)})
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
