package iothub

import "time"

// Visit is a session for one request of a client that has no connection (HTTPS): it is not listed as live,
// takes nobody over and cannot be cut.
func (s *Service) Visit(id Identity, o Origin) *Session {
	c := &Session{svc: s, id: id, origin: o, down: nobody{}}
	c.stamps = c.fixedStamps()
	now := s.clock.Wall().UTC()
	touch := func(at *time.Time) { *at = now }
	if id.ModuleID != "" {
		_, _ = s.modules.Touch(key(id.Hub, id.DeviceID, id.ModuleID), func(m Module) (Module, error) { touch(&m.LastActivityTime); return m, nil })
	} else {
		_, _ = s.devices.Touch(key(id.Hub, id.DeviceID), func(d Device) (Device, error) { touch(&d.LastActivityTime); return d, nil })
	}
	return c
}

// nobody is the Downlink of a visit.
type nobody struct{}

func (nobody) Close(error) {}
