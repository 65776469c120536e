package fakecloud

import (
	"net/http"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	hubrest "github.com/fakecloud/fakecloud/emulators/iothub/rest"
	"github.com/fakecloud/fakecloud/emulators/iothub/service"
	"github.com/fakecloud/fakecloud/internal/door"
)

// hubHTTP serves IoT Hub's HTTPS: the service API, and the device API, which also answers what neither has.
func (c *generation) hubHTTP() http.Handler {
	devices := hubrest.New(c.cores.hub, door.PeerOf)
	back := service.New(c.cores.hub, door.PeerOf, c.config.Log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hubrest.Serves(r) && service.Handles(r.URL.Path) {
			back.ServeHTTP(w, r)
			return
		}
		devices.ServeHTTP(w, r)
	})
}

// hubStreams says where the hub speaks MQTT over WebSocket.
func hubStreams(path string) bool { return path == hubrest.WebSocketPath }

// claimHubHTTP says which hub a request is for: the one of the host name, else the one that the path leads
// to. A vendor's name that no hub has is left to the hub's own refusal.
func (c *generation) claimHubHTTP(h *door.Hello) door.Claim {
	switch {
	case h.Endpoint != "":
		return door.Claim{Endpoint: h.Endpoint, OK: true}
	case c.hosts.Lookup(h.Name).Platform == iothub.Platform:
		return door.Claim{Endpoint: h.Name, OK: true}
	}
	if device := hubrest.Device(h.Path); device != "" {
		endpoint := c.cores.hub.HubOf(device)
		return door.Claim{Endpoint: endpoint, OK: endpoint != ""}
	}
	endpoint, ok := service.Claim(c.cores.hub, h.Path)
	return door.Claim{Endpoint: endpoint, OK: ok}
}
