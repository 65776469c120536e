package fakecloud

import (
	"errors"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/internal/plane"
)

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
