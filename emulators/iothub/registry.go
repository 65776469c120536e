package iothub

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// statusReasonLength bounds StatusReason, in characters of any script (registry documentation).
const statusReasonLength = 128

// PutDevice creates a device or replaces the settings of an existing one, which keeps its generation id
// and its connection (unless it is now disabled). A missing status is enabled, a missing authentication
// type sas, or selfSigned where a thumbprint is given; missing keys are made. The result is what was
// stored, keys included.
func (s *Service) PutDevice(hub string, d Device) (Device, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Device{}, err
	}
	if err := d.complete(); err != nil {
		return Device{}, err
	}
	k := key(h.Host, d.DeviceID)
	fresh := s.fresh(d)
	stored := fresh
	for {
		err := s.devices.Create(k, fresh)
		if err == nil {
			s.startTwin(h.Host, fresh)
			s.edgeModules(h.Host, fresh)
			return fresh, nil
		}
		stored, err = s.devices.Update(k, func(old Device) (Device, error) { return s.merge(old, d), nil })
		if err == nil {
			break
		}
		if !errors.Is(err, ErrNotFound) { // deleted between the two calls: create again
			return Device{}, err
		}
	}
	s.edgeModules(h.Host, stored)
	s.enforceStatus(h.Host, stored)
	return stored, nil
}

// CreateDevice is PutDevice for an id that must be new, else ErrExists, and for scopes that must be those of
// edge devices, else ErrNoEdge.
func (s *Service) CreateDevice(hub string, d Device) (Device, error) {
	return s.createDevice(hub, d, nil)
}

func (s *Service) createDevice(hub string, d Device, coming map[string]bool) (Device, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Device{}, err
	}
	if err := d.complete(); err != nil {
		return Device{}, err
	}
	if err := s.checkScopes(h.Host, d, coming); err != nil {
		return Device{}, err
	}
	d = s.fresh(d)
	if err := s.devices.Create(key(h.Host, d.DeviceID), d); err != nil {
		return Device{}, fmt.Errorf("device %s: %w", quote(d.DeviceID), err)
	}
	s.startTwin(h.Host, d)
	s.edgeModules(h.Host, d)
	return d, nil
}

// startTwin gives a new device its twin, filled from its initial twin.
func (s *Service) startTwin(hub string, d Device) {
	s.twins.Put(twinKey(hub, d.DeviceID, ""), s.newTwin(d.DeviceID, "", d.InitialTwin))
}

// UpdateDevice replaces the settings of an existing device. match is an ETag that must still hold;
// empty or * takes any. Scopes that the device did not have must be those of edge devices, else ErrNoEdge.
func (s *Service) UpdateDevice(hub string, d Device, match string) (Device, error) {
	return s.updateDevice(hub, d, match, nil)
}

func (s *Service) updateDevice(hub string, d Device, match string, coming map[string]bool) (Device, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Device{}, err
	}
	if err := d.complete(); err != nil {
		return Device{}, err
	}
	if err := s.checkScopes(h.Host, d, coming); err != nil {
		return Device{}, err
	}
	stored, err := s.devices.Update(key(h.Host, d.DeviceID), func(old Device) (Device, error) {
		if !matches(match, old.ETag) {
			return old, ErrPrecondition
		}
		return s.merge(old, d), nil
	})
	if err != nil {
		return Device{}, fmt.Errorf("device %s: %w", quote(d.DeviceID), err)
	}
	s.edgeModules(h.Host, stored)
	s.enforceStatus(h.Host, stored)
	return stored, nil
}

func matches(match, etag string) bool { return match == "" || match == "*" || match == etag }

func (d *Device) complete() error {
	if err := validateID("device id", d.DeviceID); err != nil {
		return err
	}
	switch d.Status {
	case "":
		d.Status = Enabled
	case Enabled, Disabled:
	default:
		return fmt.Errorf("%w: status %s; known are enabled and disabled", ErrInvalid, quote(string(d.Status)))
	}
	if n := utf8.RuneCountInString(d.StatusReason); n > statusReasonLength {
		return fmt.Errorf("%w: a status reason of %d characters, at most %d are allowed", ErrInvalid, n, statusReasonLength)
	}
	if _, err := readInitialTwin(d.InitialTwin); err != nil {
		return err
	}
	if err := d.Authentication.complete(); err != nil {
		return fmt.Errorf("device %s: %w", quote(d.DeviceID), err)
	}
	return nil
}

