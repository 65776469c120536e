package rest

import (
	"net/http"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

func viewTunnel(t iotda.Tunnel) object {
	return object{"tunnel_id": t.ID, "device_id": t.DeviceID, "create_time": wire.FormatTime(t.Created), "closed_time": "", "status": t.Status(),
		"source_connect_state": object{"status": "DISCONNECTED", "last_update_time": wire.FormatTime(t.Created)},
		"device_connect_state": object{"status": "DISCONNECTED", "last_update_time": wire.FormatTime(t.Created)}}
}

// createTunnel makes the record of a tunnel and tells the device of it; no bytes travel through it.
func createTunnel(c *call) (int, any, error) {
	var ask struct {
		DeviceID string `json:"device_id"`
	}
	if err := c.read(&ask); err != nil {
		return 0, nil, err
	}
	t, err := c.CreateTunnel(c.instance, ask.DeviceID)
	v := viewTunnel(t)
	v["source_access_token"], v["tunnel_uri"], v["expires_in"] = t.SourceToken, t.URI, 3600
	return http.StatusCreated, v, err
}

func listTunnels(c *call) (int, any, error) {
	var all []iotda.Tunnel
	for _, t := range c.Tunnels(c.instance) {
		if device := c.query("device_id"); device == "" || t.DeviceID == device {
			all = append(all, t)
		}
	}
	return http.StatusOK, object{"tunnels": mapped(all, viewTunnel)}, nil
}

func showTunnel(c *call) (int, any, error) {
	t, err := c.Tunnel(c.instance, c.path("tunnel"))
	return http.StatusOK, viewTunnel(t), err
}

func closeTunnel(c *call) (int, any, error) {
	return http.StatusOK, object{}, c.CloseTunnel(c.instance, c.path("tunnel"))
}

func deleteTunnel(c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.DeleteTunnel(c.instance, c.path("tunnel"))
}
