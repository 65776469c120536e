package fakecloud

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/fakecloud/fakecloud/emulators/dps"
	dpsarm "github.com/fakecloud/fakecloud/emulators/dps/arm"
	dpsmqtt "github.com/fakecloud/fakecloud/emulators/dps/mqtt"
	"github.com/fakecloud/fakecloud/emulators/edge"
	edgemqtt "github.com/fakecloud/fakecloud/emulators/edge/mqtt"
	iotmqtt "github.com/fakecloud/fakecloud/emulators/iotda/mqtt"
	"github.com/fakecloud/fakecloud/emulators/iothub"
	hubmqtt "github.com/fakecloud/fakecloud/emulators/iothub/mqtt"
	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	mindmqtt "github.com/fakecloud/fakecloud/emulators/mindsphere/mqtt"
	mindrest "github.com/fakecloud/fakecloud/emulators/mindsphere/rest"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/door"
	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/store"
)

// generation is everything that a reset throws away: the platforms' cores with their state, their servers
// with their connections, and their timers. A reset, a restored snapshot and a replaced world make the
// next one beside the running one, without anybody seeing it, and then put it in its place: either the
// whole of it or, after an error, nothing. What stays for the life of the instance is in Cloud.
//
// To add a platform: its core in platforms and newCores, its server and its place at the door in serve,
// its part in parts (part says what that has to do), its names in nameHosts, and in apply.go and export.go
// its section of the world.
type generation struct {
	*Cloud
	clock   *clock.Scope // in place of the instance's: the timers of this generation
	hosts   *hosts.Table // the instance's, from the moment that this is the generation in use
	state   *store.Store // in place of the instance's: the platforms' part of it
	cores   platforms
	servers [servers]*broker.Server
	doors   []door.Platform
	parts   []part

	life context.Context // ends with the generation
	end  context.CancelFunc
}

// newGeneration makes cores on a store that nobody else uses.
func (c *Cloud) newGeneration(state *store.Store) *generation {
	g := &generation{Cloud: c, clock: clock.NewScope(c.clock), hosts: hosts.New(), state: state}
	g.life, g.end = context.WithCancel(context.Background())
	g.cores = g.newCores(c.journal, state, ids.New(c.idSeed))
	return g
}

// close ends what cores do of themselves, beside their timers.
func (p platforms) close() {
	p.iot.Close()
	p.edge.Close()
	p.dps.Close()
}

// gen returns the generation in use.
func (c *Cloud) gen() *generation { return c.current.Load() }

// serve makes the platforms' servers and what the door and the control plane see of each platform.
func (c *generation) serve() error {
	base := broker.Config{Journal: c.journal, Clock: c.clock, Log: c.config.Log, Faults: c.faults, Unavailable: c.trouble}
	registrar := dpsmqtt.New(c.cores.dps)
	forDPS := base
	forDPS.Platform, forDPS.Head, forDPS.Levels = dps.Platform, registrar, dpsmqtt.Levels
	forDPS.MaxPacket, forDPS.Rules, forDPS.Mask = dpsmqtt.MaxPacket, dpsmqtt.BrokerRules, dpsmqtt.Mask
	for i, config := range [servers]broker.Config{
		dpsServer:  forDPS,
		hubServer:  hubmqtt.Config(c.cores.hub, base),
		mindServer: mindmqtt.Config(c.cores.mind, base),
		iotServer:  iotmqtt.Config(c.cores.iot, base),
		edgeServer: edgemqtt.Config(c.cores.edge, base),
	} {
		server, err := broker.New(config)
		if err != nil {
			return err
		}
		c.servers[i] = server
	}
	c.doors = []door.Platform{
		{Name: dps.Platform, Claim: c.claimDPS(registrar), MQTT: c.servers[dpsServer], HTTP: c.dpsHTTP(), WebSocket: anyPath},
		{Name: iothub.Platform, Claim: c.claimHub, MQTT: c.servers[hubServer], HTTP: c.hubHTTP(), WebSocket: hubStreams},
		{Name: hosts.ARM, Claim: claimARM, HTTP: dpsarm.New(c.cores.dps, door.PeerOf, c.config.Log)},
		{Name: mindsphere.Platform, Claim: c.claimMindSphere, MQTT: c.servers[mindServer], HTTP: mindrest.New(c.cores.mind, door.PeerOf, c.config.Log)},
		c.iotdaPlatform(c.servers[iotServer]),
		{Name: edge.Platform, Claim: c.claimEdge, MQTT: c.servers[edgeServer], WebSocket: hubStreams, Certificate: c.edgeCertificate,
			Distrusted: edgeDistrusted, ConnectTimeout: edgemqtt.ConnectTimeout},
	}
	c.parts = []part{hubPart{c}, dpsPart{c}, mindPart{c}, iotPart{c}, edgePart{c}}
	if err := c.state.Err(); err != nil { // of the heads' tables
		return err
	}
	c.cores.edge.Start()
	return nil
}

