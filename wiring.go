package fakecloud

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/fakecloud/fakecloud/emulators/dps"
	dpsarm "github.com/fakecloud/fakecloud/emulators/dps/arm"
	dpsmqtt "github.com/fakecloud/fakecloud/emulators/dps/mqtt"
	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/door"
	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/world"
)

// allocator lets DPS make devices on the hubs, and agents of MindSphere's region eu2 of them.
type allocator struct {
	hub  *iothub.Service
	mind *mindsphere.Service
}

var _ dps.Allocator = allocator{}

// Assign implements dps.Allocator. X.509 devices become selfSigned ones with the SHA-256 thumbprint of
// their leaf, as the real service shows them.
func (a allocator) Assign(_ context.Context, as dps.Assignment) error {
	tenant, agent := a.mind.TenantOfGroup(as.Group)
	if agent {
		if err := a.mind.JudgeAgent(tenant, as.DeviceID); err != nil {
			return err
		}
	}
	device := iothub.Device{DeviceID: as.DeviceID, InitialTwin: as.InitialTwin,
		Capabilities: iothub.Capabilities{IoTEdge: as.Capabilities.IoTEdge}}
	if as.Auth.SHA256 != "" {
		device.Authentication = iothub.Authentication{Type: iothub.AuthSelfSigned,
			Thumbprint: iothub.Thumbprints{Primary: as.Auth.SHA256, Secondary: as.Auth.SHA256}}
	} else {
		device.Authentication = iothub.Authentication{Type: iothub.AuthSAS,
			SymmetricKey: iothub.SymmetricKey{PrimaryKey: as.Auth.PrimaryKey, SecondaryKey: as.Auth.SecondaryKey}}
	}
	if err := a.place(as, device); err != nil {
		return err
	}
	a.hub.ApplyConfigurations(as.Hub, as.DeviceID)
	if agent {
		if err := a.mind.RegisterAgent(tenant, as.DeviceID); err != nil {
			return err
		}
	}
	return a.hub.Assign(as.Hub, as.DeviceID)
}

// place puts the device on the hub, with the twin that is due, and takes it from the one that it leaves.
func (a allocator) place(as dps.Assignment, device iothub.Device) error {
	if as.From != "" && !as.Reset {
		if old, err := a.hub.GetDevice(as.From, as.DeviceID); err == nil {
			device.Status, device.StatusReason = old.Status, old.StatusReason
		}
		_, err := a.hub.MoveDevice(as.From, as.Hub, device)
		return err
	}
	if old, err := a.hub.GetDevice(as.Hub, as.DeviceID); err == nil {
		device.Status, device.StatusReason = old.Status, old.StatusReason
		device.DeviceScope, device.ParentScopes = old.DeviceScope, old.ParentScopes
	} else {
		as.Reset = false // a new device starts with its initial twin
	}
	if _, err := a.hub.PutDevice(as.Hub, device); err != nil {
		return err
	}
	if as.Reset {
		if _, err := a.hub.ResetTwin(as.Hub, as.DeviceID, as.InitialTwin); err != nil {
			return err
		}
	}
	if as.From == "" {
		return nil
	}
	if err := a.hub.DeleteDevice(as.From, as.DeviceID, ""); !errors.Is(err, iothub.ErrNotFound) {
		return err
	}
	return nil
}

// Holds implements dps.Allocator.
func (a allocator) Holds(hub, deviceID string) bool {
	_, err := a.hub.GetDevice(hub, deviceID)
	return err == nil
}

func (c *generation) claimDPS(head *dpsmqtt.Head) func(*door.Hello) door.Claim {
	return func(h *door.Hello) door.Claim {
		if h.Level == 0 {
			return c.claimDPSHTTP(h)
		}
		endpoint, ok := head.Claim(h.Username)
		if !ok {
			return door.Claim{Near: head.Near(h.Username)}
		}
		return door.Claim{Endpoint: endpoint, OK: true}
	}
}

func (c *generation) claimHub(h *door.Hello) door.Claim {
	if h.Level == 0 {
		return c.claimHubHTTP(h)
	}
	endpoint, ok, near := c.cores.hub.Claim(h.Username, h.ClientID, h.Hosts...)
	return door.Claim{Endpoint: endpoint, OK: ok, Near: near}
}

// dpsSuffix follows an instance's name in its service host name.
const dpsSuffix = ".azure-devices-provisioning.net"

// globalDPS are the host names that all DPS instances share.
var globalDPS = []string{"global.azure-devices-provisioning.net", "global.azure-devices-provisioning.cn"}

// nameHosts makes the host table know every instance.
func (c *generation) nameHosts() error {
	if err := c.hosts.Put(hosts.ARM, dpsarm.Host, dpsarm.Host); err != nil {
		return err
	}
	for _, h := range c.cores.hub.Hubs() {
		if err := c.hosts.Put(iothub.Platform, h.Host, h.Host); err != nil {
			return err
		}
	}
	if err := errors.Join(c.nameTenants(), c.nameIoTDA(), c.nameGateways()); err != nil {
		return err
	}
	for _, i := range c.cores.dps.Instances() {
		names := append([]string{i.Name + dpsSuffix}, globalDPS...)
		if err := c.hosts.Put(dps.Platform, i.Name, names...); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cloud) doorPorts() door.Ports {
	p := c.config.Ports
	if p.HTTPS == nil && p.HTTPSWherePermitted == nil {
		p.HTTPS = []int{0}
	}
	return door.Ports{MQTTS: p.MQTTS, MQTT: p.MQTT, HTTPS: p.HTTPS, HTTPSWherePermitted: p.HTTPSWherePermitted,
		Edge: p.Edge, Proxy: p.Proxy}
}

// localAddresses are this machine's own, for certificates of clients that dial an address.
func (c *Cloud) localAddresses() []netip.Addr {
	var found []netip.Addr
	if c.config.memory != nil {
		return nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			found = append(found, prefix.Addr().Unmap())
		}
	}
	return found
}

// hubDomains are the names of the world outside the vendors' domains.
func hubDomains(w *world.World) []string {
	var names []string
	for _, h := range w.Azure.Hubs {
		names = append(names, h.HostName())
	}
	return names
}

// devicePort is where every device dials a hub, whatever DPS told it: the answer names a host only.
const devicePort = 8883

// handOver warns, beside each assignment, where devices will not find the hub on its usual port.
func (c *Cloud) handOver() string {
	if c.config.Ports.MQTTS == devicePort {
		return ""
	}
	return "devices dial the hub on port 8883, where this instance does not listen: publish its port as 8883, or let them dial through the proxy port"
}
