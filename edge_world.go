package fakecloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/world"
)

// applyGateway creates or replaces a gateway with its edge device and children.
func (p platforms) applyGateway(g world.EdgeGateway, caPEM func(string) ([]byte, error)) error {
	hub := p.hubHosts([]string{g.Hub})[0]
	device := g.EdgeDeviceID()
	if err := p.edgeDevice(hub, device); err != nil {
		return err
	}
	if err := p.applyEdgeHub(hub, device, g.EdgeHub); err != nil {
		return err
	}
	for _, d := range g.Children {
		_, err := p.hub.GetDevice(hub, d.DeviceID)
		if p.gaps.leaves(d.DeviceID) {
			continue
		}
		isNew := p.gaps == nil || err != nil
		d.Parent = "" // set below, once the device is there
		if err := p.applyDevice(hub, d); err != nil {
			return fmt.Errorf("children[%s]: %w", d.DeviceID, err)
		}
		if isNew {
			if err := p.hub.SetParent(hub, d.DeviceID, device); err != nil {
				return fmt.Errorf("children[%s]: %w", d.DeviceID, err)
			}
		}
	}
	if _, exists := p.edge.Gateway(g.HostName); !p.gaps.takes(exists, "gateway "+g.HostName) {
		return nil
	}
	set := edge.Gateway{Name: hosts.Canonical(g.HostName), Hub: hub, DeviceID: device, Mode: g.Mode,
		MaxClients: intOf(g.MaxClients), QueueMessages: intOf(g.QueueMessages), QueueBytes: intOf(g.QueueBytes)}
	for _, a := range g.Aliases {
		set.Hosts = append(set.Hosts, hosts.Canonical(a))
	}
	for _, c := range g.TrustBundle {
		text, err := certificatePEM(world.CACertificate{Name: c.Name, CA: c.CA, PEM: c.PEM}, caPEM)
		if err != nil {
			return err
		}
		set.TrustBundle = append(set.TrustBundle, edge.TrustedCA{Name: c.Name, Certificate: string(text)})
	}
	if g.EdgeCA != nil && g.EdgeCA.Key != nil {
		set.CA, set.CAKey = g.EdgeCA.PEM, g.EdgeCA.Key.PEM
	}
	return p.edge.PutGateway(set)
}

func intOf(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// edgeDevice makes a gateway's device where it is missing.
func (p platforms) edgeDevice(hub, id string) error {
	d, err := p.hub.GetDevice(hub, id)
	switch {
	case errors.Is(err, iothub.ErrNotFound):
		_, err = p.hub.PutDevice(hub, iothub.Device{DeviceID: id, Capabilities: iothub.Capabilities{IoTEdge: true}})
	case err == nil && !d.Capabilities.IoTEdge:
		return fmt.Errorf("deviceId %s: %w", id, iothub.ErrNoEdge)
	}
	return err
}

// applyEdgeHub sets the desired properties of $edgeHub.
func (p platforms) applyEdgeHub(hub, device string, e *world.EdgeHub) error {
	if e == nil || len(e.Desired) == 0 {
		return nil
	}
	if err := edge.CheckDesired(e.Desired); err != nil {
		return fmt.Errorf("edgeHub.desired.%w", err)
	}
	t, err := p.hub.GetTwin(hub, device, edgeHubModule)
	if err != nil || p.gaps != nil && len(t.Desired.Values) > 0 {
		return err
	}
	desired, err := asJSON(e.Desired)
	if err != nil {
		return err
	}
	_, err = p.hub.ChangeTwin(hub, device, edgeHubModule, iothub.TwinPatch{Desired: desired, Replace: true}, "")
	return err
}

const edgeHubModule = "$edgeHub"

// asJSON turns a world's values into those that twins hold, numbers as they are written.
func asJSON(values map[string]any) (out map[string]any, err error) {
	text, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return out, d.Decode(&out)
}

// plain turns a twin's values into those that a world holds.
func plain(values map[string]any) (out map[string]any, err error) {
	text, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	return out, json.Unmarshal(text, &out)
}

// applyParents sets the parents that a hub's devices name, once all devices and gateways are there.
func (p platforms) applyParents(h world.Hub) error {
	for _, d := range h.Devices {
		if d.Parent == "" && p.gaps == nil || p.gaps.leaves(d.DeviceID) {
			continue
		}
		now, err := p.hub.GetDevice(h.HostName(), d.DeviceID)
		if err != nil {
			return err
		}
		if d.Parent == "" || p.gaps != nil && len(now.ParentScopes) > 0 {
			continue
		}
		if err := p.hub.SetParent(h.HostName(), d.DeviceID, d.Parent); err != nil {
			return fmt.Errorf("devices[%s].parent: %w", d.DeviceID, err)
		}
	}
	return nil
}

// exportGateways writes the gateways; their children stand among the hubs' devices.
func (c *generation) exportGateways(known map[string]string) ([]world.EdgeGateway, error) {
	var all []world.EdgeGateway
	for _, g := range c.cores.edge.Gateways() {
		out := world.EdgeGateway{HostName: g.Name, Aliases: g.Hosts, Hub: g.Hub, DeviceID: g.DeviceID, MaxClients: orNil(g.MaxClients),
			QueueMessages: orNil(g.QueueMessages), QueueBytes: orNil(g.QueueBytes)}
		if g.Mode != edge.ModeScope {
			out.Mode = g.Mode
		}
		for _, t := range g.TrustBundle {
			certs, err := pki.ParseCertificates([]byte(t.Certificate))
			if err != nil {
				return nil, fmt.Errorf("edge.gateways[%s]: %w", g.Name, err)
			}
			ca := exportCA(known, t.Name, certs[0], true)
			out.TrustBundle = append(out.TrustBundle, world.TrustedCA{Name: t.Name, CA: ca.CA, PEM: ca.PEM})
		}
		if g.CA != "" {
			out.EdgeCA = &world.EdgeCA{PEM: g.CA, Key: &world.KeyMaterial{PEM: g.CAKey}}
		}
		if t, err := c.cores.hub.GetTwin(g.Hub, g.DeviceID, edgeHubModule); err == nil && len(t.Desired.Values) > 0 {
			desired, err := plain(t.Desired.Values)
			if err != nil {
				return nil, err
			}
			out.EdgeHub = &world.EdgeHub{Desired: desired}
		}
		all = append(all, out)
	}
	return all, nil
}

func orNil(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}
