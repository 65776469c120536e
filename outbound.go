package fakecloud

import (
	"net/url"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/internal/outbound"
	"github.com/fakecloud/fakecloud/internal/world"
)

// nameOutbound lets calls go to the hosts that a world names, beside those of the worlds before, also of
// earlier lives: a world that was patched in is in no file.
func (c *Cloud) nameOutbound(w *world.World) {
	if text, _ := c.kept.Get(keptTargets); c.targets == nil && text != "" {
		for host := range strings.SplitSeq(text, " ") {
			if h, err := outbound.ParseHost(host); err == nil {
				c.targets = append(c.targets, h)
			}
		}
	}
	for _, d := range w.Azure.DPS {
		for _, e := range d.Enrollments {
			if e.CustomAllocation != nil {
				c.nameTarget(e.CustomAllocation.WebhookURL)
			}
		}
		for _, g := range d.Groups {
			if g.CustomAllocation != nil {
				c.nameTarget(g.CustomAllocation.WebhookURL)
			}
		}
	}
	for _, i := range w.IoTDA.Instances {
		for _, f := range i.Forwarding {
			for _, a := range f.Actions {
				c.nameTarget(a.URL)
			}
		}
	}
	c.out.Name(c.targets)
	var names []string
	for _, h := range c.targets {
		names = append(names, h.String())
	}
	if len(names) > 0 {
		c.kept.Put(keptTargets, strings.Join(names, " "))
	}
}

// forgetTargets takes back what nameOutbound has let.
func (c *Cloud) forgetTargets() {
	c.targets = nil
	c.kept.Delete(keptTargets)
}

// nameTarget adds the host of an address. What is none is refused when it is called.
func (c *Cloud) nameTarget(address string) {
	u, err := url.Parse(address)
	if err != nil {
		return
	}
	if h, err := outbound.ParseHost(u.Host); err == nil && !slices.Contains(c.targets, h) {
		c.targets = append(c.targets, h)
	}
}
