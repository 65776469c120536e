package dps

import (
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/store"
)

// Platform is the name of DPS in the journal.
const Platform = "dps"

// Config makes a Service. All fields but Webhook, HandOver and Faults are required.
type Config struct {
	Clock     clock.Clock
	IDs       *ids.Source
	Journal   *journal.Journal
	Store     *store.Store
	Allocator Allocator
	Webhook   Webhook // of custom allocation
	Log       *slog.Logger
	// HandOver is a warning for the journal where devices cannot follow an assignment as they would in
	// the cloud, such as a hub on another port than 8883; empty is none.
	HandOver string
	Faults   *fault.Set // asked at dps.register and dps.poll; nil has none
}

// Service holds every DPS instance. Its methods may be called concurrently.
type Service struct {
	Config
	certs pki.Cache

	admin       sync.Mutex // held while records that refer to each other change
	instances   *store.Table[Instance]
	scopes      *store.Table[string] // ID scope → instance name
	cas         *store.Table[CA]
	enrollments *store.Table[Enrollment]
	groups      *store.Table[Group]

	// stripes serialise the registrations of one device; admin is never taken while one is held.
	stripes       [64]sync.Mutex
	registrations *store.Table[Registration]
	challenges    challenges
	operations    *store.Table[operations]
	errands       *errands
}

// New returns a Service with the instances that cfg.Store holds. Close ends its webhook calls.
func New(cfg Config) *Service {
	s := &Service{
		Config:        cfg,
		errands:       newErrands(),
		instances:     store.NewTable(cfg.Store, "dps.instances", Instance.clone),
		scopes:        store.NewTable[string](cfg.Store, "dps.scopes", nil),
		cas:           store.NewTable[CA](cfg.Store, "dps.cas", nil),
		enrollments:   store.NewTable(cfg.Store, "dps.enrollments", Enrollment.clone),
		groups:        store.NewTable(cfg.Store, "dps.groups", Group.clone),
		registrations: store.NewTable(cfg.Store, "dps.registrations", Registration.clone),
		operations:    store.NewTable(cfg.Store, "dps.operations", operations.clone),
	}
	s.recover()
	s.resume()
	return s
}

// key is a record's key: ids are compared without case (concepts-service.md).
func key(instance, id string) string { return instance + "/" + strings.ToLower(id) }

// lock serialises work on one device's registration and returns the unlock.
func (s *Service) lock(key string) func() {
	h := fnv.New32a()
	h.Write([]byte(key))
	m := &s.stripes[h.Sum32()%uint32(len(s.stripes))]
	m.Lock()
	return m.Unlock
}
