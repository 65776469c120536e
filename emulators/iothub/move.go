package iothub

import "encoding/json"

// MoveDevice takes a device to another hub and removes it from the first: its twin goes along as it is,
// with tags, properties and versions, over what the other hub may have under that id. d holds its
// settings there, as for PutDevice. Modules and waiting messages do not go along, and a connection to the
// first hub is closed (DPS, Device reprovisioning: migrate).
func (s *Service) MoveDevice(from, to string, d Device) (Device, error) {
	first, err := s.GetHub(from)
	if err != nil {
		return Device{}, err
	}
	second, err := s.GetHub(to)
	if err != nil {
		return Device{}, err
	}
	old, err := s.GetDevice(first.Host, d.DeviceID)
	if err != nil {
		return Device{}, err
	}
	if d.InitialTwin == nil {
		d.InitialTwin = old.InitialTwin
	}
	stored, err := s.PutDevice(second.Host, d)
	if err != nil || first.Host == second.Host {
		return stored, err
	}
	twin, err := s.GetTwin(first.Host, d.DeviceID, "")
	if err != nil {
		return Device{}, err
	}
	// The old identity goes last, so that a process that ends in between loses nothing.
	s.twins.Put(twinKey(second.Host, d.DeviceID, ""), twin)
	return stored, s.DeleteDevice(first.Host, d.DeviceID, "")
}

// ResetTwin makes the twin of a device what initial says, with no reported properties; nil is an empty
// one. The versions go on, and a connected device is told its desired properties.
func (s *Service) ResetTwin(hub, device string, initial json.RawMessage) (Twin, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return Twin{}, err
	}
	if _, err := readInitialTwin(initial); err != nil {
		return Twin{}, err
	}
	s.notify.Lock() // as in ChangeTwin
	defer s.notify.Unlock()
	fresh := s.newTwin(device, "", initial)
	t, err := s.twins.Update(twinKey(h.Host, device, ""), func(old Twin) (Twin, error) {
		fresh.Version = old.Version + 1
		fresh.Desired.Version, fresh.Reported.Version = old.Desired.Version+1, old.Reported.Version+1
		fresh.Desired.Meta.stamp(fresh.Desired.Version)
		fresh.Reported.Meta.stamp(fresh.Reported.Version)
		return fresh, nil
	})
	if err != nil {
		return Twin{}, err
	}
	s.tellDesired(h.Host, t, TwinPatch{Desired: t.Desired.Values, Replace: true})
	return t, nil
}

// stamp says of a value and everything in it that version set it.
func (m *Metadata) stamp(version int64) {
	m.Version = version
	for _, member := range m.Members {
		member.stamp(version)
	}
}
