package fakecloud

import (
	"net/http"

	"github.com/fakecloud/fakecloud/emulators/dps"
	dpsmqtt "github.com/fakecloud/fakecloud/emulators/dps/mqtt"
	dpsrest "github.com/fakecloud/fakecloud/emulators/dps/rest"
	"github.com/fakecloud/fakecloud/internal/door"
)

// dpsHTTP serves DPS's HTTPS: the device API.
func (c *Cloud) dpsHTTP() http.Handler { return dpsrest.New(c.cores.dps, door.PeerOf) }

// anyPath is where DPS speaks MQTT over WebSocket: every SDK asks for another path.
func anyPath(string) bool { return true }

// claimDPSHTTP says which instance a request is for: the one whose ID scope the path begins with, else the
// one of the host name. A scope that no instance has is left to DPS's own refusal.
func (c *Cloud) claimDPSHTTP(h *door.Hello) door.Claim {
	if scope := dpsrest.Scope(h.Path); scope != "" {
		if i, ok := c.cores.dps.InstanceOf(scope); ok {
			return door.Claim{Endpoint: i.Name, OK: true}
		}
		return door.Claim{Endpoint: dpsmqtt.GlobalEndpoint, OK: true}
	}
	switch {
	case h.Endpoint != "":
		return door.Claim{Endpoint: h.Endpoint, OK: true}
	case c.hosts.Lookup(h.Name).Platform == dps.Platform:
		return door.Claim{Endpoint: dpsmqtt.GlobalEndpoint, OK: true}
	}
	return door.Claim{}
}
