package fakecloud

import (
	"net/http"

	"github.com/fakecloud/fakecloud/emulators/dps"
	dpsarm "github.com/fakecloud/fakecloud/emulators/dps/arm"
	dpsmqtt "github.com/fakecloud/fakecloud/emulators/dps/mqtt"
	dpsrest "github.com/fakecloud/fakecloud/emulators/dps/rest"
	dpsservice "github.com/fakecloud/fakecloud/emulators/dps/service"
	"github.com/fakecloud/fakecloud/internal/door"
)

// dpsHTTP serves DPS's HTTPS: the service API, and the device API, which also answers what neither has.
func (c *generation) dpsHTTP() http.Handler {
	devices := dpsrest.New(c.cores.dps, door.PeerOf)
	back := dpsservice.New(c.cores.dps, door.PeerOf, c.config.Log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if dpsservice.Handles(r.URL.EscapedPath()) {
			back.ServeHTTP(w, r)
			return
		}
		devices.ServeHTTP(w, r)
	})
}

// claimARM knows the resource manager by its paths.
func claimARM(h *door.Hello) door.Claim {
	return door.Claim{OK: h.Level == 0 && dpsarm.Handles(h.Path)}
}

// anyPath is where DPS speaks MQTT over WebSocket: every SDK asks for another path.
func anyPath(string) bool { return true }

// claimDPSHTTP says which instance a request is for: the one whose ID scope the path begins with, else the
// one of the host name, or where a back end asks by another name the one that its path leads to. A scope that
// no instance has is left to DPS's own refusal.
func (c *generation) claimDPSHTTP(h *door.Hello) door.Claim {
	if scope := dpsrest.Scope(h.Path); scope != "" && !dpsservice.Handles(h.Path) {
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
	endpoint, ok := dpsservice.Claim(c.cores.dps, h.Path)
	return door.Claim{Endpoint: endpoint, OK: ok}
}
