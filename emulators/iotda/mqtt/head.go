package mqtt

import (
	"context"
	"fmt"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/rule"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// The limits of a connection.
const (
	minKeepAlive     = 30
	maxKeepAlive     = 1200
	maxSubscriptions = 100
	maxCustom        = 50
	badClientID      = 2
	subackFailure    = 0x80
	maxPacket        = 2 << 20 // above the 1 MB that the core rejects with its own rule
)

// WebSocketPath is where MQTT is spoken over WebSocket (huaweicloud-iot-device-sdk-ts).
const WebSocketPath = "/mqtt"

// Head is a broker.Head for all instances of a service.
type Head struct {
	service *iotda.Service
}

var _ broker.Head = (*Head)(nil)

// New returns the head of a service.
func New(s *iotda.Service) *Head { return &Head{s} }

// Config completes base (Journal, Clock, Log) to the settings of a broker for s: its head, levels and packet
// limit, and the rules that the broker decides.
func Config(s *iotda.Service, base broker.Config) broker.Config {
	base.Platform = iotda.Platform
	base.Head = New(s)
	base.Levels = []byte{3, 4, 5}
	base.MaxPacket = maxPacket
	base.Rules = broker.Rules{
		Level: "DA-8/level", First: "DA-1/first", TakeOver: "DA-13/takeover", KeepAlive: "DA-12/silent",
		Malformed: "DA-1/malformed", TooLarge: "DA-43/packet", QoS2: "DA-40/qos2",
	}
	base.Mask, base.Device = Mask, deviceOf
	return base
}

// deviceOf is the device that a CONNECT is about: the client id's, or where that has another form the
// username, which is to be the device id.
func deviceOf(clientID, username string) string {
	id, err := wire.ParseClientID(clientID)
	switch {
	case err == nil:
		return id.DeviceID
	case username != "":
		return username
	}
	return clientID
}

// Mask hides the password: with sign type 0 whoever has it can connect for ever.
func Mask(username string, password []byte) (shownUsername, shownPassword string) {
	if len(password) == 0 {
		return username, ""
	}
	return username, "***"
}

// instance is the one that the door found, else the one that judges what leads to none.
func (h *Head) instance(c *broker.Connect) string {
	if all := h.service.Instances(); c.Peer.Endpoint == "" && len(all) > 0 {
		return all[0].Name
	}
	return c.Peer.Endpoint
}

// Connect implements broker.Head.
func (h *Head) Connect(_ context.Context, c *broker.Connect) (broker.Session, error) {
	if c.KeepAlive < minKeepAlive || c.KeepAlive > maxKeepAlive {
		return broker.Session{}, &rule.Refusal{Rule: "DA-8/keep-alive", Code: badClientID,
			Seen: fmt.Sprintf("a keep alive of %d s", c.KeepAlive), Expected: "30 to 1200 s"}
	}
	credentials := iotda.Credentials{
		Instance: h.instance(c), ClientID: c.ClientID, Username: c.Username, Password: string(c.Password),
		Certificates: c.Peer.Certificates, Secure: c.Peer.TLSVersion != 0, SNI: c.Peer.SNI, Conn: c.Peer.Conn,
	}
	if c.Peer.Remote != nil {
		credentials.Address = c.Peer.Remote.String()
	}
	id, err := h.service.Authenticate(credentials)
	if err != nil {
		return broker.Session{}, err
	}
	d := &device{service: h.service, id: id, link: c.Link, filters: map[string]bool{},
		origin: iotda.Origin{Conn: c.Peer.Conn, Address: credentials.Address, Door: c.Peer.Door}}
	if c.Will != nil {
		d.will = c.Will.Topic
	}
	return broker.Session{Device: d, Name: id.DeviceID}, nil
}
