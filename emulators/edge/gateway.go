package edge

import (
	"strconv"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// gateway is a running gateway. Lock order: sending, twinning, mu; none is held while the hub or a child is
// called, but for sending (held while messages go to the hub) and twinning (held while a twin does).
type gateway struct {
	svc  *Service
	name string

	mu        sync.Mutex
	set       Gateway
	live      map[string]*Session // by identity
	own       Cloud               // as $edgeHub, nil while the hub is away
	refreshed time.Time           // timers reading of the last look at the whole scope
	fetched   map[string]time.Time
	config    config
	timers    []clock.Timer // stopped with the gateway
	stopped   bool

	sending  sync.Mutex // guards what follows; held while messages are on their way to the hub
	queue    *queue
	draining bool
	retry    bool              // a retry is due
	expiry   clock.Timer       // of the message that ends first, or of one that is gone
	due      time.Time         // when expiry is
	flying   map[uint64]string // number → module that it is on its way to

	twinning sync.Mutex // held while a twin is read, changed or synchronised
}

func newGateway(s *Service, set Gateway) *gateway {
	return &gateway{
		svc: s, name: set.Name, set: set, live: map[string]*Session{}, fetched: map[string]time.Time{}, flying: map[uint64]string{},
		config: defaultConfig(), queue: openQueue(s.queued, set.Name),
	}
}

// start reads the scope and the configuration, and sends on what an earlier life has left.
func (g *gateway) start() {
	g.loadConfig()
	g.forgetClients()
	if !g.down() {
		g.connect()
	}
	g.every(refreshRate, func() { _, _ = g.refresh() })
	g.sending.Lock()
	g.armExpiry()
	g.sending.Unlock()
}

// every calls f again and again until the gateway stops.
func (g *gateway) every(d time.Duration, f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return
	}
	g.timers = append(g.timers[:0], g.svc.clock.AfterFunc(d, func() {
		f()
		g.every(d, f)
	}))
}

// stop ends every connection: the children's with a cause, and those to the hub.
func (g *gateway) stop(cause *rule.Refusal) {
	g.mu.Lock()
	g.stopped = true
	for _, t := range g.timers {
		t.Stop()
	}
	own := g.own
	g.own = nil
	g.mu.Unlock()
	g.sending.Lock()
	if g.expiry != nil {
		g.expiry.Stop()
	}
	g.sending.Unlock()
	for _, s := range g.sessions() {
		if cause != nil {
			s.cut(cause)
		}
		s.detach()
	}
	if own != nil {
		own.Close()
	}
}

// change takes new settings.
func (g *gateway) change(set Gateway) {
	g.mu.Lock()
	moved := set.Hub != g.set.Hub || set.DeviceID != g.set.DeviceID
	set.Down = g.set.Down
	g.set = set
	g.mu.Unlock()
	if moved {
		g.disconnect()
	}
	if !g.down() {
		g.connect()
	}
}

func (g *gateway) down() bool {
	g.mu.Lock()
	down, hub := g.set.Down || g.stopped, g.set.Hub
	g.mu.Unlock()
	return down || g.svc.upstream.Away(hub)
}

func (g *gateway) sessions() []*Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*Session, 0, len(g.live))
	for _, s := range g.live {
		all = append(all, s)
	}
	return all
}

// SetUpstream makes the hub reachable for a gateway or not.
func (s *Service) SetUpstream(name string, up bool) error {
	g, err := s.find(name)
	if err != nil {
		return err
	}
	g.mu.Lock()
	changed := g.set.Down == up
	g.set.Down = !up
	set := g.set
	g.mu.Unlock()
	if !changed {
		return nil
	}
	s.gateways.Put(g.name, set)
	state := map[bool]string{true: "up", false: "down"}[up]
	g.svc.journal.Append(journal.Event{Platform: Platform, Endpoint: g.name, Kind: journal.World, Detail: "the upstream is " + state,
		Properties: map[string]string{"upstream": state}})
	if up {
		g.connect()
	} else {
		g.disconnect()
	}
	return nil
}