// fresh fills what the registry makes for a new device.
func (s *Service) fresh(d Device) Device {
	d = d.clone()
	d.GenerationID = s.generation()
	d.ETag = s.etag()
	d.StatusUpdatedTime, d.ConnectionStateUpdatedTime, d.LastActivityTime = time.Time{}, time.Time{}, time.Time{}
	d.ConnectionState, d.CloudToDeviceMessageCount = Disconnected, 0
	return s.scoped(Device{}, d)
}

// merge puts the settings of d over old.
func (s *Service) merge(old, d Device) Device {
	if old.Status != d.Status {
		old.StatusUpdatedTime = s.clock.Wall().UTC()
	}
	old.Status, old.StatusReason = d.Status, d.StatusReason
	old.Authentication, old.Capabilities = d.Authentication, d.Capabilities
	d = s.scoped(old, d)
	old.DeviceScope, old.ParentScopes = d.DeviceScope, d.ParentScopes
	if d.InitialTwin != nil {
		old.InitialTwin = d.InitialTwin
	}
	old.ETag = s.etag()
	return old.clone()
}

// generation returns a generation id as the hub shows them: 18 digits, here from the wall time and the
// seed, so that a device made again differs from its former self.
func (s *Service) generation() string {
	return strconv.FormatInt(s.clock.Wall().UnixMilli(), 10) + fmt.Sprintf("%05d", s.ids.Uint64()%100_000)
}

// etag returns an opaque tag, base64 as the registry's own.
func (s *Service) etag() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], s.ids.Uint64())
	return base64.StdEncoding.EncodeToString(b[:])
}

// GetDevice returns a device with its live state.
func (s *Service) GetDevice(hub, id string) (Device, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Device{}, err
	}
	d, ok := s.devices.Get(key(h.Host, id))
	if !ok {
		return Device{}, fmt.Errorf("device %s: %w", quote(id), ErrNotFound)
	}
	return s.withActivity(h.Host, d), nil
}

func (s *Service) withActivity(hub string, d Device) Device {
	if c := s.session(hub, d.DeviceID, ""); c != nil {
		d.LastActivityTime = c.activity(d.LastActivityTime)
	}
	d.CloudToDeviceMessageCount = s.waitingC2D(hub, d.DeviceID, "")
	return d
}

// Devices returns the devices of a hub, ordered by id.
func (s *Service) Devices(hub string) []Device {
	h, err := s.GetHub(hub)
	if err != nil {
		return nil
	}
	devices := s.devices.List(h.Host + keySeparator)
	for i := range devices {
		devices[i] = s.withActivity(h.Host, devices[i])
	}
	return devices
}

// SetStatus enables or disables a device. A device that is disabled while connected is cut off.
func (s *Service) SetStatus(hub, id string, status Status, reason string) error {
	d, err := s.GetDevice(hub, id)
	if err != nil {
		return err
	}
	d.Status, d.StatusReason = status, reason
	_, err = s.UpdateDevice(hub, d, "")
	return err
}

// DeleteDevice removes a device with its modules and closes their connections. match is an ETag that
// must still hold; empty or * takes any.
func (s *Service) DeleteDevice(hub, id, match string) error {
	h, err := s.GetHub(hub)
	if err != nil {
		return err
	}
	k := key(h.Host, id)
	d, ok := s.devices.Get(k)
	switch {
	case !ok:
		return fmt.Errorf("device %s: %w", quote(id), ErrNotFound)
	case !matches(match, d.ETag):
		return fmt.Errorf("device %s: %w", quote(id), ErrPrecondition)
	}
	s.devices.Delete(k)
	s.forget(mailbox{h.Host, id, ""})
	if at, _ := s.assigned.Get(id); at == h.Host {
		s.assigned.Delete(id)
	}
	for _, m := range s.modules.List(k + keySeparator) {
		s.modules.Delete(key(h.Host, id, m.ModuleID))
		s.forget(mailbox{h.Host, id, m.ModuleID})
	}
	s.cut(h.Host, id, deletedRefusal(id))
	return nil
}

