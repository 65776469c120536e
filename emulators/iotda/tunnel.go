package iotda

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// Tunnel is a tunnel to a device ($tunnel_manager): a record and a notice to the device. Nothing listens at
// its address.
type Tunnel struct {
	ID          string
	DeviceID    string
	URI         string
	SourceToken string
	Closed      bool
	Created     time.Time
}

// Status is the state of a tunnel as the API shows it.
func (t Tunnel) Status() string {
	if t.Closed {
		return "CLOSED"
	}
	return "OPEN"
}

const tunnelManager = "$tunnel_manager"

// maxTunnels bounds an instance's tunnels; our own.
const maxTunnels = 1000

func newToken() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

// CreateTunnel makes a tunnel and tells the device, which must be online.
func (s *Service) CreateTunnel(instance, device string) (Tunnel, error) {
	d, err := s.Device(instance, device)
	if err != nil {
		return Tunnel{}, err
	}
	if len(s.tunnels.Keys(instance+keySeparator)) >= maxTunnels {
		return Tunnel{}, conflict("there are %d tunnels already, which is the limit", maxTunnels)
	}
	c := s.session(instance, d.Gateway())
	if c == nil {
		return Tunnel{}, s.notOnline(instance, d)
	}
	t := Tunnel{ID: s.ids.GUID(), DeviceID: device, SourceToken: newToken(), Created: s.clock.Wall().UTC()}
	t.URI = "wss://" + c.filesHost + "/v1/tunnels/" + t.ID
	s.tunnels.Put(key(instance, t.ID), t)
	s.sendEvent(instance, d, tunnelManager, "tunnel_notify", map[string]any{"tunnel_uri": t.URI, "tunnel_access_token": newToken()})
	return t, nil
}

// Tunnel returns one tunnel.
func (s *Service) Tunnel(instance, id string) (Tunnel, error) {
	t, ok := s.tunnels.Get(key(instance, id))
	if !ok {
		return t, notFound("tunnel", id)
	}
	return t, nil
}

// Tunnels returns the tunnels of an instance, ordered by id.
func (s *Service) Tunnels(instance string) []Tunnel { return s.tunnels.List(instance + keySeparator) }

// CloseTunnel closes a tunnel.
func (s *Service) CloseTunnel(instance, id string) error {
	_, err := s.tunnels.Update(key(instance, id), func(t Tunnel) (Tunnel, error) {
		t.Closed = true
		return t, nil
	})
	return notFoundIf(err != nil, "tunnel", id)
}

// DeleteTunnel removes a tunnel.
func (s *Service) DeleteTunnel(instance, id string) error {
	return notFoundIf(!s.tunnels.Delete(key(instance, id)), "tunnel", id)
}

// AccessCode makes credentials for receivers of data forwarding. Nothing checks them yet, as neither AMQP
// nor MQTT forwarding is emulated.
func (s *Service) AccessCode() (accessKey, accessCode string) {
	return s.ids.Hex(16)[:8], newToken()[:32]
}
