package mqtt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// The return codes of edgeHub: what it cannot read is 3, whom it does not let in 5.
const (
	unreadable    = 3
	notAuthorized = 5
)

// maxSilence bounds the keep alive, also none (DotNetty's MqttAdapter).
const maxSilence = 10 * time.Minute

// ConnectTimeout is how long edgeHub waits for a CONNECT (its MqttAdapter).
const ConnectTimeout = time.Minute

// maxPacket is edgeHub's MaxInboundMessageSize: the whole packet with its fixed header (DotNetty, MqttDecoder).
const maxPacket = 262144

// pending is how many messages may wait for a child.
const pending = 128

// Head is a broker.Head for all gateways of a service.
type Head struct {
	svc      *edge.Service
	sessions *store.Table[kept]
}

var _ broker.Head = (*Head)(nil)

// New returns the head of svc. Kept sessions live in its store.
func New(svc *edge.Service) *Head {
	return &Head{svc: svc, sessions: store.NewTable(svc.Store(), "edge.mqtt.sessions", kept.clone)}
}

// Config completes base (Journal, Clock, Log) to the settings of a broker for svc.
func Config(svc *edge.Service, base broker.Config) broker.Config {
	base.Platform = edge.Platform
	base.Head = New(svc)
	base.Levels = []byte{4}
	base.MaxPacket = maxPacket
	base.Pending = pending
	base.JudgeQoS2 = true
	base.SentKeepsAlive = true // MqttAdapter
	base.CutBadFilters = true  // DotNetty, MqttDecoder
	base.Rules = broker.Rules{
		Level: "EDGE-9/level", First: "EDGE-9/first", TakeOver: "EDGE-17/takeover", KeepAlive: "EDGE-24/silent",
		Malformed: "EDGE-42/malformed", TooLarge: "EDGE-42/packet", QoS2: "EDGE-21/qos2",
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
	u, r := readUsername(c)
	if r != nil {
		return broker.Session{}, r
	}
	if c.ClientID != u.ClientID() {
		return broker.Session{}, clientIDRefusal(c, u)
	}
	a, err := h.svc.Authenticate(ctx, edge.Credentials{
		Gateway: c.Peer.Endpoint, Hosts: c.Peer.Hosts, DeviceID: u.DeviceID, ModuleID: u.ModuleID,
		AuthChain: u.AuthChain, Password: string(c.Password), Certificates: c.Peer.Certificates,
	})
	if err != nil {
		if errors.As(err, &r) {
			shown := *r
			shown.Code = notAuthorized
			return broker.Session{}, &shown
		}
		return broker.Session{}, err
	}
	d := &device{head: h, who: a, link: c.Link, subs: map[string]subscription{},
		origin: edge.Origin{Conn: c.Peer.Conn, ModelID: u.ModelID, APIVersion: u.APIVersion}}
	if c.Peer.Remote != nil {
		d.origin.Address = c.Peer.Remote.String()
	}
	return d.begin(c), nil
}

// readUsername reads the username as edgeHub does; what it cannot read is return code 3.
func readUsername(c *broker.Connect) (azure.HubUsername, *rule.Refusal) {
	const expected = "{hub}/{device}[/{module}]/?api-version=2021-04-12"
	refuse := func(id rule.ID, detail string) (azure.HubUsername, *rule.Refusal) {
		seen := "username " + shown(c.Username) + ", client id " + shown(c.ClientID)
		if !c.HasUsername {
			seen = "no username, client id " + shown(c.ClientID)
		}
		return azure.HubUsername{}, &rule.Refusal{Rule: id, Code: unreadable, Detail: detail, Seen: seen, Expected: expected}
	}
	switch {
	case strings.TrimSpace(c.ClientID) == "":
		return refuse("EDGE-9/blank", "the client id is empty")
	case strings.TrimSpace(c.Username) == "":
		return refuse("EDGE-9/blank", "the username is empty")
	}
	u, err := azure.ParseEdgeUsername(c.Username)
	switch {
	case errors.Is(err, azure.ErrEdgeAPIVersion):
		return refuse("EDGE-9/api-version", err.Error())
	case errors.Is(err, azure.ErrEdgeDevice):
		return refuse("EDGE-9/device", err.Error())
	case err != nil:
		return refuse("EDGE-9/form", err.Error())
	}
	return u, nil
}

func clientIDRefusal(c *broker.Connect, u azure.HubUsername) *rule.Refusal {
	detail := "the client id is not that of the username"
	if strings.EqualFold(c.ClientID, u.ClientID()) {
		detail += ": they differ in case"
	}
	return &rule.Refusal{Rule: "EDGE-10/client-id", Code: notAuthorized, Detail: detail, Seen: "client id " + shown(c.ClientID), Expected: "client id " + shown(u.ClientID())}
}

// silence returns how long a client with this keep alive may be silent.
func silence(keepAlive uint16) time.Duration {
	limit := time.Duration(keepAlive) * time.Second * 3 / 2
	if limit == 0 || limit > maxSilence {
		return maxSilence
	}
	return limit
}

// shown quotes a client's text, cut to a sane length.
func shown(text string) string {
	const most = 200
	if len(text) > most {
		return fmt.Sprintf("%q… (%d bytes)", text[:most], len(text))
	}
	return fmt.Sprintf("%q", text)
}
