package mqtt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// GlobalEndpoint is the journal's endpoint for devices whose ID scope no instance has: the shared
// service host name.
const GlobalEndpoint = "global.azure-devices-provisioning.net"

// MaxPacket is the packet limit for the broker: above the 96 KB that the core refuses with its own rule.
const MaxPacket = 256 << 10

// CONNACK return codes of MQTT 3.1.1.
const (
	badClientID    = 2
	badUsername    = 4
	notAuthorized  = 5
	subackFailure  = 0x80
	mqtt311        = 4
	silenceForZero = 10 * time.Minute // twice the longest retry-after: no client that polls is cut off
)

// BrokerRules are cited when the broker ends a connection by itself.
var BrokerRules = broker.Rules{
	Level: "DPS-1/level", First: "DPS-1/first", TakeOver: "DPS-33/takeover", KeepAlive: "DPS-1/keep-alive",
	Malformed: "DPS-1/malformed", TooLarge: "DPS-11/size", QoS2: "DPS-8/qos2",
}

// Levels are the protocol levels that DPS speaks.
var Levels = []byte{mqtt311}

// Head judges the connections of DPS devices.
type Head struct {
	service *dps.Service
}

var _ broker.Head = (*Head)(nil)

// New returns the head of a service.
func New(s *dps.Service) *Head { return &Head{service: s} }

// Claim reports whether a CONNECT with this username is for DPS: {anything}/registrations/{anything}.
// endpoint is the instance that owns the ID scope, else GlobalEndpoint: an unknown scope passes CONNECT
// and is refused at register, as on the real service.
func (h *Head) Claim(username string) (endpoint string, ok bool) {
	scope, ok := azure.ClaimsDPS(username)
	if !ok {
		return "", false
	}
	if i, known := h.service.InstanceOf(scope); known {
		return i.Name, true
	}
	return GlobalEndpoint, true
}

// Near says, in one sentence for a person, what keeps a username that Claim does not claim from being one
// of DPS; empty where it has nothing in common with one.
func (h *Head) Near(username string) string {
	scope, _, _ := strings.Cut(username, "/")
	_, known := h.service.InstanceOf(scope)
	if !known && !strings.Contains(strings.ToLower(username), "registration") {
		return ""
	}
	return fmt.Sprintf("DPS takes the username %q", azure.NearDPSUsername(username))
}

// Mask returns what the journal may show of a CONNECT's username and password.
func Mask(username string, password []byte) (shownUsername, shownPassword string) {
	return username, azure.MaskPassword(password)
}

// Connect implements broker.Head. Credentials are not judged here but at register.
func (h *Head) Connect(_ context.Context, c *broker.Connect) (broker.Session, error) {
	u, err := judge(c)
	if err != nil {
		return broker.Session{}, err
	}
	caller := dps.Caller{
		Scope: u.Scope, RegistrationID: u.RegistrationID, APIVersion: u.APIVersion,
		Token: string(c.Password), Certificates: c.Peer.Certificates, Door: c.Peer.Door, Conn: c.Peer.Conn,
	}
	if c.Peer.Remote != nil {
		caller.Address = c.Peer.Remote.String()
	}
	s := broker.Session{Device: &device{session: h.service.Open(caller), link: c.Link, pause: pauseFor(u)}, Name: u.RegistrationID}
	if c.KeepAlive == 0 {
		s.Silence = silenceForZero
	}
	return s, nil
}

// judge checks what a CONNECT says by itself.
func judge(c *broker.Connect) (azure.DPSUsername, error) {
	if c.Level != mqtt311 {
		return azure.DPSUsername{}, &rule.Refusal{Rule: "DPS-1/level", Code: 1, Seen: fmt.Sprintf("protocol level %d", c.Level), Expected: "protocol level 4 (MQTT 3.1.1)"}
	}
	u, err := azure.ParseDPSUsername(c.Username)
	if err != nil {
		return u, badName(c, err)
	}
	if !strings.EqualFold(c.ClientID, u.RegistrationID) {
		return u, &rule.Refusal{Rule: "DPS-4/client-id", Code: badClientID,
			Seen: fmt.Sprintf("client id %q, registration id %q", clip(c.ClientID), u.RegistrationID), Expected: fmt.Sprintf("client id %q", u.RegistrationID)}
	}
	if len(c.Peer.Certificates) == 0 && len(c.Password) == 0 {
		return u, &rule.Refusal{Rule: "DPS-1/credential", Code: notAuthorized,
			Seen: "no client certificate and no password", Expected: "a TLS client certificate, or a SAS token as password"}
	}
	return u, nil
}

// badName refuses a username and names the closest legal one.
func badName(c *broker.Connect, err error) *rule.Refusal {
	r := &rule.Refusal{Rule: "DPS-3/username", Code: badUsername, Seen: fmt.Sprintf("username %q", clip(c.Username)),
		Expected: azure.NearDPSUsername(c.Username)}
	switch {
	case errors.Is(err, azure.ErrDPSAPIVersion) && strings.Contains(c.Username, "?api-version"):
		r.Rule = "DPS-3/question-mark"
	case errors.Is(err, azure.ErrDPSAPIVersion):
		r.Rule = "DPS-3/api-version"
	case errors.Is(err, azure.ErrDPSRegistrationID):
		r.Rule = "DPS-3/registration-id"
	case !c.HasUsername || c.Username == "":
		r.Seen = "no username"
	}
	if azure.ValidDPSRegistrationID(c.ClientID) { // the two must be one (DPS-4)
		r.Expected = strings.Replace(r.Expected, "{registrationId}", c.ClientID, 1)
	}
	return r
}

// clip shortens what a client sent, for messages.
func clip(text string) string {
	const most = 256
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