// atTheDoor is what the door sees of the platforms: whichever generation is in use.
func (c *Cloud) atTheDoor() []door.Platform {
	platforms := make([]door.Platform, len(c.gen().doors))
	for i, p := range c.gen().doors {
		if p.Claim != nil {
			p.Claim = func(h *door.Hello) door.Claim { return c.gen().doors[i].Claim(h) }
		}
		if p.Certificate != nil {
			p.Certificate = func(hello *tls.ClientHelloInfo, own bool) (*tls.Certificate, error) {
				return c.gen().doors[i].Certificate(hello, own)
			}
		}
		if p.MQTT != nil {
			p.MQTT = serverOf(func() door.MQTTServer { return c.gen().doors[i].MQTT })
		}
		if p.HTTP != nil {
			p.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.gen().serveHTTP(i, w, r) })
		}
		platforms[i] = p
	}
	return platforms
}

type serverOf func() door.MQTTServer

// Serve implements door.MQTTServer.
func (s serverOf) Serve(conn net.Conn, peer broker.Peer) error { return s().Serve(conn, peer) }

// serveHTTP lets a platform answer a request, which ends with the generation at the latest.
func (c *generation) serveHTTP(platform int, w http.ResponseWriter, r *http.Request) {
	if err := c.trouble(); err != nil {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": err.Error()}) // a client that has gone needs no answer
		return
	}
	ctx, done := c.within(r.Context())
	defer done()
	c.doors[platform].HTTP.ServeHTTP(w, r.WithContext(ctx))
}

// within returns a context that ends with ctx or with the generation.
func (c *generation) within(ctx context.Context) (bound context.Context, done func()) {
	bound, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.life, cancel)
	return bound, func() {
		stop()
		cancel()
	}
}

// succeed puts the next generation in the place of the one in use, whose connections are dead when it
// returns, for the reason that why tells; their sockets close after that. The caller holds worldMu.
func (c *Cloud) succeed(next *generation, why error) {
	old := c.gen()
	next.state.Succeed(old.state)
	c.hosts.Take(next.hosts)
	next.hosts = c.hosts
	c.current.Store(next)
	if errors.Is(why, errReplaced) {
		old.dissolve()
	}
	for _, s := range old.servers {
		s.Kill(why)
	}
	c.retiring.Go(func() {
		if err := old.retire(c.hurry); err != nil {
			c.config.Log.Warn("what was before a reset has not ended", "cause", err)
		}
	})
}

// dissolve removes every instance, so that each platform tells its devices' connections in its own terms
// that what they were connected to has gone.
func (c *generation) dissolve() {
	for _, g := range c.cores.edge.Gateways() {
		c.cores.edge.DeleteGateway(g.Name)
	}
	for _, h := range c.cores.hub.Hubs() {
		if err := c.cores.hub.DeleteHub(h.Host); err != nil {
			c.config.Log.Warn("hub not removed", "endpoint", h.Host, "cause", err)
		}
	}
	for _, t := range c.cores.mind.Tenants() {
		c.cores.mind.DeleteTenant(t.Name)
	}
	for _, i := range c.cores.iot.Instances() {
		c.cores.iot.DeleteInstance(i.Name)
	}
	for _, i := range c.cores.dps.Instances() {
		c.cores.dps.DeleteInstance(i.Name)
	}
}

// endRetiring waits for generations that have been succeeded, but not longer than ctx.
func (c *Cloud) endRetiring(ctx context.Context) {
	defer context.AfterFunc(ctx, c.hurryUp)()
	c.retiring.Wait()
	c.hurryUp()
}

// retire ends what is left of a generation: requests, connections, work of the cores, timers.
func (c *generation) retire(ctx context.Context) error {
	c.end()
	errs := make([]error, len(c.servers))
	var closing sync.WaitGroup
	for i, s := range c.servers {
		closing.Go(func() { errs[i] = s.Close(ctx) })
	}
	closing.Wait()
	c.cores.hub.Reset(errReset)
	c.cores.close()
	c.clock.Close()
	return errors.Join(errs...)
}
