package fakecloud

import (
	"errors"
	"fmt"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/world"
)

var (
	errReset  = errors.New("the instance was reset")
	errClosed = errors.New("the instance is closed")
)

// Reset makes the instance as it was after its first start: it holds what its world says and nothing else.
// Every connection is dead when it returns; their sockets close right after. Faults are those of the world,
// the wall reading follows real time, the timers reading runs and stays where Advance has brought it. The
// journal begins with the reset; sequence and connection numbers go on. Ids that follow from the seed come
// again. Ports, server certificates and device CAs stay.
func (c *Cloud) Reset() error {
	c.worldMu.Lock()
	defer c.worldMu.Unlock()
	if c.shut {
		return errClosed
	}
	next, err := c.seeded(c.first)
	if err != nil {
		return err
	}
	c.forgetTargets()
	c.nameOutbound(c.first)
	return c.begin(next, faultsOf(c.first), errReset)
}

func everyDevice(string) bool { return true }

// begin puts a generation in use as if the instance had started with it.
func (c *Cloud) begin(next *generation, faults []fault.Fault, why error) error {
	c.faults.Clear()
	c.faults.Restart(everyDevice)
	c.clock.Skew(0)
	c.clock.Resume()
	c.succeed(next, why)
	c.forgetEvents()
	c.journal.Append(journal.Event{Kind: journal.Reset, Detail: why.Error()})
	_, err := c.faults.Put(faults...)
	return err
}

// seeded makes a generation that nobody sees yet with a world in it.
func (c *Cloud) seeded(w *world.World) (*generation, error) {
	g := c.newGeneration(store.New())
	if err := g.cores.apply(w, c.caPEM); err != nil {
		g.abandon()
		return nil, fmt.Errorf("world: %w", err)
	}
	return g, g.ready()
}

// ready makes a generation that holds what it shall hold fit for use, or abandons it.
func (c *generation) ready() error {
	err := errors.Join(c.nameHosts(), c.serve())
	if err != nil {
		c.abandon()
	}
	return err
}

// abandon ends a generation that was never in use.
func (c *generation) abandon() {
	c.end()
	c.cores.close()
	c.clock.Close()
}

// ResetDevices does the same to those devices of all platforms whose id matches glob, in which * stands for
// any run of characters: identities, registrations and enrollments of their own go, with what belongs to
// them, and those that the world names come back as it has them. The messages that they have sent to a hub, what
// MindSphere's agents have stored, and their events in the journal go as well. It returns how many identities went.
func (c *Cloud) ResetDevices(glob string) (int, error) {
	if err := journal.CheckGlob(glob); err != nil {
		return 0, fmt.Errorf("devices %q: %w", glob, err)
	}
	c.worldMu.Lock()
	defer c.worldMu.Unlock()
	if c.shut {
		return 0, errClosed
	}
	match := func(id string) bool { return journal.Glob(glob, id) }
	count := 0
	for _, p := range c.gen().parts {
		count += p.forget(match)
	}
	cores := c.gen().cores
	cores.gaps = &gaps{only: match}
	if err := cores.apply(c.first, c.caPEM); err != nil {
		return count, fmt.Errorf("world: %w", err)
	}
	c.gen().refreshGateways()
	c.faults.Restart(match)
	cores.hub.ForgetTelemetry(glob)
	cores.mind.ForgetData(glob)
	c.forgetEventsOf(match)
	c.journal.Append(journal.Event{Kind: journal.Reset, Device: glob, Detail: fmt.Sprintf("%d devices were reset", count)})
	return count, nil
}

// forgetEvents empties the journal.
func (c *Cloud) forgetEvents() {
	if c.tail != nil {
		c.tail.forget()
		return
	}
	c.journal.Clear()
}

// forgetEventsOf takes the events of some devices out of the journal.
func (c *Cloud) forgetEventsOf(device func(id string) bool) {
	gone := func(e *Event) bool { return e.Device != "" && device(e.Device) }
	if c.tail != nil {
		c.tail.forgetEvents(gone)
		return
	}
	c.journal.Forget(gone)
}

// faultsOf are the faults that a world sets.
func faultsOf(w *world.World) []fault.Fault {
	faults := make([]fault.Fault, len(w.Faults))
	for i, f := range w.Faults {
		faults[i] = f.Fault()
	}
	return faults
}

// lifeControl is the control plane's access to resets and snapshots.
type lifeControl struct{ cloud *Cloud }

var _ plane.Life = lifeControl{}

// Reset implements plane.Life.
func (l lifeControl) Reset(glob string) (devices int, err error) {
	if glob == "" {
		return 0, l.cloud.Reset()
	}
	return l.cloud.ResetDevices(glob)
}
