// Package journal records what happened on every connection, one event per step, in the order of
// sequence numbers. It is what `fakecloud events` shows, what explain reads and what tests wait on.
// Secrets are masked before an event gets here.
package journal
