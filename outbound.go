package fakecloud

import (
	"net/url"

	"github.com/fakecloud/fakecloud/internal/outbound"
	"github.com/fakecloud/fakecloud/internal/world"
)

// nameOutbound lets calls go to the hosts that a world names, beside those of the worlds before.
func (c *Cloud) nameOutbound(w *world.World) {
	for _, i := range w.IoTDA.Instances {
		for _, f := range i.Forwarding {
			for _, a := range f.Actions {
				c.nameTarget(a.URL)
			}
		}
	}
	c.out.Name(c.targets)
}

// nameTarget adds the host of an address. What is none is refused when it is called.
func (c *Cloud) nameTarget(address string) {
	u, err := url.Parse(address)
	if err != nil {
		return
	}
	if h, err := outbound.ParseHost(u.Host); err == nil {
		c.targets = append(c.targets, h)
	}
}
