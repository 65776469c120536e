package explain

import (
	"fmt"
	"maps"
	"slices"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
)

// mostScenarios bounds what a report says of scenario devices.
const mostScenarios = 5

// met notes what a scenario has done to a device.
func (s *story) met(e *journal.Event) {
	if e.Kind != journal.Fault || e.Properties["scenario"] == "" {
		return
	}
	if s.fired == nil {
		s.fired = map[string]*firing{}
	}
	f := s.fired[e.Device]
	if f == nil {
		f = &firing{}
		s.fired[e.Device] = f
	}
	f.times++
	f.last = *e
}

// firing is what a scenario has done to a device.
type firing struct {
	times int
	last  journal.Event
}

// scenarios says of the scenario devices that q asks for, or that the events tell of, what is meant to go wrong.
func (s *story) scenarios(q Query) []string {
	devices := slices.Sorted(maps.Keys(s.fired))
	if _, ok := fault.FindScenario(q.Device); ok && !slices.Contains(devices, q.Device) {
		devices = append(devices, q.Device)
	}
	var lines []string
	for _, device := range devices[:min(len(devices), mostScenarios)] {
		scenario, ok := fault.FindScenario(device)
		if !ok {
			continue
		}
		line := fmt.Sprintf("%s, scenario %s: %s; a correct client %s", device, scenario.Name, scenario.Happens, scenario.Correct)
		if f := s.fired[device]; f != nil {
			line += fmt.Sprintf(" (so far %s, last at %s: %s)", count(f.times, "time"), clockTime(f.last.Time), f.last.Detail)
		}
		lines = append(lines, line)
	}
	return lines
}
