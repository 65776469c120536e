package iothub

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// scopePrefix begins a device scope, which goes on with the edge device's id and digits (Azure/iotedge,
// tests of DeviceScopeIdentitiesCache: "ms-azure-iot-edge://d301-636704968692034950").
const scopePrefix = "ms-azure-iot-edge://"

// scoped fills in what the registry makes of a device's scopes: an edge device has a scope of its own for
// ever, a leaf is in its parent's, and parentScopes says so once more.
func (s *Service) scoped(old, d Device) Device {
	switch {
	case !d.Capabilities.IoTEdge && len(d.ParentScopes) == 0 && d.DeviceScope != "":
		d.ParentScopes = []string{d.DeviceScope}
	case !d.Capabilities.IoTEdge && d.DeviceScope == "" && len(d.ParentScopes) > 0:
		d.DeviceScope = d.ParentScopes[0]
	case d.Capabilities.IoTEdge && old.Capabilities.IoTEdge && old.DeviceScope != "":
		d.DeviceScope = old.DeviceScope
	case d.Capabilities.IoTEdge && d.DeviceScope == "":
		const digits = 1_000_000_000_000_000_000
		d.DeviceScope = scopePrefix + d.DeviceID + "-" + strconv.FormatUint(s.ids.Uint64()%(9*digits)+digits, 10)
	}
	return d
}

// systemModules are those that the registry makes for every edge device.
var systemModules = []string{"$edgeAgent", "$edgeHub"}

// edgeModules makes the modules of an edge device that are missing.
func (s *Service) edgeModules(hub string, d Device) {
	if !d.Capabilities.IoTEdge {
		return
	}
	for _, id := range systemModules {
		if _, ok := s.modules.Get(key(hub, d.DeviceID, id)); ok {
			continue
		}
		auth := d.Authentication
		if auth.Type != AuthSAS {
			auth = Authentication{Type: AuthNone}
		} else {
			auth = Authentication{Type: AuthSAS}
		}
		if _, err := s.PutModule(hub, Module{DeviceID: d.DeviceID, ModuleID: id, ManagedBy: "iotEdge", Authentication: auth}); err != nil {
			s.log.Error("a module of an edge device was not made", "endpoint", hub, "device", d.DeviceID, "module", id, "cause", err)
		}
	}
}

// ErrNoEdge says that a parent is no edge device.
var ErrNoEdge = errors.New("the parent is no IoT Edge device (capabilities.iotEdge)")

// SetParent makes a device a child of an edge device, or with an empty parent of none.
func (s *Service) SetParent(hub, device, parent string) error {
	d, err := s.GetDevice(hub, device)
	if err != nil {
		return err
	}
	var scopes []string
	if parent != "" {
		p, err := s.GetDevice(hub, parent)
		switch {
		case err != nil:
			return err
		case !p.Capabilities.IoTEdge:
			return fmt.Errorf("%w: %s: %w", ErrInvalid, quote(parent), ErrNoEdge)
		case parent == device:
			return fmt.Errorf("%w: device %s cannot be its own parent", ErrInvalid, quote(device))
		}
		scopes = []string{p.DeviceScope}
	}
	if slices.Equal(scopes, d.ParentScopes) {
		return nil
	}
	d.ParentScopes = scopes
	if !d.Capabilities.IoTEdge {
		d.DeviceScope = ""
	}
	_, err = s.UpdateDevice(hub, d, "")
	return err
}

// Parent returns the edge device that a device is a child of, empty for none.
func (s *Service) Parent(hub string, d Device) string {
	if len(d.ParentScopes) == 0 {
		return ""
	}
	for _, p := range s.devices.List(hub + keySeparator) {
		if p.Capabilities.IoTEdge && p.DeviceScope == d.ParentScopes[0] {
			return p.DeviceID
		}
	}
	return ""
}
