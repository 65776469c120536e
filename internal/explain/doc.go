// Package explain answers why a device was refused: which rule was broken, what was seen, what was
// expected, how to mend it, who says so, and what the device itself saw of it. It reads the journal and
// the rule table and changes neither; the same events give the same report.
package explain
