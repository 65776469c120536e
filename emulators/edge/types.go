package edge

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

// Platform is the platform's name in the journal.
const Platform = "edge"

// Errors of the service's calls. They are wrapped with what is wrong.
var (
	ErrNotFound = store.ErrNotFound
	ErrInvalid  = errors.New("invalid")
	// ErrAway says that the hub cannot be reached now; the gateway tries again.
	ErrAway = errors.New("the hub cannot be reached")
	// ErrRejected says that the hub will never take a message.
	ErrRejected = errors.New("the hub rejects the message")
)

// Modes of authentication (edgeHub's AuthenticationMode).
const (
	ModeScope         = "Scope"         // identities of the gateway's scope only; the default
	ModeCloudAndScope = "CloudAndScope" // tokens of other devices of the hub as well, while it can be reached
)

// Gateway is an IoT Edge device that is a transparent gateway.
type Gateway struct {
	Name     string   // host name in lower case, the journal's endpoint
	Hosts    []string // further host names
	Hub      string   // host name of its hub
	DeviceID string   // the edge device in the hub's registry
	Mode     string   // of authentication, empty is ModeScope
	// TrustBundle are the CAs that children's certificates may lead to, PEM by name.
	TrustBundle []TrustedCA
	// CA and CAKey are an edge CA of the tester's own, with the certificates above it; PEM.
	CA, CAKey string
	// MaxClients is how many children are served at a time (edgeHub's MaxConnectedClients); 0 is 100.
	MaxClients int
	// QueueMessages and QueueBytes bound what is stored for the hub; 0 is 200,000 and 256 MiB.
	QueueMessages, QueueBytes int
	// Down says that the hub cannot be reached.
	Down bool

	Order int // among the gateways
}

// TrustedCA is a certificate of a gateway's trust bundle.
type TrustedCA struct {
	Name        string
	Certificate string // PEM
}

func (g Gateway) clone() Gateway {
	g.Hosts, g.TrustBundle = slices.Clone(g.Hosts), slices.Clone(g.TrustBundle)
	return g
}

// Names returns all host names of the gateway, its own first.
func (g Gateway) Names() []string { return append([]string{g.Name}, g.Hosts...) }

// Authentication types, spelled as in the hub's registry.
const (
	authSAS        = "sas"
	authSelfSigned = "selfSigned"
	authCA         = "certificateAuthority"
)

// Identity is a device or module as the hub's registry knows it and a gateway keeps it.
type Identity struct {
	DeviceID     string
	ModuleID     string // empty for a device
	GenerationID string
	Disabled     bool
	AuthType     string   // sas, selfSigned, certificateAuthority, none
	Keys         []string // base64, of sas
	Thumbprints  []string // hexadecimal, of selfSigned
	IoTEdge      bool
	DeviceScope  string   // of an edge device its own, of a leaf its parent's
	ParentScopes []string // the parent's, of leaves and nested edge devices
}

// Name returns device or device/module.
func (id Identity) Name() string {
	if id.ModuleID == "" {
		return id.DeviceID
	}
	return id.DeviceID + "/" + id.ModuleID
}

func (id Identity) clone() Identity {
	id.Keys, id.Thumbprints, id.ParentScopes = slices.Clone(id.Keys), slices.Clone(id.Thumbprints), slices.Clone(id.ParentScopes)
	return id
}

// parents are the scopes that the device belongs to.
func (id Identity) parents() []string {
	if len(id.ParentScopes) > 0 || id.IoTEdge {
		return id.ParentScopes
	}
	if id.DeviceScope == "" {
		return nil
	}
	return []string{id.DeviceScope}
}

// Property is a named value of a message.
type Property struct {
	Name, Value string
	Null        bool `json:",omitempty"` // a name alone
}

// Message is a device-to-cloud message on its way through a gateway. It is shared and must not be changed.
type Message struct {
	DeviceID, ModuleID string // whose it is
	// System are system properties under the names that the hub's readers see (message-id, …).
	System []Property
	App    []Property
	Body   []byte
	Output string // of a module
	At     time.Time
}

// size is what counts towards limits.
func (m *Message) size() int {
	n := len(m.Body)
	for _, list := range [][]Property{m.System, m.App} {
		for _, p := range list {
			n += len(p.Name) + len(p.Value)
		}
	}
	return n
}

// C2D is a cloud-to-device message.
type C2D struct {
	EnqueuedAt                           time.Time // wall
	MessageID, CorrelationID, UserID, To string
	ContentType, ContentEncoding, Ack    string
	Expiry                               time.Time // zero where the sender chose none
	Properties                           []Property
	Body                                 []byte
}

// Upstream is the hub behind a gateway, which the root package wires.
type Upstream interface {
	// Hosts returns the names of a hub, nil for an unknown one.
	Hosts(hub string) []string
	// Away reports whether a hub fails over and cannot be reached. It is asked for every message.
	Away(hub string) bool
	// Identities returns every device and module of a hub.
	Identities(hub string) []Identity
	// Identity returns one of them, ErrNotFound where there is none.
	Identity(hub, device, module string) (Identity, error)
	// Welcome makes a scenario device that is not registered yet, where the hub has them, and makes parent the
	// edge device of one that has none. It reports whether the device is registered.
	Welcome(hub, device, parent string, certificate bool) bool
	// Open makes a connection of an identity to the hub, as if it stood there itself. ErrNotFound where the
	// identity is gone, ErrAway while the hub cannot be reached.
	Open(hub string, id Identity, o Origin, down CloudSink) (Cloud, error)
	// Visit is Open for one who only sends: no connection of the identity is seen or ended by it.
	Visit(hub string, id Identity) (Cloud, error)
}

// Cloud is an identity's connection to the hub.
type Cloud interface {
	// Send hands over messages, all or none: ErrAway to try again, ErrRejected not to.
	Send(ctx context.Context, batch []Message) error
	// Twin reads {"desired":{…},"reported":{…}}, each with its $version.
	Twin() ([]byte, error)
	// Look is Twin for the gateway's own eyes: no event, and it counts towards no limit.
	Look() ([]byte, error)
	// Report merges a patch into the reported properties.
	Report(patch []byte) error
	// Answer answers a direct method. An error says that nobody waits for it.
	Answer(rid string, status int, payload []byte) error
	// MethodsReady and C2DReady tell that the client can take methods or messages now.
	MethodsReady()
	C2DReady()
	Close()
}

// CloudSink is what a hub calls on a connection. Its methods must not block.
type CloudSink interface {
	Close(cause error)
	Desired(version int64, body []byte)
	Call(rid, method string, payload []byte) bool
	Message(m C2D, complete func()) bool
	// Wants reports whether the child may ever get a message; one that it may not is rejected.
	Wants(m C2D) bool
}

// Origin says where a child's connection comes from, and what it told about itself.
type Origin struct {
	Conn       uint64
	Address    string
	ModelID    string
	APIVersion string
}

// Downlink is a child's connection. Its methods must not block.
type Downlink interface {
	// Close ends the connection without a packet.
	Close(cause error)
	// Desired hands over a patch of desired properties, and reports whether the child has subscribed.
	Desired(version int64, body []byte) bool
	// Call hands over a method, and reports whether the child has subscribed.
	Call(rid, method string, payload []byte) bool
	// Message hands over a cloud-to-device message, and reports whether it will be sent.
	Message(m C2D, complete func()) bool
	// Wants judges a cloud-to-device message that the child is ready for: a refusal says why it never gets it.
	Wants(m C2D) *rule.Refusal
	// Input hands a message to an input of a module, and reports whether it will be sent.
	Input(input string, m *Message, complete func()) bool
}
