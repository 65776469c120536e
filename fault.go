package fakecloud

import "github.com/fakecloud/fakecloud/internal/fault"

// Fault is something that goes wrong on request: which steps it matches, what happens there, how often.
// `fakecloud fault --help` lists the steps and actions.
type Fault = fault.Fault

// FaultMatch chooses the steps of a Fault.
type FaultMatch = fault.Match

// FaultAction is what goes wrong.
type FaultAction = fault.Action

// FaultDuration is a time span of a FaultAction.
type FaultDuration = fault.Duration

// Inject sets faults, all of them or none, and returns them with their ids. An error names the key that
// is wrong. A fault of an id that is set already replaces it.
func (c *Cloud) Inject(faults ...Fault) ([]Fault, error) { return c.faults.Put(faults...) }

// Faults returns the faults that are set, with the count that is left of each.
func (c *Cloud) Faults() []Fault { return c.faults.List() }

// ClearFaults removes all faults.
func (c *Cloud) ClearFaults() { c.faults.Clear() }
