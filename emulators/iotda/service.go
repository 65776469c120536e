package iotda

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

// Platform is the platform's name in the journal.
const Platform = "iotda"

// Config makes a Service. All but Log, Poster and the ports is required.
type Config struct {
	Clock   clock.Clock
	IDs     *ids.Source
	Journal *journal.Journal
	Store   *store.Store
	Log     *slog.Logger // nil discards
	Poster  Poster       // nil: nothing is forwarded
	// HTTPSPort returns the port of HTTPS, for addresses of files; nil is 443.
	HTTPSPort func() int
	// MQTTSPort returns the port of MQTT over TLS, for the provisioning service's answers; nil is 8883.
	MQTTSPort func() int
}

// Service is all IoTDA instances. Its methods may be called concurrently.
type Service struct {
	clock   clock.Clock
	ids     *ids.Source
	journal *journal.Journal
	log     *slog.Logger
	certs   pki.Cache

	admin     sync.Mutex // held while records that refer to each other change
	instances *store.Table[Instance]
	apps      *store.Table[App]
	products  *store.Table[Product]
	devices   *store.Table[Device]
	cas       *store.Table[CA]
	templates *store.Table[Template]
	policies  *store.Table[Policy]
	shadows   *store.Table[shadow]
	messages  *store.Table[mailbox]
	families  *store.Table[family] // of gateways that have or had children

	routing *store.Table[RoutingRule]
	actions *store.Table[RoutingAction]

	objects  objects
	packages *store.Table[Package]
	tasks    *store.Table[Task]
	groups   *store.Table[Group]
	queues   *store.Table[Queue]
	tunnels  *store.Table[Tunnel]

	poster    Poster
	httpsPort func() int
	mqttsPort func() int
	out       outboxes
	waiting   waiters
	mids      atomic.Uint32 // numbers commands of the v3 interface

	mu   sync.Mutex // guards live; never held while a connection is closed or written to
	live map[string]*Session
}

// New returns a Service with what cfg.Store holds. The caller calls Close at the end.
func New(cfg Config) *Service {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{
		clock: cfg.Clock, ids: cfg.IDs, journal: cfg.Journal, log: cfg.Log,
		instances: store.NewTable[Instance](cfg.Store, "iotda.instances", nil),
		apps:      store.NewTable(cfg.Store, "iotda.apps", nil, keptApp()),
		products:  store.NewTable(cfg.Store, "iotda.products", nil, keptProduct()),
		devices:   store.NewTable(cfg.Store, "iotda.devices", nil, keptDevice()),
		cas:       store.NewTable[CA](cfg.Store, "iotda.cas", nil),
		templates: store.NewTable(cfg.Store, "iotda.templates", nil, keptTemplate()),
		policies:  store.NewTable(cfg.Store, "iotda.policies", nil, keptPolicy()),
		shadows:   store.NewTable[shadow](cfg.Store, "iotda.shadows", nil),
		messages:  store.NewTable[mailbox](cfg.Store, "iotda.messages", nil),
		families:  store.NewTable[family](cfg.Store, "iotda.gateways", nil),
		routing:   store.NewTable[RoutingRule](cfg.Store, "iotda.rules", nil),
		actions:   store.NewTable[RoutingAction](cfg.Store, "iotda.actions", nil),
		objects:   newObjects(cfg.Store),
		packages:  store.NewTable(cfg.Store, "iotda.packages", nil, keptPackage()),
		tasks:     store.NewTable(cfg.Store, "iotda.tasks", Task.clone),
		groups:    store.NewTable[Group](cfg.Store, "iotda.groups", nil),
		queues:    store.NewTable[Queue](cfg.Store, "iotda.queues", nil),
		tunnels:   store.NewTable[Tunnel](cfg.Store, "iotda.tunnels", nil),
		poster:    cfg.Poster,
		httpsPort: cfg.HTTPSPort,
		mqttsPort: cfg.MQTTSPort,
		out:       outboxes{ctx: ctx, cancel: cancel, waiting: map[string][]parcel{}},
		live:      map[string]*Session{},
	}
	s.resume()
	return s
}

const keySeparator = "\x1f"

func key(parts ...string) string { return strings.Join(parts, keySeparator) }

// Code is an error code of the application API ("Error Codes", iot_06_v5_0018).
type Code string

// The error codes.
const (
	CodeInvalid       Code = "IOTDA.000006" // invalid input data
	CodeFormat        Code = "IOTDA.000008" // bad request format
	CodeTime          Code = "IOTDA.000009" // a time of another form
	CodePeriod        Code = "IOTDA.000010" // the start lies after the end
	CodeLimit         Code = "IOTDA.000017" // limit out of range
	CodeNoDevice      Code = "IOTDA.014000" // the device does not exist
	CodeNotOnline     Code = "IOTDA.014016" // the device is not online
	CodeTimeout       Code = "IOTDA.014111" // the device did not answer in time
	CodeNotSubscribed Code = "IOTDA.014112" // the device has not subscribed to the topic
	CodeNotFound      Code = "IOTDA.000005" // another record does not exist; the number is our own choice
	CodeConflict      Code = "IOTDA.000007" // it exists already, or is in use; the number is our own choice
	CodeForeignChild  Code = "IOTDA.021104" // the child belongs to another gateway
)

// Error is an error of the application API. Refusal, where set, is the rule that was broken; it is in the
// journal already.
type Error struct {
	Code    Code
	Text    string
	Refusal *rule.Refusal
}

// Error implements error.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Text }

// ErrorInfo is an error within a record of the API.
type ErrorInfo struct {
	Code Code   `json:"error_code"`
	Text string `json:"error_msg"`
}

// Info returns the error as records show it.
func (e *Error) Info() *ErrorInfo { return &ErrorInfo{e.Code, e.Text} }

func invalid(format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Text: fmt.Sprintf(format, args...)}
}

func notFound(what, id string) *Error {
	return &Error{Code: CodeNotFound, Text: fmt.Sprintf("%s %q does not exist", what, clip(id))}
}

func conflict(format string, args ...any) *Error {
	return &Error{Code: CodeConflict, Text: fmt.Sprintf(format, args...)}
}

// NewID makes an id for what an application sends without one.
func (s *Service) NewID() string { return s.ids.GUID() }

// Now returns the platform's time.
func (s *Service) Now() time.Time { return s.clock.Wall() }

// refuseAPI journals a refused call of the application API.
func (s *Service) refuseAPI(instance, device string, code Code, r *rule.Refusal) *Error {
	r.Silent = true // its status is the API's to choose
	s.journal.Refuse(journal.Event{Platform: Platform, Endpoint: instance, Device: device, Dir: journal.In}, r)
	return &Error{Code: code, Text: r.Detail, Refusal: r}
}

// after returns a channel that is closed when the timers clock has moved on by d.
func (s *Service) after(d time.Duration) (expired <-chan struct{}, stop func()) {
	c := make(chan struct{})
	t := s.clock.AfterFunc(d, func() { close(c) })
	return c, func() { t.Stop() }
}

// clip shortens what a client sent, for messages.
func clip(text string) string {
	const most = 256
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// listed joins names for a person, at most ten.
func listed(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
