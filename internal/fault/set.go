package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
)

// Most is how many faults may be set at a time.
const Most = 1000

// Set holds the faults of one instance. Its methods may be called concurrently; the zero Set is not
// usable, a nil *Set has no faults.
type Set struct {
	journal *journal.Journal
	ids     *ids.Source
	armed   atomic.Bool // whether there is any fault

	mu     sync.Mutex
	faults []*live

	scenarios scenarioDevices
}

// live is a fault with what it has left.
type live struct {
	Fault
	left int
	rng  *rand.Rand
}

// New returns a set without faults; each firing is an event in j.
func New(j *journal.Journal, source *ids.Source) *Set { return &Set{journal: j, ids: source} }

// Where is a step that happens.
type Where struct {
	Step     Step
	Platform string
	Endpoint string
	Device   string
	Host     string // asked for in the handshake
	Conn     uint64
	Address  string
	// Arm, if set, is told the action before the firing is journalled: who reads of a delay in the journal and
	// advances the clock finds its timer running.
	Arm func(Action)
}

// Put adds faults, or replaces those with the same id: all or none. It returns them with their ids.
func (s *Set) Put(faults ...Fault) ([]Fault, error) {
	for _, f := range faults {
		if err := f.Validate(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.after(faults) > Most {
		return nil, fmt.Errorf("%w: at most %d faults", ErrInvalid, Most)
	}
	put := slices.Clone(faults)
	for i := range put {
		if put[i].ID == "" {
			put[i].ID = "fault-" + s.ids.Hex(8)
		}
		s.remove(put[i].ID)
		s.faults = append(s.faults, &live{Fault: put[i], left: put[i].Count, rng: rand.New(rand.NewPCG(put[i].Seed, 0x6661756c74))})
	}
	s.armed.Store(len(s.faults) > 0)
	return put, nil
}

// after returns how many faults there are once some have been put.
func (s *Set) after(put []Fault) int {
	kept := 0
	for _, f := range s.faults {
		if !slices.ContainsFunc(put, func(p Fault) bool { return p.ID == f.ID }) {
			kept++
		}
	}
	return kept + len(put)
}

// List returns the faults that are set, oldest first, with the count that is left.
func (s *Set) List() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Fault, len(s.faults))
	for i, f := range s.faults {
		list[i] = f.Fault
		list[i].Count = f.left
	}
	return list
}

// Delete removes one fault and reports whether it was there.
func (s *Set) Delete(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.remove(id)
	s.armed.Store(len(s.faults) > 0)
	return found
}

// Clear removes all faults.
func (s *Set) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	s.armed.Store(false)
}

func (s *Set) remove(id string) bool {
	n := len(s.faults)
	s.faults = slices.DeleteFunc(s.faults, func(f *live) bool { return f.ID == id })
	return len(s.faults) < n
}

// Idle reports that nothing goes wrong for anybody who has come already, which costs next to nothing to ask: no
// fault is set, and no scenario device has come.
func (s *Set) Idle() bool { return s == nil || !s.armed.Load() && !s.scenarios.met.Load() }

// Spares is Idle for one device: it is no scenario device.
func (s *Set) Spares(device string) bool { return s.Idle() || !s.armed.Load() && !isReserved(device) }

// At returns what goes wrong at a step: the action of the first fault that matches and fires, else what the
// device's scenario says. Its firing is journalled.
func (s *Set) At(w Where) (Action, bool) {
	if s == nil {
		return Action{}, false
	}
	if opens(w.Step) && isReserved(w.Device) {
		s.meet(w)
	}
	if s.armed.Load() {
		if a, hit := s.set(w); hit {
			return a, true
		}
	}
	if s.scenarios.met.Load() {
		return s.scenario(w)
	}
	return Action{}, false
}

// set returns what a fault that was set does at a step.
func (s *Set) set(w Where) (Action, bool) {
	f, ok := s.fire(w)
	if !ok {
		return Action{}, false
	}
	if w.Arm != nil {
		w.Arm(f.Action)
	}
	s.journal.Append(journal.Event{Kind: journal.Fault, Platform: w.Platform, Endpoint: w.Endpoint, Device: w.Device,
		Conn: w.Conn, Address: w.Address, Detail: fmt.Sprintf("fault %s at %s: %s", f.ID, w.Step, f.Action)})
	return f.Action, true
}

func (s *Set) fire(w Where) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if !f.Match.matches(w) || f.Probability > 0 && f.rng.Float64() >= f.Probability {
			continue
		}
		fired := f.Fault
		if f.Count > 0 {
			if f.left--; f.left == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
				s.armed.Store(len(s.faults) > 0)
			}
		}
		return fired, true
	}
	return Fault{}, false
}

func (m Match) matches(w Where) bool {
	return m.Step == w.Step && (m.Platform == "" || m.Platform == w.Platform) &&
		(m.Endpoint == "" || strings.EqualFold(m.Endpoint, w.Endpoint)) && (m.Device == "" || journal.Glob(m.Device, w.Device)) &&
		(m.Host == "" || journal.Glob(strings.ToLower(m.Host), w.Host))
}
