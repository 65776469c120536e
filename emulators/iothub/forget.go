package iothub

import "github.com/fakecloud/fakecloud/internal/journal"

// ForgetTelemetry makes the messages of devices and modules whose id matches glob unreadable, those that have come until
// now. They stay in the log until its limits push them out: a log is written on at its end only.
func (s *Service) ForgetTelemetry(glob string) {
	oldest, _ := s.telemetry.Read(0, nil, 1)
	if len(oldest) == 0 {
		return
	}
	for _, g := range s.forgotten.Keys("") {
		if until, ok := s.forgotten.Get(g); ok && until < oldest[0].Seq {
			s.forgotten.Delete(g)
		}
	}
	s.forgotten.Put(glob, s.telemetry.Last())
}

// remembered returns what tells whether a message may still be read; nil is always.
func (s *Service) remembered() func(*Message) bool {
	globs := s.forgotten.Keys("")
	if len(globs) == 0 {
		return nil
	}
	until := make(map[string]uint64, len(globs))
	for _, g := range globs {
		until[g], _ = s.forgotten.Get(g) // one that has gone meanwhile forgets nothing
	}
	return func(m *Message) bool {
		for g, n := range until {
			if m.Seq <= n && (journal.Glob(g, m.DeviceID) || m.ModuleID != "" && journal.Glob(g, m.DeviceID+"/"+m.ModuleID)) {
				return false
			}
		}
		return true
	}
}
