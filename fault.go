package fakecloud

import "github.com/fakecloud/fakecloud/internal/fault"

// Fault is something that goes wrong on request: which steps it matches, what happens there, how often.
// `fakecloud fault --help` lists the steps and actions.
type Fault = fault.Fault

// FaultMatch chooses the steps of a Fault.
type FaultMatch = fault.Match

// FaultStep is a named point of a flow, such as "connect".
type FaultStep = fault.Step

// FaultAction is what goes wrong.
type FaultAction = fault.Action

// FaultDuration is a time span of a FaultAction.
type FaultDuration = fault.Duration

// hubsChanged carries out that hubs have gone, or come back.
func (c *Cloud) hubsChanged() {
	c.hubsMu.Lock()
	defer c.hubsMu.Unlock()
	cores := c.gen().cores
	cores.hub.HubChanged()
	cores.edge.HubChanged()
}

// Inject sets faults, all of them or none, and returns them with their ids. An error names the key that
// is wrong. A fault of an id that is set already replaces it.
func (c *Cloud) Inject(faults ...Fault) ([]Fault, error) { return c.faults.Put(faults...) }

// Faults returns the faults that are set, with the count, or the time of a failover, that is left of each.
func (c *Cloud) Faults() []Fault { return c.faults.List() }

// Scenario is a behaviour that devices have because of their ids, without any set-up; docs/scenarios.md lists them.
type Scenario = fault.Scenario

// ScenarioDevice is a device of a Scenario and how far it has come.
type ScenarioDevice = fault.ScenarioDevice

// Scenarios returns what this version has. Scenario "throttled" is that of the devices scenario-throttled,
// scenario-throttled-7 and so on; each of them begins anew.
func Scenarios() []Scenario { return fault.Scenarios() }

// ScenarioDevices returns the scenario devices that have come since the last reset. Reset and ResetDevices let
// them begin again.
func (c *Cloud) ScenarioDevices() []ScenarioDevice { return c.faults.ScenarioDevices() }

// ClearFaults removes all faults that were set; scenario devices keep theirs.
func (c *Cloud) ClearFaults() { c.faults.Clear() }
