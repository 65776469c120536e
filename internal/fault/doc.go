// Package fault breaks things on request: faults are data that match named steps of the flows (connect,
// publish, dps.register, …) and say what goes wrong there. The places that could fail ask At
// before their verdict; with no fault set that costs one atomic load.
package fault
