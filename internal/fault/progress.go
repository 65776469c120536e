package fault

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// maxMet is how many scenario devices are remembered; beyond it another one begins its scenario again.
const maxMet = 4096

// scenarioDevices are those that have come since the last reset. Nobody else pays for them: as long as there is
// none, a step looks at one flag, and then at the beginning of the device's name.
type scenarioDevices struct {
	met atomic.Bool // one has come

	mu   sync.Mutex
	runs map[runKey]*run
}

// runKey is a device on one platform: what happens there does not use up what is to happen elsewhere.
type runKey struct{ platform, endpoint, device string }

// run is how far a device has come in its scenario.
type run struct {
	scenario *Scenario
	fired    []int // of each of the scenario's faults
}

// ScenarioDevice is a scenario device and how far it has come.
type ScenarioDevice struct {
	Scenario string `json:"scenario"`
	Platform string `json:"platform"`
	Endpoint string `json:"endpoint,omitempty"`
	Device   string `json:"device"`
	Fired    int    `json:"fired" doc:"how often something has gone wrong"`
	Over     bool   `json:"over" doc:"nothing more will; a reset of the device begins anew"`
}

// order is what devices are listed by.
func (d *ScenarioDevice) order() string { return d.Device + "\x00" + d.Platform + "\x00" + d.Endpoint }

// ScenarioDevices returns the scenario devices that have come since the last reset.
func (s *Set) ScenarioDevices() []ScenarioDevice {
	d := &s.scenarios
	d.mu.Lock()
	list := make([]ScenarioDevice, 0, len(d.runs))
	for k, r := range d.runs {
		one := ScenarioDevice{Scenario: r.scenario.Name, Platform: k.platform, Endpoint: k.endpoint, Device: k.device, Over: r.over(k.platform)}
		for _, n := range r.fired {
			one.Fired += n
		}
		list = append(list, one)
	}
	d.mu.Unlock()
	sort.Slice(list, func(i, k int) bool { return list[i].order() < list[k].order() })
	return list
}

// over reports whether every fault that can happen on a platform has happened as often as it shall.
func (r *run) over(platform string) bool {
	for i, f := range r.scenario.Faults {
		if happensOn(f.Match.Step, platform) && (f.Count == 0 || r.fired[i] < f.Count) {
			return false
		}
	}
	return !r.scenario.Disabled
}

// Restart lets the scenario devices whose ids match begin again.
func (s *Set) Restart(match func(device string) bool) {
	d := &s.scenarios
	d.mu.Lock()
	defer d.mu.Unlock()
	for k := range d.runs {
		device, _, _ := strings.Cut(k.device, "/")
		if match(k.device) || match(device) {
			delete(d.runs, k)
		}
	}
	d.met.Store(len(d.runs) > 0)
}

// opens reports whether a step is one that every device goes through before it can reach any other.
func opens(s Step) bool { return s == Connect || s == DPSRegister || s == DPSPoll }

// meet begins the scenario of a device that comes, or tells that its id names none.
func (s *Set) meet(w Where) {
	scenario, ok := FindScenario(w.Device)
	if !ok && w.Step == Connect {
		s.journal.Append(journal.Event{Kind: journal.Fault, Platform: w.Platform, Endpoint: w.Endpoint, Device: w.Device, Conn: w.Conn,
			Address: w.Address, Detail: "no scenario has this name; they are " + strings.Join(ScenarioNames(), ", "), Source: ScenarioSource})
	}
	if ok && scenario.on(w.Platform) {
		d := &s.scenarios
		d.mu.Lock()
		d.run(w, scenario)
		d.mu.Unlock()
	}
}

// run returns how far a device has come. The caller holds mu.
func (d *scenarioDevices) run(w Where, scenario *Scenario) *run {
	k := runKey{w.Platform, w.Endpoint, w.Device}
	if r := d.runs[k]; r != nil {
		return r
	}
	if d.runs == nil {
		d.runs = map[runKey]*run{}
	}
	for other := range d.runs {
		if len(d.runs) < maxMet {
			break
		}
		delete(d.runs, other)
	}
	r := &run{scenario: scenario, fired: make([]int, len(scenario.Faults))}
	d.runs[k] = r
	d.met.Store(true)
	return r
}

// next counts what goes wrong for a scenario device at a step. The text says which time it is.
func (d *scenarioDevices) next(w Where, scenario *Scenario) (a Action, time string, hit bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.run(w, scenario)
	for i, f := range scenario.Faults {
		if f.Match.Step != w.Step || f.Count > 0 && r.fired[i] >= f.Count {
			continue
		}
		r.fired[i]++
		time = fmt.Sprintf("time %d", r.fired[i])
		if f.Count > 0 {
			time += fmt.Sprintf(" of %d", f.Count)
		}
		return f.Action, time, true
	}
	return Action{}, "", false
}

// scenario returns what goes wrong at a step because of the device's id.
func (s *Set) scenario(w Where) (Action, bool) {
	scenario, ok := FindScenario(w.Device)
	if !ok || !scenario.on(w.Platform) {
		return Action{}, false
	}
	a, time, hit := s.scenarios.next(w, scenario)
	if hit {
		if w.Arm != nil {
			w.Arm(a)
		}
		s.tell(w, scenario, fmt.Sprintf("%s at %s: %s", time, w.Step, a))
	}
	return a, hit
}

// Disabled reports whether a device is disabled because of its id, which is journalled then.
func (s *Set) Disabled(w Where) bool {
	if s == nil {
		return false
	}
	scenario, ok := FindScenario(w.Device)
	if !ok || !scenario.Disabled || !scenario.on(w.Platform) {
		return false
	}
	s.tell(w, scenario, "the device is disabled")
	return true
}

// tell journals that a scenario does something.
func (s *Set) tell(w Where, scenario *Scenario, what string) {
	s.journal.Append(journal.Event{Kind: journal.Fault, Platform: w.Platform, Endpoint: w.Endpoint, Device: w.Device, Conn: w.Conn,
		Address: w.Address, Detail: "scenario " + scenario.Name + ", " + what, Expected: "a correct client " + scenario.Correct,
		Source: ScenarioSource, Properties: map[string]string{"scenario": scenario.Name}})
}
