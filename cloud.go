package fakecloud

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fakecloud/fakecloud/emulators/dps"
	dpsservice "github.com/fakecloud/fakecloud/emulators/dps/service"
	"github.com/fakecloud/fakecloud/emulators/edge"
	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/emulators/iothub/service"
	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/door"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/outbound"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/world"
)

// Cloud is a running instance. Its methods may be called concurrently.
type Cloud struct {
	config  Config
	seed    uint64
	clock   *clock.Control
	rules   *rule.Table
	journal *journal.Journal
	faults  *fault.Set
	hosts   *hosts.Table
	pki     *pki.Authority
	edgePKI *pki.Edge
	state   *store.Store         // holds the directory; of its own what outlives a reset
	kept    *store.Table[string] // what the instance remembers of itself
	starts  uint64               // how often it has started, this time too
	idSeed  uint64               // what every generation of this life makes its ids from
	tail    *journalTail         // nil without a data directory
	targets []outbound.Host      // that worlds have named; guarded by worldMu once listening
	first   *world.World         // what a reset seeds
	door    *door.Door
	https   atomic.Int64     // the first HTTPS port, once it is bound
	mqtts   atomic.Int64     // the port of MQTT over TLS, likewise
	out     *outbound.Policy // every call to somebody else's server

	current   atomic.Pointer[generation]
	hubsMu    sync.Mutex // held while failovers are carried out
	worldMu   sync.Mutex // serialises changes of the world, and of generations
	shut      bool       // Close has begun
	snapshots snapshots

	retiring sync.WaitGroup // generations that have been succeeded
	hurry    context.Context
	hurryUp  context.CancelFunc // what is retiring has to end now
	closing  sync.Once
	closed   error
}

// The platforms' MQTT servers.
const (
	dpsServer = iota
	hubServer
	mindServer
	iotServer
	edgeServer
	servers
)

// Rules returns every rule that this version enforces.
func Rules() *rule.Table {
	return rule.NewTable(door.Rules, outbound.Rules,
		dps.Rules, dpsservice.Rules,
		iothub.Rules, service.Rules,
		mindsphere.Rules,
		iotda.Rules,
		edge.Rules,
	)
}

// New runs an instance until Close. It has bound its ports and accepts when New returns. ctx is for the start
// only: nothing starts once it has ended.
func New(ctx context.Context, options ...Option) (*Cloud, error) {
	var c Config
	for _, o := range options {
		o(&c)
	}
	return Open(ctx, c)
}

// Open is New with a Config.
func Open(ctx context.Context, config Config) (*Cloud, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	config, err := config.withProfile()
	if err != nil {
		return nil, err
	}
	if config, err = config.inMemory(); err != nil {
		return nil, err
	}
	c := &Cloud{config: config, clock: clock.New(), rules: Rules(), hosts: hosts.New()}
	c.hurry, c.hurryUp = context.WithCancel(context.Background())
	c.seed = seedOf(config)
	c.journal = journal.New(c.clock, c.rules, journal.Options{})
	c.faults = fault.New(c.journal, ids.New(c.seed+1), c.clock)
	c.faults.Watch(c.hubsChanged)
	first, err := world.Load(config.World, config.WorldFiles...)
	if err != nil {
		return nil, err
	}
	toOutside, listen := outbound.Config{Allow: config.AllowOutbound}, net.Listen
	if config.memory != nil {
		toOutside.Dial, toOutside.Lookup, listen = config.memory.DialContext, lookupInMemory, config.memory.Listen
	}
	if c.out, err = outbound.New(toOutside); err != nil {
		return nil, fmt.Errorf("allow-outbound: %w", err)
	}
	first = world.WithProfile(first, config.Profile, c.seed)
	c.first = first
	if err := c.openState(); err != nil { // before all else that writes: it holds the directory's lock
		return nil, err
	}
	if err := c.start(first, listen); err != nil {
		return nil, errors.Join(err, c.undo())
	}
	if c.tail != nil {
		c.tail.run(c.door.LastConn)
	}
	c.pki.Warm()
	c.gen().warmEdge()
	return c, nil
}

// start makes what lies in front of the state, and opens the door at last.
func (c *Cloud) start(first *world.World, listen func(network, address string) (net.Listener, error)) error {
	if err := c.openPKI(first); err != nil {
		return err
	}
	if err := errors.Join(c.state.Err(), c.gen().state.Err(), c.seedWorld(first), c.gen().serve()); err != nil {
		return err
	}
	if _, err := c.faults.Put(faultsOf(first)...); err != nil {
		return err
	}
	var lastConn uint64
	if c.config.DataDir != "" {
		c.tail, lastConn = openTail(c.journal, c.state)
	}
	if err := c.state.Started(); err != nil { // a full disk, say; from here on changes wait for room
		return fmt.Errorf("state cannot be kept in %s: %w (make room, or --data takes another directory, --ephemeral none)", c.config.DataDir, err)
	}
	return c.open(lastConn, listen)
}

