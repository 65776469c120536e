package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

// Config makes a Service. All but Log and Faults is required.
type Config struct {
	Clock    clock.Clock
	IDs      *ids.Source
	Journal  *journal.Journal
	Store    *store.Store
	Upstream Upstream
	Log      *slog.Logger // nil discards
	Faults   *fault.Set   // asked at edge.upstream; nil has none
}

// Service is all gateways of one instance. Its methods may be called concurrently.
type Service struct {
	clock    clock.Clock
	ids      *ids.Source
	journal  *journal.Journal
	faults   *fault.Set
	store    *store.Store
	upstream Upstream
	log      *slog.Logger

	gateways   *store.Table[Gateway]
	identities *store.Table[Identity] // by gateway, device and module
	twins      *store.Table[twin]     // by gateway and identity
	queued     *store.Table[stored]   // by gateway, endpoint, priority and number

	mu      sync.Mutex
	running bool
	live    map[string]*gateway // while running
	order   int
	workers sync.WaitGroup
}

// New returns a service with the gateways that its store holds. Nothing of it moves before Start.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		clock: c.Clock, ids: c.IDs, journal: c.Journal, faults: c.Faults, store: c.Store, upstream: c.Upstream, log: c.Log,
		gateways:   store.NewTable(c.Store, "edge.gateways", Gateway.clone),
		identities: store.NewTable(c.Store, "edge.identities", Identity.clone),
		twins:      store.NewTable(c.Store, "edge.twins", twin.clone),
		queued:     store.NewTable[stored](c.Store, "edge.queue", nil),
		live:       map[string]*gateway{},
	}
	for _, g := range s.gateways.List("") {
		s.order = max(s.order, g.Order)
	}
	return s
}

// key joins parts of a row's key. No part can hold the separator.
func key(parts ...string) string { return strings.Join(parts, "\x00") }

// Journal returns the journal that the service writes to, for its heads.
func (s *Service) Journal() *journal.Journal { return s.journal }

// Wall is the time that messages and subscriptions are stamped with.
func (s *Service) Wall() time.Time { return s.clock.Wall() }

// Store returns the store that the service lives in, for its heads' own tables.
func (s *Service) Store() *store.Store { return s.store }

// Start connects the gateways with their hubs.
func (s *Service) Start() {
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
	for _, g := range s.Gateways() {
		s.begin(g)
	}
}

// Close disconnects every gateway from its hub; what is stored stays.
func (s *Service) Close() {
	s.mu.Lock()
	s.running = false
	live := s.live
	s.live = map[string]*gateway{}
	s.mu.Unlock()
	for _, g := range live {
		g.stop(nil)
	}
	s.workers.Wait()
}

// PutGateway creates a gateway or replaces the settings of one, whose children and queue stay.
func (s *Service) PutGateway(g Gateway) error {
	g.Name = strings.ToLower(g.Name)
	if err := g.check(); err != nil {
		return err
	}
	s.mu.Lock()
	if old, ok := s.gateways.Get(g.Name); ok {
		g.Order, g.Down = old.Order, old.Down
	} else {
		s.order++
		g.Order = s.order
	}
	s.gateways.Put(g.Name, g)
	running, live := s.running, s.live[g.Name]
	s.mu.Unlock()
	switch {
	case live != nil:
		live.change(g)
	case running:
		s.begin(g)
	}
	return nil
}

