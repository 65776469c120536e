package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// The return codes that IoT Hub uses ("azure-iot-sdk-c doc/connection_and_messaging_reliability.md"):
// everything is 5, but for a disabled device.
const (
	notAuthorized     = 5
	serverUnavailable = 3
)

// maxSilence is the longest that a client may be silent: 29 min 27 s (HUB-23).
const maxSilence = 1767 * time.Second

// maxPacket is the broker's limit: a message of the largest size (HUB-33) with the longest topic that
// MQTT allows, so that the hub's own rule fires first.
const maxPacket = iothub.MaxMessage + 1<<16 + 16

// Head is a broker.Head for all hubs of a service.
type Head struct {
	hub      *iothub.Service
	sessions *store.Table[kept]
	log      *slog.Logger
}

var _ broker.Head = (*Head)(nil)

// New returns the head of hub. Kept sessions (clean session 0) live in the hub's store. A nil log discards.
func New(hub *iothub.Service, log *slog.Logger) *Head {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Head{hub: hub, sessions: store.NewTable(hub.Store(), "iothub.mqtt.sessions", kept.clone), log: log}
}

// Config completes base (Journal, Clock, Log) to the settings of a broker for hub: its head, levels and
// packet limit, and the rules that the broker decides.
func Config(hub *iothub.Service, base broker.Config) broker.Config {
	base.Platform = iothub.Platform
	base.Head = New(hub, base.Log)
	base.Levels = []byte{4}
	base.MaxPacket = max(base.MaxPacket, maxPacket)
	base.Rules = broker.Rules{
		Level: "HUB-19/level", First: "HUB-25/first", TakeOver: "HUB-21/takeover", KeepAlive: "HUB-22/silent",
		Malformed: "HUB-25/malformed", TooLarge: "HUB-33/packet", QoS2: "HUB-32/qos2",
	}
	base.Mask = Mask
	return base
}

// Mask hides what is secret in a CONNECT: the signature of a token, and any other password whole.
func Mask(username string, password []byte) (shownUsername, shownPassword string) {
	return username, azure.MaskPassword(password)
}

// Connect implements broker.Head.
func (h *Head) Connect(ctx context.Context, c *broker.Connect) (broker.Session, error) {
	if r := h.unavailable(c); r != nil {
		return broker.Session{}, r
	}
	u, r := h.readUsername(c)
	if r != nil {
		return broker.Session{}, h.onWire(r, c)
	}
	id, err := h.hub.Authenticate(ctx, iothub.Credentials{
		Endpoint: c.Peer.Endpoint, Host: u.Host, Hosts: c.Peer.Hosts,
		DeviceID: u.DeviceID, ModuleID: u.ModuleID,
		Password: string(c.Password), Certificates: c.Peer.Certificates,
	})
	if err != nil {
		if errors.As(err, &r) {
			return broker.Session{}, h.onWire(r, c)
		}
		return broker.Session{}, err
	}
	d := newDevice(h, id, c, u)
	if r := d.checkWill(c.Will); r != nil {
		return broker.Session{}, h.onWire(r, c)
	}
	return d.begin(c), nil
}

// unavailable is the answer of a hub that fails over: a fault, which breaks no rule.
func (h *Head) unavailable(c *broker.Connect) *rule.Refusal {
	o := iothub.Origin{Conn: c.Peer.Conn}
	if c.Peer.Remote != nil {
		o.Address = c.Peer.Remote.String()
	}
	if !h.hub.Unavailable(c.Peer.Endpoint, c.ClientID, o) {
		return nil
	}
	return &rule.Refusal{Code: serverUnavailable, Detail: iothub.FailsOver}
}

// onWire gives a refusal the return code that the hub answers it with.
func (h *Head) onWire(r *rule.Refusal, c *broker.Connect) *rule.Refusal {
	shown := *r
	shown.Code = notAuthorized
	if r.Code == iothub.CodeDeviceDisabled {
		shown.Code = serverUnavailable
		if hub, err := h.hub.GetHub(c.Peer.Endpoint); err == nil && hub.Switches.DisabledCode != 0 {
			shown.Code = hub.Switches.DisabledCode
		}
	}
	return &shown
}

// silence returns how long a client with this keep alive may be silent.
func silence(keepAlive uint16) time.Duration {
	limit := time.Duration(keepAlive) * time.Second * 3 / 2
	if limit == 0 || limit > maxSilence {
		return maxSilence
	}
	return limit
}
