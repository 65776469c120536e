package mindsphere

import (
	"strings"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// forgotten is how far the data of some agents is not to be read any more: the newest number of each log.
type forgotten struct {
	Points uint64 `json:"points"`
	Events uint64 `json:"events"`
	Files  uint64 `json:"files"`
}

// ForgetData makes what agents whose client id matches glob have sent until now unreadable: points, events and
// files. They stay in their logs until the limits push them out: a log is written on at its end only.
func (s *Service) ForgetData(glob string) {
	if !s.holdsData(glob) {
		return
	}
	oldest := forgotten{first(s.data.points), first(s.data.events), first(s.data.files)}
	for _, g := range s.forgotten.Keys("") {
		f, ok := s.forgotten.Get(g)
		if ok && f.Points < oldest.Points && f.Events < oldest.Events && f.Files < oldest.Files {
			s.forgotten.Delete(g)
		}
	}
	s.forgotten.Put(glob, forgotten{s.data.points.Last(), s.data.events.Last(), s.data.files.Last()})
}

// holdsData reports whether a log holds anything of agents whose client id matches glob.
func (s *Service) holdsData(glob string) bool {
	points, _ := s.data.points.Read(0, func(r *record) bool { return journal.Glob(glob, r.Point.Agent) }, 1)
	events, _ := s.data.events.Read(0, func(e *AgentEvent) bool { return journal.Glob(glob, e.Agent) }, 1)
	files, _ := s.data.files.Read(0, func(f *AgentFile) bool { return journal.Glob(glob, f.Agent) }, 1)
	return len(points)+len(events)+len(files) > 0
}

// first is the number of the oldest value that a log holds, or will hold.
func first[V any](l *store.Log[V]) uint64 { return l.Last() + 1 - uint64(l.Len()) }

// remembered returns what tells whether a value with this number, of this agent, may still be read. until
// picks the log.
func (s *Service) remembered(until func(forgotten) uint64) func(number uint64, clientID string) bool {
	limits := map[string]uint64{}
	for _, g := range s.forgotten.Keys("") {
		if f, ok := s.forgotten.Get(g); ok {
			limits[g] = until(f)
		}
	}
	return func(number uint64, clientID string) bool {
		for g, n := range limits {
			if number <= n && journal.Glob(g, clientID) {
				return false
			}
		}
		return true
	}
}

// ForgetMade removes what agents leave behind that are deleted: the assets that their models made, and the
// certificates that the service has issued to them.
func (s *Service) ForgetMade(match func(clientID string) bool) {
	s.admin.Lock()
	defer s.admin.Unlock()
	for _, clientID := range s.built.Keys("") {
		if !match(clientID) {
			continue
		}
		tenant, _, _ := mindsphere.SplitClientID(clientID)
		b, _ := s.built.Get(clientID)
		for _, id := range b.Made {
			s.assets.Delete(key(tenant, id))
		}
		s.built.Delete(clientID)
	}
	for _, k := range s.issued.Keys("") {
		tenant, id, _ := strings.Cut(k, "/")
		if c, ok := s.issued.Get(k); ok && match(c.ClientID) {
			s.DeleteIssuedCertificate(tenant, id)
		}
	}
}
