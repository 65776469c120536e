package adopt

import (
	"strings"

	"github.com/fakecloud/fakecloud/internal/wire/azure"
	"github.com/fakecloud/fakecloud/internal/world"
)

// planEdge makes a client a child of the gateway that refused it, or has its certificate accepted. A device
// that the gateway's hub has already keeps its credential and gets the parent.
func planEdge(w *world.World, a *Attempt) (*world.World, error) {
	u, err := azure.ParseHubUsername(a.Username)
	gateway, found := findGateway(w, a.Endpoint)
	if err != nil || !found {
		return nil, fault(a)
	}
	u = u.Decoded()
	hub, _ := w.Hub(gateway.Hub)
	child := world.Device{DeviceID: u.DeviceID}
	switch a.Rule {
	case "EDGE-11/parent", "EDGE-11/removed":
		child.Parent = gateway.EdgeDeviceID()
	case "EDGE-11/unknown", "EDGE-11/cached":
		child.Parent = gateway.EdgeDeviceID()
		if hasDevice(hub, u.DeviceID) {
			break
		}
		if len(a.Certificates) == 0 || u.ModuleID != "" {
			return nil, keyNeeded("fakecloud add edge-child " + u.DeviceID + " --gateway " + gateway.HostName + " --key BASE64")
		}
		child.Authentication = selfSigned(a)
	case "EDGE-11/disabled":
		child.Status = "enabled"
	case "EDGE-12/thumbprint":
		child.Authentication = selfSigned(a)
	case "EDGE-16/type":
		if len(a.Certificates) == 0 {
			return nil, keyNeeded("fakecloud add edge-child " + u.DeviceID + " --gateway " + gateway.HostName + " --replace --key BASE64")
		}
		child.Authentication = selfSigned(a)
	case "EDGE-13/chain":
		ca, ok := authority(a)
		if !ok {
			return nil, cannot("the child did not send the certificate of its CA%s; put it into the trustBundle of gateway %s", issuedBy(a), gateway.HostName)
		}
		return gateways(world.EdgeGateway{HostName: gateway.HostName, TrustBundle: []world.TrustedCA{
			{Name: "adopted-" + strings.ToLower(u.DeviceID), PEM: pemOf(ca)}}}), nil
	case "EDGE-7/signature":
		return nil, keyNeeded("fakecloud add edge-child " + u.DeviceID + " --gateway " + gateway.HostName + " --replace --key BASE64")
	case "EDGE-33/unknown":
		return nil, cannot("the gateway cannot reach its hub, where children are made: fakecloud edge upstream up")
	default:
		return nil, fault(a)
	}
	return hubs(world.Hub{Name: hub.Name, Devices: []world.Device{child}}), nil
}

func findGateway(w *world.World, host string) (world.EdgeGateway, bool) {
	for _, g := range w.Edge.Gateways {
		if strings.EqualFold(g.HostName, host) {
			return g, true
		}
	}
	return world.EdgeGateway{}, false
}

func hasDevice(h world.Hub, id string) bool {
	for _, d := range h.Devices {
		if d.DeviceID == id {
			return true
		}
	}
	return false
}

// selfSigned is an authentication by the certificate that the client has shown.
func selfSigned(a *Attempt) *world.Authentication {
	return &world.Authentication{Type: world.TypeSelfSigned, X509Thumbprint: &world.Thumbprint{PrimaryThumbprint: thumbprintOf(a.Certificates[0])}}
}

func gateways(g world.EdgeGateway) *world.World {
	return &world.World{Edge: world.Edge{Gateways: []world.EdgeGateway{g}}}
}
