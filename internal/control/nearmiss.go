package control

import (
	"github.com/fakecloud/fakecloud/internal/journal"
)

// nearMiss is an event that a wait did not count, and in what it differs from what was asked for.
type nearMiss struct {
	Differs string        `json:"differs"`
	Event   journal.Event `json:"event"`
}

// keep is how many near misses and refusals an answer shows, the newest.
const keep = 5

// nearMisses looks through what came after s.since, up to end, for events that fail one criterion only,
// and for refusals of the same device or address.
func (a *api) nearMisses(s *selection, end uint64) (near []nearMiss, refused []journal.Event) {
	all := &selection{}
	for since := s.since; ; {
		events, next, past := a.page(all, since)
		for i := range events {
			e := &events[i]
			differs := s.differs(e)
			if len(differs) == 1 {
				near = append(near, nearMiss{Differs: differs[0], Event: *e})
			}
			if e.Kind == journal.Refused && !contains(differs, "device") && !contains(differs, "address") {
				refused = append(refused, *e)
			}
		}
		near, refused = newest(near), newest(refused)
		if past || next >= end {
			return near, refused
		}
		since = next
	}
}

func newest[T any](list []T) []T {
	if len(list) > keep {
		list = append(list[:0:0], list[len(list)-keep:]...)
	}
	return list
}

func contains(list []string, want string) bool {
	for _, s := range list {
		if s == want {
			return true
		}
	}
	return false
}

// differs names the criteria that e fails.
func (s *selection) differs(e *journal.Event) []string {
	var names []string
	add := func(name string, ok bool) {
		if !ok {
			names = append(names, name)
		}
	}
	f := &s.filter
	add("platform", f.Platform == "" || f.Platform == e.Platform)
	add("endpoint", f.Endpoint == "" || f.Endpoint == e.Endpoint)
	add("device", f.Device == "" || journal.Glob(f.Device, e.Device))
	add("address", f.Address == "" || f.Address == e.Address || f.Address == hostOnly(e.Address))
	add("kind", f.Kind == "" || f.Kind == e.Kind)
	add("rule", f.Rule == "" || f.Rule == e.Rule || f.Rule == e.Rule.Row())
	add("conn", f.Conn == 0 || f.Conn == e.Conn)
	for _, c := range s.conditions {
		add("match", c.holds(e))
	}
	return names
}