// undo ends an instance that has not started: its timers would keep it alive.
func (c *Cloud) undo() error {
	c.gen().abandon()
	c.out.Close()
	var err error
	if c.pki != nil {
		err = c.pki.Close()
	}
	return errors.Join(err, c.state.Close())
}

func seedOf(config Config) uint64 {
	if config.Seed != nil {
		return *config.Seed
	}
	var b [8]byte
	rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	return binary.BigEndian.Uint64(b[:]) >> 11
}

func (c *Cloud) openPKI(w *world.World) error {
	authority, err := pki.Open(pki.Options{
		Dir: c.config.DataDir, Advertise: c.config.Advertise, Addresses: c.localAddresses(),
		ServerKey: pki.ServerKey(c.config.ServerKey), RootUnconstrained: c.config.RootUnconstrained,
		ServerCA: c.config.ServerCA, ServerCAKey: c.config.ServerCAKey, Log: c.config.Log,
		Domains: hubDomains(w),
	})
	if err != nil {
		return err
	}
	c.pki, c.edgePKI = authority, authority.Edge()
	return nil
}

// newCores makes the platforms' cores on a store.
func (c *generation) newCores(j *journal.Journal, state *store.Store, source *ids.Source) platforms {
	mind := mindsphere.New(mindsphere.Config{Clock: c.clock, IDs: source, Journal: j, Store: state, Log: c.config.Log, Faults: c.faults})
	hub := iothub.New(iothub.Config{Clock: c.clock, IDs: source, Journal: j, Store: state, Log: c.config.Log, Faults: c.faults,
		Consumer: hubReader{mind}})
	registrar := dps.New(dps.Config{Clock: c.clock, IDs: source, Journal: j, Store: state,
		Allocator: allocator{hub, mind}, Webhook: dpsservice.Webhook{Caller: c.out}, Log: c.config.Log, HandOver: c.handOver(), Faults: c.faults})
	mind.Carry(mindsphere.EU2, hubCarrier{hub, mind})
	mind.EnrollAt(enroller{registrar, hub})
	iot := iotda.New(iotda.Config{Clock: c.clock, IDs: source, Journal: j, Store: state, Log: c.config.Log, Poster: c.out, HTTPSPort: c.httpsPort, MQTTSPort: c.mqttsPort})
	gateways := edge.New(edge.Config{Clock: c.clock, IDs: source, Journal: j, Store: state, Upstream: upstream{hub}, Log: c.config.Log, Faults: c.faults})
	return platforms{hub: hub, dps: registrar, mind: mind, iot: iot, edge: gateways}
}

// open opens the door in front of the platforms.
func (c *Cloud) open(lastConn uint64, listen func(network, address string) (net.Listener, error)) (err error) {
	c.door, err = door.Open(door.Config{
		Bind: c.config.Bind, Ports: c.doorPorts(), Listen: listen, Hosts: c.hosts, Advertise: c.config.Advertise,
		Certificates: c.pki, Journal: c.journal, Faults: c.faults, Log: c.config.Log, KeyLog: c.config.KeyLog, LastConn: lastConn,
		Platforms: c.atTheDoor(),
	})
	if err != nil {
		return err
	}
	c.mqtts.Store(int64(c.door.Ports().MQTTS))
	if len(c.door.Ports().HTTPS) > 0 {
		c.https.Store(int64(c.door.Ports().HTTPS[0]))
	}
	return nil
}

// closeTimeout bounds Close. What it waits for is over within a second, and takes longer on an overloaded machine only.
const closeTimeout = 10 * time.Second

// Close ends every connection and frees the ports. It may be called more than once.
func (c *Cloud) Close() error {
	c.closing.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		c.door.Stop()
		var errs []error
		c.worldMu.Lock() // nothing succeeds the generation any more
		defer c.worldMu.Unlock()
		c.shut = true
		for _, s := range c.gen().servers {
			errs = append(errs, s.Close(ctx))
		}
		c.gen().end()
		errs = append(errs, c.door.Close(ctx))
		c.gen().cores.close()
		c.endRetiring(ctx)
		if c.tail != nil {
			c.tail.close()
		}
		c.out.Close()
		errs = append(errs, c.state.Close(), c.closePKI(ctx))
		c.closed = errors.Join(errs...)
	})
	return c.closed
}

// keyGrace is how long Close waits for a server key that is still being made: nothing else needs it.
const keyGrace = 900 * time.Millisecond

// closePKI waits for the server's key, but not longer than keyGrace and ctx.
func (c *Cloud) closePKI(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keyGrace)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- c.pki.Close() }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return nil
	}
}
