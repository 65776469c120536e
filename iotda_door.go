package fakecloud

import (
	"github.com/fakecloud/fakecloud/emulators/iotda"
	iotmqtt "github.com/fakecloud/fakecloud/emulators/iotda/mqtt"
	iotrest "github.com/fakecloud/fakecloud/emulators/iotda/rest"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/door"
	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// iotdaPlatform is IoTDA behind the door: MQTT with and without TLS and over WebSocket, and HTTPS.
func (c *generation) iotdaPlatform(mqtt *broker.Server) door.Platform {
	api := iotrest.New(iotrest.Config{Service: c.cores.iot, Clock: c.clock, Journal: c.journal, Log: c.config.Log,
		Peer: door.PeerOf})
	return door.Platform{Name: iotda.Platform, Claim: c.claimIoTDA, MQTT: mqtt, HTTP: api, WebSocket: iotdaStreams, Plain: true}
}

// httpsPort is the first HTTPS port, 0 where HTTPS is off or nothing listens yet.
func (c *Cloud) httpsPort() int { return int(c.https.Load()) }

// mqttsPort is the port of MQTT over TLS, 0 where it is off or nothing listens yet.
func (c *Cloud) mqttsPort() int { return int(c.mqtts.Load()) }

// iotdaStreams says where IoTDA speaks MQTT over WebSocket.
func iotdaStreams(path string) bool { return path == iotmqtt.WebSocketPath }

// claimIoTDA says which instance a client is for: the one of the host name, else the one that has its
// device. The names that all instances of a region share leave that open too.
func (c *generation) claimIoTDA(h *door.Hello) door.Claim {
	named := c.hosts.Lookup(h.Name).Platform == hosts.IoTDA
	switch {
	case h.Endpoint != "" && named:
		return door.Claim{Endpoint: h.Endpoint, OK: true}
	case h.Level == 0:
		return door.Claim{OK: named || iotrest.Claims(h.Path)}
	}
	endpoint, ok, near := c.cores.iot.Claim(h.ClientID, h.Username)
	return door.Claim{Endpoint: endpoint, OK: ok, Near: near}
}

// nameIoTDA makes the host table know the instances.
func (c *generation) nameIoTDA() error {
	for _, i := range c.cores.iot.Instances() {
		if err := c.hosts.Put(iotda.Platform, i.Name, i.Hosts()...); err != nil {
			return err
		}
	}
	return nil
}

// iotPart is IoTDA: devices by device id.
type iotPart struct{ g *generation }

var _ part = iotPart{}

func (p iotPart) name() string { return iotda.Platform }

func (p iotPart) list() (all []plane.Device) {
	for _, i := range p.g.cores.iot.Instances() {
		for _, d := range p.g.cores.iot.Devices(i.Name) {
			all = append(all, p.device(i.Name, d))
		}
	}
	return all
}

func (p iotPart) device(instance string, d iotda.Device) plane.Device {
	conn, connected := p.g.cores.iot.Connection(instance, d.DeviceID)
	return plane.Device{Platform: iotda.Platform, Endpoint: instance, ID: d.DeviceID, Connected: connected, Conn: conn}
}

// get implements part: the state holds the shadow and how many messages wait.
func (p iotPart) get(endpoint, id string) (plane.Device, error) {
	iot := p.g.cores.iot
	d, err := iot.Device(endpoint, id)
	if err != nil {
		return plane.Device{}, plane.ErrNoDevice
	}
	found := p.device(endpoint, d)
	found.State = stateOf(d.Masked())
	found.State["State"] = d.State()
	if shadow, err := iot.Shadow(endpoint, id); err == nil {
		found.State["Shadow"] = shadow
	}
	waiting := 0
	messages, _ := iot.Messages(endpoint, id) // none of a device that is gone
	for _, m := range messages {
		if m.Status == iotda.Pending {
			waiting++
		}
	}
	found.State["PendingMessages"] = waiting
	return found, nil
}

func (p iotPart) remove(endpoint, id string) error {
	if p.g.cores.iot.DeleteDevice(endpoint, id) != nil {
		return plane.ErrNoDevice
	}
	return nil
}

func (p iotPart) disconnect(endpoint, id string) {
	p.g.cores.iot.Disconnect(endpoint, id)
}

// expire implements part. IoTDA judges the stamp of a password at the CONNECT only.
func (p iotPart) expire(string, string) error { return plane.ErrNothingToExpire }

func (p iotPart) forget(match func(string) bool) int { return forgetOf(p, match) }
