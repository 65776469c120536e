package fakecloud

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/world"
)

// makeCAs makes or imports the CAs that the world names and the data directory lacks, and returns the names
// of those that it has made.
func (c *Cloud) makeCAs(w *world.World) (made []string, err error) {
	for _, ca := range w.PKI.CAs {
		if _, err := c.pki.CA(ca.Name); err == nil {
			continue // the data directory's own wins
		}
		if ca.PEM == "" {
			_, err = c.pki.CreateCA(pki.CARequest{Name: ca.Name, CommonName: ca.CommonName})
		} else {
			var key []byte
			if ca.Key != nil {
				key = []byte(ca.Key.PEM)
			}
			_, err = c.pki.ImportCA(ca.Name, []byte(ca.PEM), key)
		}
		if err != nil {
			return made, fmt.Errorf("pki.cas[%s]: %w", ca.Name, err)
		}
		made = append(made, ca.Name)
	}
	return made, nil
}

// removeCAs takes back what makeCAs has made.
func (c *Cloud) removeCAs(names []string) {
	for _, name := range names {
		if err := c.pki.RemoveCA(name); err != nil {
			c.config.Log.Warn("a device CA that is not wanted after all stays", "name", name, "cause", err)
		}
	}
}

// caPEM returns the certificate of a device CA.
func (c *Cloud) caPEM(name string) ([]byte, error) {
	ca, err := c.pki.CA(name)
	if err != nil {
		return nil, err
	}
	return ca.PEM(), nil
}

// PatchWorld adds or replaces what a world document (YAML or JSON) names, by id, and leaves the rest:
// all of it, or nothing with an error that names line and key.
func (c *Cloud) PatchWorld(_ context.Context, document string) error {
	return worldControl{c}.change("patched", []byte(document), false)
}

// worldControl is the control plane's access to the world.
type worldControl struct{ cloud *Cloud }

// Current implements plane.World.
func (wc worldControl) Current() ([]byte, error) {
	w, err := wc.cloud.gen().exportWorld()
	if err != nil {
		return nil, err
	}
	return world.Format(w), nil
}

// Patch implements plane.World.
func (wc worldControl) Patch(_ context.Context, document []byte) error {
	return wc.change("patched", document, false)
}

// Replace implements plane.World.
func (wc worldControl) Replace(_ context.Context, document []byte) error {
	return wc.change("replaced", document, true)
}

// change parses and validates a document against the running world and applies it as a whole: a patch is
// rehearsed on cores of its own first, so that an error leaves the running ones untouched, and a
// replacement makes a generation of its own.
func (wc worldControl) change(verb string, document []byte, replace bool) (err error) {
	c := wc.cloud
	c.worldMu.Lock()
	defer c.worldMu.Unlock()
	if c.shut {
		return errClosed
	}
	patch, err := world.Parse("the document", document)
	if err != nil {
		return err
	}
	base, change := &world.World{}, patch
	if !replace {
		if base, err = c.gen().exportWorld(); err != nil {
			return err
		}
	}
	whole := world.Merge(base, patch)
	if err := world.Validate(whole); err != nil {
		return err
	}
	if !replace {
		change = restrict(whole, patch)
	}
	made, err := c.makeCAs(change)
	defer func() {
		if err != nil {
			c.removeCAs(made)
		}
	}()
	if err != nil {
		return err
	}
	if replace {
		return c.replaceWith(whole)
	}
	if err := c.rehearse(whole); err != nil {
		return err
	}
	if err := c.gen().cores.keepPlaces(change); err != nil {
		return err
	}
	if err := c.gen().cores.apply(change, c.caPEM); err != nil {
		return err
	}
	if err := c.gen().nameHosts(); err != nil {
		return err
	}
	if _, err := c.faults.Put(faultsOf(patch)...); err != nil {
		return err
	}
	c.nameOutbound(patch)
	c.gen().refreshGateways()
	c.journal.Append(journal.Event{Kind: journal.World, Detail: "the world was " + verb})
	return nil
}

var errReplaced = errors.New("the world was replaced")

func (c *Cloud) replaceWith(w *world.World) error {
	next, err := c.seeded(w)
	if err != nil {
		return err
	}
	c.succeed(next, errReplaced)
	c.faults.Clear()
	c.faults.Restart(everyDevice)
	if _, err := c.faults.Put(faultsOf(w)...); err != nil {
		return err
	}
	c.forgetTargets()
	c.nameOutbound(w)
	c.journal.Append(journal.Event{Kind: journal.World, Detail: errReplaced.Error()})
	return nil
}

// rehearse applies w to cores that nobody sees.
func (c *Cloud) rehearse(w *world.World) error {
	scratch := &generation{Cloud: c, clock: clock.NewScope(c.clock)}
	defer scratch.clock.Close()
	cores := scratch.newCores(journal.New(c.clock, c.rules, journal.Options{}), store.New(), ids.New(c.seed))
	defer cores.close()
	return cores.apply(w, c.caPEM)
}

// restrict returns the parts of whole that patch names, in their merged form: applying them leaves the
// rest of the running world alone.
func restrict(whole, patch *world.World) *world.World {
	out := &world.World{PKI: patch.PKI}
	for _, h := range patch.Azure.Hubs {
		for _, merged := range whole.Azure.Hubs {
			if merged.HostName() == h.HostName() {
				merged.Devices = named(merged.Devices, h.Devices, func(d world.Device) string { return d.DeviceID })
				out.Azure.Hubs = append(out.Azure.Hubs, merged)
			}
		}
	}
	for _, d := range patch.Azure.DPS {
		for _, merged := range whole.Azure.DPS {
			if merged.Name == d.Name {
				merged.Enrollments = named(merged.Enrollments, d.Enrollments, func(e world.Enrollment) string { return e.RegistrationID })
				merged.Groups = named(merged.Groups, d.Groups, func(g world.Group) string { return g.Name })
				out.Azure.DPS = append(out.Azure.DPS, merged)
			}
		}
	}
	for _, t := range patch.MindSphere.Tenants {
		for _, merged := range whole.MindSphere.Tenants {
			if merged.Name == t.Name {
				out.MindSphere.Tenants = append(out.MindSphere.Tenants, merged)
			}
		}
	}
	for _, i := range patch.IoTDA.Instances {
		for _, merged := range whole.IoTDA.Instances {
			if strings.EqualFold(merged.Name, i.Name) {
				merged.Devices = named(merged.Devices, i.Devices, func(d world.IoTDADevice) string { return d.DeviceID })
				merged.Products = named(merged.Products, i.Products, func(p world.Product) string { return p.ProductID })
				out.IoTDA.Instances = append(out.IoTDA.Instances, merged)
			}
		}
	}
	for _, g := range patch.Edge.Gateways {
		for _, merged := range whole.Edge.Gateways {
			if strings.EqualFold(merged.HostName, g.HostName) {
				merged.Children = named(merged.Children, g.Children, func(d world.Device) string { return d.DeviceID })
				out.Edge.Gateways = append(out.Edge.Gateways, merged)
			}
		}
	}
	return out
}

// named keeps the elements of all whose id occurs in some.
func named[T any](all, some []T, id func(T) string) []T {
	wanted := map[string]bool{}
	for _, s := range some {
		wanted[id(s)] = true
	}
	var kept []T
	for _, a := range all {
		if wanted[id(a)] {
			kept = append(kept, a)
		}
	}
	return kept
}
