package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

// maxPacket is the broker's limit: above the largest message with the longest topic that MQTT allows, so that
// the core's own rule fires first.
const maxPacket = mindsphere.MaxPayload + 1<<16 + 16

// pending is how many messages may be on their way to one client: what a kept session holds goes out at once.
const pending = maxWaiting + 256

// Keep alive limits of AWS IoT Core (MS-3).
const (
	minKeepAlive = 30
	maxKeepAlive = 1200
)

// maxFilters is how many filters one SUBSCRIBE may have in region eu1, as AWS IoT Core has it (MS-16).
const maxFilters = 8

// Head is a broker.Head for the tenants of region eu1 and of private clouds, and the core's carrier of messages to their agents.
type Head struct {
	svc  *mindsphere.Service
	log  *slog.Logger
	kept *store.Table[kept]

	mu   sync.Mutex // guards live and all changes of kept, so that no message falls between two connections
	live map[string]*device
}

var (
	_ broker.Head        = (*Head)(nil)
	_ mindsphere.Carrier = (*Head)(nil)
)

// New returns the head of svc and makes it the carrier of region eu1 and of private clouds. A nil log discards.
func New(svc *mindsphere.Service, log *slog.Logger) *Head {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &Head{svc: svc, log: log, kept: store.NewTable(svc.Store(), "mindsphere.mqtt.sessions", kept.clone), live: map[string]*device{}}
	svc.Carry(mindsphere.EU1, h)
	svc.Carry(mindsphere.Private, h)
	return h
}

// Config completes base (Journal, Clock, Log) to the settings of a broker for svc: its head, levels, limits
// and the rules that the broker decides.
func Config(svc *mindsphere.Service, base broker.Config) broker.Config {
	base.Platform = mindsphere.Platform
	base.Head = New(svc, base.Log)
	base.Levels = []byte{4, 5}
	base.MaxPacket = max(base.MaxPacket, maxPacket)
	base.Pending = max(base.Pending, pending)
	base.Rules = broker.Rules{
		Level: "MS-3/level", First: "MS-3/first", TakeOver: "MS-7/takeover", KeepAlive: "MS-3/keep-alive",
		Malformed: "MS-3/malformed", TooLarge: "MS-29/size", QoS2: "MS-17/qos2", Filters: "MS-16/filters",
	}
	base.Mask = Mask
	return base
}

// Mask hides the password of a CONNECT whole: in the private cloud it is a signed token.
func Mask(username string, password []byte) (shownUsername, shownPassword string) {
	if len(password) == 0 {
		return username, ""
	}
	return username, "***"
}

// Connect implements broker.Head.
func (h *Head) Connect(_ context.Context, c *broker.Connect) (broker.Session, error) {
	id, err := h.svc.Authenticate(mindsphere.Credentials{
		ClientID: c.ClientID, Username: c.Username, Password: string(c.Password), Certificates: c.Peer.Certificates, Host: c.Peer.SNI,
	})
	if err != nil {
		return broker.Session{}, err
	}
	d := &device{head: h, id: id, link: c.Link, origin: mindsphere.Origin{Conn: c.Peer.Conn, Address: address(c)}}
	return d.begin(c), nil
}

func address(c *broker.Connect) string {
	if c.Peer.Remote == nil {
		return ""
	}
	return c.Peer.Remote.String()
}

// silence returns how long a client with this keep alive may be silent.
func silence(keepAlive uint16) time.Duration {
	seconds := int(keepAlive)
	if seconds == 0 || seconds > maxKeepAlive {
		seconds = maxKeepAlive
	}
	return time.Duration(max(seconds, minKeepAlive)) * time.Second * 3 / 2
}

// closing is the verdict of a bare close for r.
func closing(r *rule.Refusal) broker.Verdict {
	return broker.Verdict{Action: broker.Close, Refusal: silent(r)}
}

// silent returns r as the wire shows it: not at all.
func silent(r *rule.Refusal) *rule.Refusal {
	quiet := *r
	quiet.Code, quiet.Silent = 0, true
	return &quiet
}

// quiet is silent for causes of any kind.
func quiet(cause error) error {
	var r *rule.Refusal
	if errors.As(cause, &r) {
		return silent(r)
	}
	return cause
}

// shown quotes what a client sent, shortened.
func shown(text string) string {
	const most = 300
	if len(text) > most {
		text = text[:most] + "…"
	}
	return `"` + strings.ToValidUTF8(text, "\uFFFD") + `"`
}
