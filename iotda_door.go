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
func (c *Cloud) iotdaPlatform(mqtt *broker.Server) door.Platform {
	api := iotrest.New(iotrest.Config{Service: c.cores.iot, Clock: c.clock, Journal: c.journal, Log: c.config.Log,
		Peer: door.PeerOf})
	return door.Platform{Name: iotda.Platform, Claim: c.claimIoTDA, MQTT: mqtt, HTTP: api, WebSocket: iotdaStreams, Plain: true}
}

// httpsPort is the first HTTPS port, 0 where HTTPS is off or nothing listens yet.
func (c *Cloud) httpsPort() int { return int(c.https.Load()) }

// iotdaStreams says where IoTDA speaks MQTT over WebSocket.
func iotdaStreams(path string) bool { return path == iotmqtt.WebSocketPath }

// claimIoTDA says which instance a client is for: the one of the host name, else the one that has its
// device. The names that all instances of a region share leave that open too.
func (c *Cloud) claimIoTDA(h *door.Hello) door.Claim {
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
func (c *Cloud) nameIoTDA() error {
	for _, i := range c.cores.iot.Instances() {
		if err := c.hosts.Put(iotda.Platform, i.Name, i.Hosts()...); err != nil {
			return err
		}
	}
	return nil
}

// clearIoTDA removes every instance with its records.
func (c *Cloud) clearIoTDA() {
	for _, i := range c.cores.iot.Instances() {
		c.hosts.Drop(iotda.Platform, i.Name)
		c.cores.iot.DeleteInstance(i.Name)
	}
}

// iotdaDevices are the devices of all instances, as the control plane shows them.
func (c *Cloud) iotdaDevices() []plane.Device {
	var all []plane.Device
	for _, i := range c.cores.iot.Instances() {
		for _, d := range c.cores.iot.Devices(i.Name) {
			all = append(all, c.iotdaDevice(i.Name, d))
		}
	}
	return all
}

// iotdaDevice shows a device with its shadow and the messages that wait for it, without secrets.
func (c *Cloud) iotdaDevice(instance string, d iotda.Device) plane.Device {
	conn, connected := c.cores.iot.Connection(instance, d.DeviceID)
	state := stateOf(d.Masked())
	state["State"] = d.State()
	if shadow, err := c.cores.iot.Shadow(instance, d.DeviceID); err == nil {
		state["Shadow"] = shadow
	}
	waiting := 0
	messages, _ := c.cores.iot.Messages(instance, d.DeviceID) // none of a device that is gone
	for _, m := range messages {
		if m.Status == iotda.Pending {
			waiting++
		}
	}
	state["PendingMessages"] = waiting
	return plane.Device{Platform: iotda.Platform, Endpoint: instance, ID: d.DeviceID, Connected: connected, Conn: conn, State: state}
}