func (g *Gateway) check() error {
	switch g.Mode {
	case "":
		g.Mode = ModeScope
	case ModeScope, ModeCloudAndScope:
	default:
		return fmt.Errorf("%w: authentication mode %q: it is %s or %s", ErrInvalid, g.Mode, ModeScope, ModeCloudAndScope)
	}
	if g.Name == "" || g.Hub == "" || g.DeviceID == "" {
		return fmt.Errorf("%w: a gateway needs a host name, a hub and the id of its edge device", ErrInvalid)
	}
	for _, ca := range g.TrustBundle {
		if _, err := pki.ParseCertificates([]byte(ca.Certificate)); err != nil {
			return fmt.Errorf("%w: trust bundle, %s: %w", ErrInvalid, ca.Name, err)
		}
	}
	if (g.CA == "") != (g.CAKey == "") {
		return fmt.Errorf("%w: an edge CA needs its certificate and its key", ErrInvalid)
	}
	if g.CA == "" {
		return nil
	}
	certs, err := pki.ParseCertificates([]byte(g.CA))
	if err != nil {
		return fmt.Errorf("%w: edge CA: %w", ErrInvalid, err)
	}
	caKey, err := pki.ParseKey([]byte(g.CAKey))
	if err == nil {
		err = pki.CheckEdgeCA(certs, caKey)
	}
	if err != nil {
		return fmt.Errorf("%w: edge CA: %w", ErrInvalid, err)
	}
	return nil
}

// Gateway returns the gateway of a host name.
func (s *Service) Gateway(name string) (Gateway, bool) {
	if g, ok := s.gateways.Get(strings.ToLower(name)); ok {
		return g, true
	}
	for _, g := range s.gateways.List("") {
		if slices.ContainsFunc(g.Hosts, func(h string) bool { return strings.EqualFold(h, name) }) {
			return g, true
		}
	}
	return Gateway{}, false
}

// Gateways returns all gateways in the order in which they were made.
func (s *Service) Gateways() []Gateway {
	all := s.gateways.List("")
	sort.Slice(all, func(i, j int) bool { return all[i].Order < all[j].Order })
	return all
}

// DeleteGateway removes a gateway with all it holds, and closes its children's connections.
func (s *Service) DeleteGateway(name string) bool {
	name = strings.ToLower(name)
	s.mu.Lock()
	live := s.live[name]
	delete(s.live, name)
	known := s.gateways.Delete(name)
	s.mu.Unlock()
	if live != nil {
		live.stop(&rule.Refusal{Rule: "EDGE-11/gateway", Silent: true, Detail: "the gateway was removed"})
	}
	for _, table := range []interface {
		Keys(string) []string
		Delete(string) bool
	}{s.identities, s.twins, s.queued} {
		for _, k := range table.Keys(name + "\x00") {
			table.Delete(k)
		}
	}
	return known
}

// Claim returns the gateway for a child that did not come by a gateway's name: the one whose scope has the
// device, else the first one.
func (s *Service) Claim(device string) (name string, ok bool) {
	all := s.Gateways()
	for _, g := range all {
		if _, known := s.identities.Get(key(g.Name, device, "")); known {
			return g.Name, true
		}
	}
	if len(all) == 0 {
		return "", false
	}
	return all[0].Name, true
}

// begin makes a gateway run.
func (s *Service) begin(set Gateway) {
	g := newGateway(s, set)
	s.mu.Lock()
	if !s.running || s.live[set.Name] != nil {
		s.mu.Unlock()
		return
	}
	s.live[set.Name] = g
	s.mu.Unlock()
	g.start()
}

func (s *Service) find(name string) (*gateway, error) {
	set, ok := s.Gateway(name)
	if !ok {
		var names []string
		for _, g := range s.Gateways() {
			names = append(names, g.Name)
		}
		return nil, fmt.Errorf("gateway %s: %w; there are %s", quote(name), ErrNotFound, strings.Join(names, ", "))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.live[set.Name]
	if g == nil {
		return nil, errors.New("the gateways are not running")
	}
	return g, nil
}

// quote shows a client's text in an error, cut to a sane length.
func quote(text string) string {
	const most = 140
	if len(text) > most {
		return fmt.Sprintf("%q… (%d bytes)", text[:most], len(text))
	}
	return fmt.Sprintf("%q", text)
}

func refusal(id rule.ID, detail, seen, expected string) *rule.Refusal {
	return &rule.Refusal{Rule: id, Detail: detail, Seen: seen, Expected: expected}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
