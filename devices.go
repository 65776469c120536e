package fakecloud

import "github.com/fakecloud/fakecloud/internal/plane"

// registry is the control plane's view of all identities.
type registry struct{ cloud *Cloud }

var _ plane.Devices = registry{}

// List implements plane.Devices.
func (r registry) List() []plane.Device {
	var all []plane.Device
	for _, p := range r.cloud.gen().parts {
		all = append(all, p.list()...)
	}
	return all
}

// part returns a platform that has the identity.
func (r registry) part(platform, endpoint, id string) (part, error) {
	for _, p := range r.cloud.gen().parts {
		if p.name() == platform {
			_, err := p.get(endpoint, id)
			return p, err
		}
	}
	return nil, plane.ErrNoDevice
}

// Get implements plane.Devices. endpoint may be a hub's host name or an instance's name.
func (r registry) Get(platform, endpoint, id string) (plane.Device, error) {
	for _, p := range r.cloud.gen().parts {
		if p.name() == platform {
			return p.get(endpoint, id)
		}
	}
	return plane.Device{}, plane.ErrNoDevice
}

// Delete implements plane.Devices.
func (r registry) Delete(platform, endpoint, id string) error {
	p, err := r.part(platform, endpoint, id)
	if err != nil {
		return err
	}
	return p.remove(endpoint, id)
}

// Disconnect implements plane.Devices: the connection closes without a packet, as on a network failure.
func (r registry) Disconnect(platform, endpoint, id string) error {
	p, err := r.part(platform, endpoint, id)
	if err == nil {
		p.disconnect(endpoint, id)
	}
	return err
}

// Expire implements plane.Devices.
func (r registry) Expire(platform, endpoint, id string) error {
	p, err := r.part(platform, endpoint, id)
	if err != nil {
		return err
	}
	return p.expire(endpoint, id)
}

// Device is a registered identity with its live state, whatever its platform.
type Device = plane.Device

// Devices returns every identity of all platforms, without its state.
func (c *Cloud) Devices() []Device { return registry{c}.List() }

// Device returns one identity with its state. platform and endpoint are those of the journal.
func (c *Cloud) Device(platform, endpoint, id string) (Device, error) {
	return registry{c}.Get(platform, endpoint, id)
}

// DeleteDevice removes an identity with all that belongs to it, and ends its connection.
func (c *Cloud) DeleteDevice(platform, endpoint, id string) error {
	return registry{c}.Delete(platform, endpoint, id)
}

// Disconnect ends a device's connection without a packet, as a failure of the network would.
func (c *Cloud) Disconnect(platform, endpoint, id string) error {
	return registry{c}.Disconnect(platform, endpoint, id)
}

// Expire does to a device's live connection what the end of its token does. It is an error where there is
// no connection, or one whose credential has no end.
func (c *Cloud) Expire(platform, endpoint, id string) error {
	return registry{c}.Expire(platform, endpoint, id)
}