// HubChanged makes the gateways of hubs that have gone away, or come back, do what such gateways do.
func (s *Service) HubChanged() {
	s.mu.Lock()
	all := make([]*gateway, 0, len(s.live))
	for _, g := range s.live {
		all = append(all, g)
	}
	s.mu.Unlock()
	for _, g := range all {
		if g.down() {
			g.disconnect()
		} else {
			g.connect()
		}
	}
}

// connect goes to the hub: as $edgeHub, and for every child that is connected. What was kept goes on.
func (g *gateway) connect() {
	g.connectOwn()
	_, _ = g.refresh() // an error is the hub going away again
	for _, s := range g.sessions() {
		s.attach()
	}
	g.syncTwins()
	g.kick()
}

// disconnect leaves the hub.
func (g *gateway) disconnect() {
	g.mu.Lock()
	own := g.own
	g.own = nil
	g.mu.Unlock()
	if own != nil {
		own.Close()
	}
	for _, s := range g.sessions() {
		s.detach()
	}
}

// lost asks the faults whether what is about to go to the hub for a child is lost on the way.
func (g *gateway) lost(device string) bool {
	if device == g.ownID().Name() {
		return false
	}
	_, hit := g.svc.faults.At(fault.Where{Step: fault.EdgeUpstream, Platform: Platform, Endpoint: g.name, Device: device})
	return hit
}

// maxClients is how many children are served at a time.
func (g *gateway) maxClients() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.set.MaxClients > 0 {
		return g.set.MaxClients
	}
	const edgeHubDefault = 100
	return edgeHubDefault
}

// Status is what a tester sees of a gateway.
type Status struct {
	Name     string            `json:"name"`
	Hosts    []string          `json:"hosts"`
	Hub      string            `json:"hub"`
	DeviceID string            `json:"deviceId"`
	Upstream string            `json:"upstream"` // up or down
	Children []string          `json:"children"` // identities of the scope
	Clients  []string          `json:"clients"`  // connected now
	Routes   map[string]string `json:"routes"`
	Queue    Queued            `json:"queue"`
}

// Queued is what waits.
type Queued struct {
	Messages int    `json:"messages"`
	Bytes    int    `json:"bytes"`
	Lanes    []Lane `json:"lanes"`
}

// Lane is what waits for one endpoint at one priority.
type Lane struct {
	Endpoint string    `json:"endpoint"` // $upstream or module/input
	Priority int       `json:"priority"` // 0 is sent first; the default is after 9
	Messages int       `json:"messages"`
	Expires  time.Time `json:"expires"` // of the first, by the timers reading; zero is never
}

// Status returns what a gateway holds now.
func (s *Service) Status(name string) (Status, error) {
	g, err := s.find(name)
	if err != nil {
		return Status{}, err
	}
	g.mu.Lock()
	set := g.set.clone()
	routes := map[string]string{}
	for _, r := range g.config.routes {
		routes[r.name] = r.route.Text
	}
	st := Status{Name: set.Name, Hosts: set.Names(), Hub: set.Hub, DeviceID: set.DeviceID, Upstream: "up", Routes: routes, Children: []string{}, Clients: []string{}}
	for _, c := range g.live {
		st.Clients = append(st.Clients, c.id.Name())
	}
	g.mu.Unlock()
	if set.Down || s.upstream.Away(set.Hub) {
		st.Upstream = "down"
	}
	for _, id := range s.identities.List(g.name + "\x00") {
		if id.DeviceID != set.DeviceID || id.ModuleID != "" {
			st.Children = append(st.Children, id.Name())
		}
	}
	sortStrings(st.Children, st.Clients)
	g.sending.Lock()
	defer g.sending.Unlock()
	g.dropExpired()
	st.Queue = g.queue.view()
	return st, nil
}

func (g *gateway) event(k journal.Kind, device, detail string) journal.Event {
	return journal.Event{Platform: Platform, Endpoint: g.name, Device: device, Kind: k, Detail: detail}
}

func count(n int) string { return strconv.Itoa(n) }
