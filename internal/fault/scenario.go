package fault

import (
	"slices"
	"strings"
)

// Scenario is a behaviour that a device has because of its id: the reserved beginning ScenarioPrefix, the
// scenario's name, and, for more devices of the same kind, a hyphen and whatever follows. Where a platform
// puts a product or a tenant before its devices' names, the beginning stands behind that and its underscore.
type Scenario struct {
	Name      string   `json:"name"`
	Platforms []string `json:"platforms" doc:"where it does something"`
	Happens   string   `json:"happens" doc:"what the device meets"`
	Correct   string   `json:"correct" doc:"what a correct client does"`
	Try       string   `json:"try" doc:"a line to copy"`
	// Faults are those of each device of its own, a count included; on every platform anew.
	Faults []Fault `json:"faults,omitempty"`
	// Disabled devices are registered and switched off, each platform in its own way.
	Disabled bool `json:"disabled,omitempty"`
}

// What the scenario devices share.
const (
	ScenarioPrefix = "scenario-"
	// ScenarioKey is the symmetric key of those that a hub makes when they first come, in base64.
	ScenarioKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	// ScenarioSecret is the secret of those that an IoTDA instance makes.
	ScenarioSecret = "12345678"
	// ScenarioSource is where they are documented.
	ScenarioSource = "docs/scenarios.md"
)

// Scenarios returns all scenarios, in the order of the documentation.
func Scenarios() []Scenario { return slices.Clone(scenarios) }

// ScenarioNames returns their names, in the same order.
func ScenarioNames() []string {
	names := make([]string, len(scenarios))
	for i := range scenarios {
		names[i] = scenarios[i].Name
	}
	return names
}

// FindScenario returns the scenario of a device, or of a module's device.
func FindScenario(device string) (*Scenario, bool) {
	rest, ok := reserved(device)
	if !ok {
		return nil, false
	}
	rest, _, _ = strings.Cut(rest, "/")
	var found *Scenario
	for i := range scenarios {
		s := &scenarios[i]
		after, ok := strings.CutPrefix(rest, s.Name)
		if ok && (after == "" || after[0] == '-') && (found == nil || len(s.Name) > len(found.Name)) {
			found = s
		}
	}
	return found, found != nil
}

// ScenarioName returns the name of a device's scenario, empty for every other device.
func ScenarioName(device string) string {
	if s, ok := FindScenario(device); ok {
		return s.Name
	}
	return ""
}

// reserved cuts what stands before a scenario's name; ok is false for every other device.
func reserved(device string) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(device, ScenarioPrefix); ok {
		return rest, true
	}
	_, rest, ok = strings.Cut(device, "_"+ScenarioPrefix)
	return rest, ok
}

func isReserved(device string) bool {
	_, ok := reserved(device)
	return ok
}

// on reports whether the scenario does something on a platform.
func (s *Scenario) on(platform string) bool { return slices.Contains(s.Platforms, platform) }