// forget drops what belongs to an identity that is gone: its twin and its messages, without feedback.
func (s *Service) forget(box mailbox) {
	s.c2dMu.Lock()
	twin, messages := s.twins.SubmitDelete(box.key()), s.c2d.SubmitDelete(box.key())
	s.c2dMu.Unlock()
	twin.Wait()
	messages.Wait()
}

// PutModule creates a module of an existing device or replaces its settings.
func (s *Service) PutModule(hub string, m Module) (Module, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Module{}, err
	}
	if err := validateID("module id", m.ModuleID); err != nil {
		return Module{}, err
	}
	if _, err := s.GetDevice(h.Host, m.DeviceID); err != nil {
		return Module{}, err
	}
	if err := m.Authentication.complete(); err != nil {
		return Module{}, fmt.Errorf("module %s: %w", quote(m.DeviceID+"/"+m.ModuleID), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key(h.Host, m.DeviceID, m.ModuleID)
	row, exists := s.modules.Get(k)
	if !exists {
		row = Module{DeviceID: m.DeviceID, ModuleID: m.ModuleID, GenerationID: s.generation(), ConnectionState: Disconnected}
		s.twins.Put(twinKey(h.Host, m.DeviceID, m.ModuleID), s.newTwin(m.DeviceID, m.ModuleID, nil))
	}
	row.ManagedBy, row.Authentication = m.ManagedBy, m.Authentication
	row.ETag = s.etag()
	s.modules.Put(k, row)
	return row, nil
}

// GetModule returns a module with its live state.
func (s *Service) GetModule(hub, device, id string) (Module, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Module{}, err
	}
	m, ok := s.modules.Get(key(h.Host, device, id))
	if !ok {
		return Module{}, fmt.Errorf("module %s: %w", quote(device+"/"+id), ErrNotFound)
	}
	return s.withModuleActivity(h.Host, m), nil
}

func (s *Service) withModuleActivity(hub string, m Module) Module {
	if c := s.session(hub, m.DeviceID, m.ModuleID); c != nil {
		m.LastActivityTime = c.activity(m.LastActivityTime)
	}
	m.CloudToDeviceMessageCount = s.waitingC2D(hub, m.DeviceID, m.ModuleID)
	return m
}

// Modules returns the modules of a device with their live state, ordered by id.
func (s *Service) Modules(hub, device string) []Module {
	h, err := s.GetHub(hub)
	if err != nil {
		return nil
	}
	modules := s.modules.List(key(h.Host, device) + keySeparator)
	for i := range modules {
		modules[i] = s.withModuleActivity(h.Host, modules[i])
	}
	return modules
}

// DeleteModule removes a module and closes its connection.
func (s *Service) DeleteModule(hub, device, id, match string) error {
	m, err := s.GetModule(hub, device, id)
	if err != nil {
		return err
	}
	if !matches(match, m.ETag) {
		return fmt.Errorf("module %s: %w", quote(device+"/"+id), ErrPrecondition)
	}
	h, err := s.GetHub(hub)
	if err != nil {
		return err
	}
	s.modules.Delete(key(h.Host, device, id))
	s.forget(mailbox{h.Host, device, id})
	s.cut(h.Host, name(device, id), deletedRefusal(name(device, id)))
	return nil
}

// Assign records that DPS assigned a device to a hub, so that a client that came by a local name is led
// there.
func (s *Service) Assign(hub, device string) error {
	h, err := s.GetHub(hub)
	if err != nil {
		return err
	}
	s.assigned.Put(device, h.Host)
	return nil
}

// name is an identity's name in the journal: device or device/module.
func name(device, module string) string {
	if module == "" {
		return device
	}
	return device + "/" + module
}

// split is the inverse of name.
func split(id string) (device, module string) {
	device, module, _ = strings.Cut(id, "/")
	return device, module
}
