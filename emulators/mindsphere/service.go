package mindsphere

import (
	"log/slog"
	"sync"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/store"
)

// Platform is the platform's name in the journal.
const Platform = "mindsphere"

// HostEU1 is the broker that all tenants of region eu1 share ("MindConnect MQTT Broker"). It is also the
// journal's endpoint for agents whose tenant cannot be told.
const HostEU1 = "mindconnectmqtt.eu1.mindsphere.io"

// vendorDomain ends all of MindSphere's own names.
const vendorDomain = ".mindsphere.io"

// Config makes a Service. All but Log and Faults is required.
type Config struct {
	Clock   clock.Clock
	IDs     *ids.Source
	Journal *journal.Journal
	Store   *store.Store
	Log     *slog.Logger // nil discards
	Faults  *fault.Set   // asked at token; nil has none
}

// Service is all tenants of one instance. Its methods may be called concurrently.
type Service struct {
	clock   clock.Clock
	ids     *ids.Source
	journal *journal.Journal
	faults  *fault.Set
	store   *store.Store
	log     *slog.Logger
	certs   pki.Cache

	admin   sync.Mutex // held while records that refer to each other change
	tenants *store.Table[Tenant]
	cas     *store.Table[CA]    // by tenant and id
	agents  *store.Table[Agent] // by client id
	assets  *store.Table[Asset] // by tenant and asset id

	models      *store.Table[Model]             // by client id and external id
	aspectTypes *store.Table[AspectType]        // by tenant and id
	assetTypes  *store.Table[AssetType]         // by tenant and id
	built       *store.Table[built]             // by client id
	jobs        *store.Table[Job]               // by tenant and id
	commands    *store.Table[JobCommand]        // by job and id
	issued      *store.Table[IssuedCertificate] // by tenant and id
	prints      *store.Table[string]            // SHA-256 thumbprint → key in issued
	data        data
	forgotten   *store.Table[forgotten] // by glob of client ids
	secret      []byte

	enrolling sync.Mutex // held over a change of what DPS knows of a tenant, so that the newest state wins
	enroller  Enroller

	mu       sync.Mutex
	live     map[string]*Session // by client id
	carriers map[Region]Carrier
}

// New returns a service; its state lives in c.Store, and provisionings that it holds go on.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		clock: c.Clock, ids: c.IDs, journal: c.Journal, faults: c.Faults, store: c.Store, log: c.Log,
		tenants:  store.NewTable(c.Store, "mindsphere.tenants", Tenant.clone),
		cas:      store.NewTable[CA](c.Store, "mindsphere.cas", nil),
		agents:   store.NewTable(c.Store, "mindsphere.agents", Agent.clone),
		assets:   store.NewTable[Asset](c.Store, "mindsphere.assets", nil),
		live:     map[string]*Session{},
		carriers: map[Region]Carrier{},

		models:      store.NewTable(c.Store, "mindsphere.models", Model.clone),
		aspectTypes: store.NewTable(c.Store, "mindsphere.aspectTypes", AspectType.clone),
		assetTypes:  store.NewTable(c.Store, "mindsphere.assetTypes", AssetType.clone),
		built:       store.NewTable(c.Store, "mindsphere.built", built.clone),
		jobs:        store.NewTable(c.Store, "mindsphere.jobs", Job.clone),
		commands:    store.NewTable(c.Store, "mindsphere.commands", JobCommand.clone),
		issued:      store.NewTable[IssuedCertificate](c.Store, "mindsphere.issued", nil),
		prints:      store.NewTable[string](c.Store, "mindsphere.prints", nil),
		data:        newData(c.Store),
		forgotten:   store.NewTable[forgotten](c.Store, "mindsphere.forgotten", nil),
		secret:      newSecret(),
	}
	s.resume()
	return s
}

// Journal returns the journal that the service writes to, for its heads.
func (s *Service) Journal() *journal.Journal { return s.journal }

// Store returns the store that the service lives in, for its heads' own tables.
func (s *Service) Store() *store.Store { return s.store }

// Clock returns the service's clock, for its heads.
func (s *Service) Clock() clock.Clock { return s.clock }

// key joins a tenant's name and an id to a row's key; tenant names have no slash.
func key(tenant, id string) string { return tenant + "/" + id }
