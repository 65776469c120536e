package fakecloud

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// registry is the control plane's view of all identities.
type registry struct{ cloud *Cloud }

var _ plane.Devices = registry{}

// List implements plane.Devices: hub devices with their modules, then DPS registrations, agents and IoTDA devices.
func (r registry) List() []plane.Device {
	var all []plane.Device
	core := r.cloud.cores
	for _, h := range core.hub.Hubs() {
		for _, d := range core.hub.Devices(h.Host) {
			all = append(all, hubDevice(h.Host, d))
			for _, m := range core.hub.Modules(h.Host, d.DeviceID) {
				all = append(all, hubModule(h.Host, m))
			}
		}
	}
	for _, i := range core.dps.Instances() {
		for _, reg := range core.dps.Registrations(i.Name) {
			all = append(all, registrationDevice(i.Name, reg))
		}
	}
	for _, t := range core.mind.Tenants() {
		for _, a := range core.mind.Agents(t.Name) {
			all = append(all, agentDevice(r.cloud, a))
		}
	}
	return append(append(all, r.cloud.iotdaDevices()...), r.cloud.edgeDevices()...)
}

func hubDevice(hub string, d iothub.Device) plane.Device {
	return plane.Device{Platform: iothub.Platform, Endpoint: hub, ID: d.DeviceID,
		Connected: d.ConnectionState == iothub.Connected, State: stateOf(d.Masked())}
}

func hubModule(hub string, m iothub.Module) plane.Device {
	return plane.Device{Platform: iothub.Platform, Endpoint: hub, ID: m.DeviceID + "/" + m.ModuleID,
		Connected: m.ConnectionState == iothub.Connected, State: stateOf(m.Masked())}
}

func registrationDevice(instance string, r dps.Registration) plane.Device {
	return plane.Device{Platform: dps.Platform, Endpoint: instance, ID: r.RegistrationID, State: stateOf(r)}
}

// stateOf is a platform's own JSON view as a map.
func stateOf(v any) map[string]any {
	text, err := json.Marshal(v)
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	var state map[string]any
	if err := json.Unmarshal(text, &state); err != nil {
		return map[string]any{"error": err.Error()}
	}
	return state
}

// Get implements plane.Devices. endpoint may be a hub's host name or an instance's name.
func (r registry) Get(platform, endpoint, id string) (plane.Device, error) {
	core := r.cloud.cores
	switch platform {
	case iothub.Platform:
		device, module, isModule := strings.Cut(id, "/")
		if isModule {
			m, err := core.hub.GetModule(endpoint, device, module)
			return hubModule(endpoint, m), noDevice(err)
		}
		d, err := core.hub.GetDevice(endpoint, device)
		return hubDevice(endpoint, d), noDevice(err)
	case dps.Platform:
		if reg, ok := core.dps.Registration(endpoint, id); ok {
			return registrationDevice(endpoint, reg), nil
		}
	case mindsphere.Platform:
		if a, ok := core.mind.Agent(id); ok && a.Tenant == endpoint {
			return agentDevice(r.cloud, a), nil
		}
	case iotda.Platform:
		if d, err := core.iot.Device(endpoint, id); err == nil {
			return r.cloud.iotdaDevice(endpoint, d), nil
		}
	case edge.Platform:
		if e, ok := core.edge.Child(endpoint, id); ok {
			return edgeChild(endpoint, e), nil
		}
	}
	return plane.Device{}, plane.ErrNoDevice
}

// Delete implements plane.Devices.
func (r registry) Delete(platform, endpoint, id string) error {
	core := r.cloud.cores
	switch platform {
	case iothub.Platform:
		device, module, isModule := strings.Cut(id, "/")
		if isModule {
			return noDevice(core.hub.DeleteModule(endpoint, device, module, ""))
		}
		return noDevice(core.hub.DeleteDevice(endpoint, device, ""))
	case dps.Platform:
		if core.dps.DeleteRegistration(endpoint, id) {
			return nil
		}
	case mindsphere.Platform:
		if r.cloud.deleteAgent(endpoint, id) {
			return nil
		}
	case iotda.Platform:
		if core.iot.DeleteDevice(endpoint, id) == nil {
			return nil
		}
	case edge.Platform:
		return r.deleteEdgeChild(endpoint, id)
	}
	return plane.ErrNoDevice
}

// Disconnect implements plane.Devices: the connection closes without a packet, as on a network failure.
func (r registry) Disconnect(platform, endpoint, id string) error {
	if _, err := r.Get(platform, endpoint, id); err != nil {
		return err
	}
	switch platform {
	case iothub.Platform:
		r.cloud.servers[hubServer].Disconnect(endpoint, id, errAdminDisconnect)
	case dps.Platform:
		r.cloud.servers[dpsServer].Disconnect(endpoint, id, errAdminDisconnect)
	case mindsphere.Platform:
		if t, ok := r.cloud.cores.mind.Tenant(endpoint); ok && t.Region == mindsphere.EU2 {
			return r.Disconnect(iothub.Platform, t.Hub, id)
		}
		r.cloud.servers[mindServer].Disconnect(endpoint, id, errAdminDisconnect)
	case iotda.Platform:
		r.cloud.cores.iot.Disconnect(endpoint, id)
	case edge.Platform:
		r.cloud.servers[edgeServer].Disconnect(endpoint, id, errAdminDisconnect)
	}
	return nil
}

var errAdminDisconnect = errors.New("disconnected by the admin API")

// noDevice gives the cores' not-found errors the control plane's name.
func noDevice(err error) error {
	if errors.Is(err, iothub.ErrNotFound) {
		return plane.ErrNoDevice
	}
	return err
}
