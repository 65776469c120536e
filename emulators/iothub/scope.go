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

// checkScopes refuses a parent that is no edge device: Microsoft's own test of the registry wants it for a
// deviceScope that nobody has (azure-iot-sdk-node, e2etests/test/registry.js). What the device has already
// may stay when its parent has gone. coming are the scopes of edge devices of the same request.
func (s *Service) checkScopes(hub string, d Device, coming map[string]bool) error {
	if len(d.ParentScopes) > 1 {
		return fmt.Errorf("%w: %d parentScopes, a device has one parent at most", ErrInvalid, len(d.ParentScopes))
	}
	old, _ := s.devices.Get(key(hub, d.DeviceID))
	check := func(field, scope string) error {
		if scope == "" || coming[scope] || scope == old.DeviceScope || slices.Contains(old.ParentScopes, scope) {
			return nil
		}
		if s.edgeOf(hub, scope) == "" {
			return fmt.Errorf("%w: %s %s: %w", ErrInvalid, field, quote(scope), ErrNoEdge)
		}
		return nil
	}
	for _, scope := range d.ParentScopes {
		if err := check("parentScopes", scope); err != nil {
			return err
		}
	}
	if d.Capabilities.IoTEdge { // its deviceScope is its own
		return nil
	}
	return check("deviceScope", d.DeviceScope)
}

// edgeOf returns the edge device that a scope is of, empty for none.
func (s *Service) edgeOf(hub, scope string) string {
	for _, d := range s.devices.List(hub + keySeparator) {
		if d.Capabilities.IoTEdge && d.DeviceScope == scope {
			return d.DeviceID
		}
	}
	return ""
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
	return s.edgeOf(hub, d.ParentScopes[0])
}
