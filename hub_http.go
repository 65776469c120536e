package fakecloud

import (
	"net/http"

	"github.com/fakecloud/fakecloud/emulators/iothub/service"
	"github.com/fakecloud/fakecloud/internal/door"
)

// hubHTTP serves IoT Hub's HTTPS: the service API.
func (c *Cloud) hubHTTP() http.Handler {
	return service.New(c.cores.hub, door.PeerOf, c.config.Log)
}

// claimHubHTTP says which hub a request is for: the one of the host name, else the one that the path leads
// to.
func (c *Cloud) claimHubHTTP(h *door.Hello) door.Claim {
	if h.Endpoint != "" {
		return door.Claim{Endpoint: h.Endpoint, OK: true}
	}
	endpoint, ok := service.Claim(c.cores.hub, h.Path)
	return door.Claim{Endpoint: endpoint, OK: ok}
}
