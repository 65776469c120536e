package iothub

import (
	"fmt"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// CreateModule is PutModule for an id that must be new on its device, else ErrExists.
func (s *Service) CreateModule(hub string, m Module) (Module, error) {
	h, err := s.readyModule(hub, &m)
	if err != nil {
		return Module{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row := Module{DeviceID: m.DeviceID, ModuleID: m.ModuleID, ManagedBy: m.ManagedBy, Authentication: m.Authentication,
		GenerationID: s.generation(), ETag: s.etag(), ConnectionState: Disconnected}
	if err := s.modules.Create(key(h.Host, m.DeviceID, m.ModuleID), row); err != nil {
		return Module{}, fmt.Errorf("module %s: %w", quote(name(m.DeviceID, m.ModuleID)), err)
	}
	s.twins.Put(twinKey(h.Host, m.DeviceID, m.ModuleID), s.newTwin(m.DeviceID, m.ModuleID, nil))
	return row, nil
}

// UpdateModule replaces the settings of an existing module. match is an ETag that must still hold; empty
// or * takes any.
func (s *Service) UpdateModule(hub string, m Module, match string) (Module, error) {
	h, err := s.readyModule(hub, &m)
	if err != nil {
		return Module{}, err
	}
	row, err := s.modules.Update(key(h.Host, m.DeviceID, m.ModuleID), func(old Module) (Module, error) {
		if !matches(match, old.ETag) {
			return old, ErrPrecondition
		}
		old.ManagedBy, old.Authentication, old.ETag = m.ManagedBy, m.Authentication, s.etag()
		return old, nil
	})
	if err != nil {
		return Module{}, fmt.Errorf("module %s: %w", quote(name(m.DeviceID, m.ModuleID)), err)
	}
	return row, nil
}

// readyModule checks a module that is to be stored and completes its authentication.
func (s *Service) readyModule(hub string, m *Module) (Hub, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return h, err
	}
	if err := validateID("module id", m.ModuleID); err != nil {
		return h, err
	}
	if _, err := s.GetDevice(h.Host, m.DeviceID); err != nil {
		return h, err
	}
	if err := m.Authentication.complete(); err != nil {
		return h, fmt.Errorf("module %s: %w", quote(name(m.DeviceID, m.ModuleID)), err)
	}
	return h, nil
}

// HubOf returns the hub behind a name that is no hub's own, for a device: the one that holds it, as DPS
// assigned it or the first, else the default hub. It is empty where there is no hub at all.
func (s *Service) HubOf(device string) string {
	hub, _, _ := s.hubOf(device)
	return hub
}

// NoDevice says that a hub has no device of this id, with the closest one there is.
func (s *Service) NoDevice(hub, id string) *rule.Refusal {
	r := s.unknownDevice(hub, id)
	return &rule.Refusal{Rule: "SVC-4/device", Code: CodeDeviceNotFound, Detail: r.Detail, Seen: r.Seen, Expected: r.Expected}
}

// NoModule says that a device has no module of this id, with the closest one there is.
func (s *Service) NoModule(hub, device, id string) *rule.Refusal {
	r := s.unknownModule(hub, device, id)
	return &rule.Refusal{Rule: "SVC-12/module", Code: CodeModuleNotFound, Detail: r.Detail, Seen: r.Seen, Expected: r.Expected}
}

// The error codes of identities that are not there.
const (
	CodeDeviceNotFound = 404001
	CodeModuleNotFound = 404010
)
