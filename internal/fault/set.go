package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fakecloud/fakecloud/internal/clock"
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
	clock   clock.Clock
	armed   atomic.Bool // whether there is any fault
	away    atomic.Bool // whether any hub fails over
	watch   func()      // told when a failover begins or ends; set before the first fault

	mu     sync.Mutex
	faults []*live

	scenarios scenarioDevices
}

// live is a fault with what it has left.
type live struct {
	Fault
	left  int
	rng   *rand.Rand
	until time.Time   // timers reading at which a failover ends
	timer clock.Timer // which ends it
}

// New returns a set without faults; each firing is an event in j. Failovers end by the timers reading of c.
func New(j *journal.Journal, source *ids.Source, c clock.Clock) *Set {
	return &Set{journal: j, ids: source, clock: c}
}

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
	put, err := s.put(faults)
	if err != nil {
		return nil, err
	}
	for _, f := range put {
		if f.Action.Failover != nil {
			s.note(f, Where{Step: Hub, Platform: iotHub, Endpoint: f.Match.Endpoint})
		}
	}
	s.hubsChanged()
	return put, nil
}

func (s *Set) put(faults []Fault) ([]Fault, error) {
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
		l := &live{Fault: put[i], left: put[i].Count, rng: rand.New(rand.NewPCG(put[i].Seed, 0x6661756c74))}
		s.begin(l)
		s.faults = append(s.faults, l)
	}
	s.arm()
	return put, nil
}

// arm tells the fast paths what there is. The caller holds mu.
func (s *Set) arm() { s.armed.Store(len(s.faults) > 0) }

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

// List returns the faults that are set, oldest first, with the count, or the time of a failover, that is left.
func (s *Set) List() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Fault, len(s.faults))
	for i, f := range s.faults {
		list[i] = f.Fault
		list[i].Count = f.left
		if f.Action.Failover != nil {
			left := Duration(max(f.until.Sub(s.clock.Now()).Round(time.Millisecond), time.Millisecond))
			list[i].Action.Failover = &left
		}
	}
	return list
}

// Delete removes one fault and reports whether it was there.
func (s *Set) Delete(id string) bool {
	s.mu.Lock()
	found := s.remove(id)
	s.arm()
	s.mu.Unlock()
	s.hubsChanged()
	return found
}

// Clear removes all faults.
func (s *Set) Clear() {
	s.mu.Lock()
	for _, f := range s.faults {
		f.stop()
	}
	s.faults = nil
	s.arm()
	s.mu.Unlock()
	s.hubsChanged()
}

// remove takes a fault away. The caller holds mu.
func (s *Set) remove(id string) bool {
	n := len(s.faults)
	s.faults = slices.DeleteFunc(s.faults, func(f *live) bool {
		if f.ID == id {
			f.stop()
		}
		return f.ID == id
	})
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
	s.note(f, w)
	return f.Action, true
}

// note journals a firing.
func (s *Set) note(f Fault, w Where) {
	s.journal.Append(journal.Event{Kind: journal.Fault, Platform: w.Platform, Endpoint: w.Endpoint, Device: w.Device,
		Conn: w.Conn, Address: w.Address, Detail: fmt.Sprintf("fault %s at %s: %s", f.ID, w.Step, f.Action)})
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
				s.arm()
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
