package iothub

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/store"
)

// Platform is the platform's name in the journal.
const Platform = "iothub"

// Errors of the registry calls. They are wrapped with what is wrong.
var (
	ErrNotFound = store.ErrNotFound
	ErrExists   = store.ErrExists
	ErrInvalid  = errors.New("invalid")
	// ErrPrecondition says that an ETag does not match.
	ErrPrecondition = errors.New("etag does not match")
)

// Config makes a Service. All but the limits, Log, Faults and Consumer is required.
type Config struct {
	Clock   clock.Clock
	IDs     *ids.Source
	Journal *journal.Journal
	Store   *store.Store
	Log     *slog.Logger // nil discards
	Faults  *fault.Set   // asked at twin.get, twin.patch, method and token; nil has none
	// Consumer reads every device-to-cloud message; nil is none.
	Consumer Consumer
	// TelemetryMessages and TelemetryBytes bound the kept telemetry, the oldest goes first.
	// Zero takes 100,000 messages and 64 MiB.
	TelemetryMessages int
	TelemetryBytes    int
}

// Service is all hubs of one instance. Its methods may be called concurrently.
type Service struct {
	clock   clock.Clock
	ids     *ids.Source
	journal *journal.Journal
	faults  *fault.Set
	store   *store.Store
	log     *slog.Logger

	consumer Consumer

	hubs     *store.Table[Hub]
	devices  *store.Table[Device] // by hub and device id
	modules  *store.Table[Module] // by hub, device and module id
	twins    *store.Table[Twin]   // by hub, device and module id, the latter empty for a device's
	c2d      *store.Table[c2dQueue]
	assigned *store.Table[string] // device id -> hub, as DPS assigned it last

	telemetry    *store.Log[Message]
	forgotten    *store.Table[uint64] // glob of devices → number of the last message that was reset
	lastEnqueued atomic.Pointer[enqueued]
	calls        calls

	c2dMu     sync.Mutex // guards the queues, what sessions were sent of them, and what follows
	c2dTimers map[string]clock.Timer
	feedback  *store.Log[Feedback]

	side serviceSide // jobs and configurations

	files files // blobs and uploads

	throttles sync.Map // hub → *throttle, for hubs that have one
	troubles  troubles

	notify sync.Mutex // held over a change of desired properties and its delivery

	mu    sync.Mutex
	order int // of the last hub put
	live  map[string]*Session
	// related are the live sessions of a device and its modules, by hub and device id.
	related map[string][]*Session
}

// New returns a service with the hubs that its store holds.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		clock: c.Clock, ids: c.IDs, journal: c.Journal, faults: c.Faults, store: c.Store, log: c.Log, consumer: c.Consumer,
		hubs:      store.NewTable(c.Store, "iothub.hubs", Hub.clone, keptHub()),
		devices:   store.NewTable(c.Store, "iothub.devices", Device.clone, keptDevice()),
		modules:   store.NewTable(c.Store, "iothub.modules", Module.clone, keptModule()),
		twins:     store.NewTable(c.Store, "iothub.twins", Twin.clone),
		c2d:       store.NewTable(c.Store, "iothub.c2d", c2dQueue.clone),
		assigned:  store.NewTable[string](c.Store, "iothub.assigned", nil),
		telemetry: store.NewLog(c.Store, telemetryLog(c)),
		forgotten: store.NewTable[uint64](c.Store, "iothub.forgotten", nil),
		feedback: store.NewLog(c.Store, store.LogSpec[Feedback]{Name: "iothub.feedback", Count: maxFeedbackCount, Bytes: maxFeedbackBytes,
			Cost: (*Feedback).cost, Number: func(f *Feedback, n uint64) { f.Seq = n }, Codec: keptFeedback()}),
		live: map[string]*Session{}, related: map[string][]*Session{},
		side:  newServiceSide(c.Store),
		files: newFiles(c.Store),
	}
	s.recover()
	s.recoverJobs()
	return s
}

// key joins a hub's host and ids to a row's key. No part can hold the separator.
func key(hub string, ids ...string) string {
	k := hub
	for _, id := range ids {
		k += keySeparator + id
	}
	return k
}

const keySeparator = "\x00"

// Journal returns the journal that the service writes to, for its heads.
func (s *Service) Journal() *journal.Journal { return s.journal }

// Store returns the store that the service lives in, for its heads' own tables.
func (s *Service) Store() *store.Store { return s.store }

// Tracking returns an id and a time for an error's answer, as the hub puts into them.
func (s *Service) Tracking() (id string, at time.Time) {
	return s.ids.Hex(32), s.clock.Wall().UTC()
}
