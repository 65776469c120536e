package edge

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Session is one live connection of a child. Its methods may be called concurrently.
type Session struct {
	gw     *gateway
	id     Identity
	guest  bool
	origin Origin
	down   Downlink
	ended  atomic.Bool

	attaching sync.Mutex
	cloud     atomic.Pointer[link]

	// seen is the twin that a child had when it subscribed to desired properties and had not read it yet.
	// Guarded by the gateway's twinning.
	seen *twin
}

// link is a connection to the hub, by a pointer of its own.
type link struct{ Cloud }

// Open makes a connection of a child the live one; an earlier one of the same child is closed (EDGE-17).
// Beyond the number of clients that a gateway serves the session is without service: what it sends is
// lost. The caller calls Close when the connection has ended, whoever ended it.
func (s *Service) Open(a Admission, o Origin, d Downlink) *Session {
	c := &Session{id: a.Identity, guest: a.Guest, origin: o, down: d}
	g, err := s.find(a.Gateway)
	if err != nil {
		c.ended.Store(true)
		d.Close(err)
		return c
	}
	c.gw = g
	k := a.Identity.Name()
	most := g.maxClients()
	g.mu.Lock()
	old := g.live[k]
	full := old == nil && len(g.live) >= most
	if !full {
		g.live[k] = c
	}
	g.mu.Unlock()
	if full {
		c.ended.Store(true)
		s.journal.Refuse(c.Event(journal.Refused), refusal("EDGE-17/clients", "the gateway serves no more clients; this one stays connected and is not served",
			count(most)+" clients", "at most "+count(most)+" (maxClients)"))
		return c
	}
	if old != nil {
		old.cut(refusal("EDGE-17/takeover", "another connection of "+k+" took over", "", "one connection per identity"))
	}
	if r := g.stillAllowed(a.Identity); r != nil && !a.Guest {
		c.cut(r)
		return c
	}
	c.attach()
	g.reportClient(k, true)
	g.pumpModule(c)
	s.log.Info("connected", "endpoint", g.name, "device", k, "conn", o.Conn)
	return c
}

// Identity returns whose session it is.
func (c *Session) Identity() Identity { return c.id }

// Ended reports whether the connection was closed, cut or is not served.
func (c *Session) Ended() bool { return c.ended.Load() }

// Close tells that the connection has ended.
func (c *Session) Close() {
	c.ended.Store(true)
	if c.gw == nil {
		return
	}
	g, k := c.gw, c.id.Name()
	g.mu.Lock()
	current := g.live[k] == c
	if current {
		delete(g.live, k)
	}
	g.mu.Unlock()
	c.detach()
	if current {
		g.landed(c.id)
		g.reportClient(k, false)
		g.svc.log.Info("disconnected", "endpoint", g.name, "device", k, "conn", c.origin.Conn)
	}
}

// cut ends the connection from our side.
func (c *Session) cut(cause error) {
	c.ended.Store(true)
	c.down.Close(cause)
}

// Event returns the journal event that all of the session's events start from.
func (c *Session) Event(k journal.Kind) journal.Event {
	e := journal.Event{Platform: Platform, Conn: c.origin.Conn, Address: c.origin.Address, Device: c.id.Name(), Kind: k, Dir: journal.In}
	if c.gw != nil {
		e.Endpoint = c.gw.name
	}
	return e
}

// attach connects the child with the hub while that can be reached, and returns the connection or nil.
func (c *Session) attach() Cloud {
	if l := c.cloud.Load(); l != nil {
		return l.Cloud
	}
	c.attaching.Lock()
	defer c.attaching.Unlock()
	if l := c.cloud.Load(); l != nil {
		return l.Cloud
	}
	if c.Ended() || c.gw.down() {
		return nil
	}
	sink := &uplink{session: c}
	cloud, err := c.gw.svc.upstream.Open(c.gw.hubHost(), c.id, c.origin, sink)
	if err != nil {
		c.gw.svc.log.Warn("a child has no connection to the hub", "endpoint", c.gw.name, "device", c.id.Name(), "cause", err)
		return nil
	}
	l := &link{cloud}
	sink.own.Store(l)
	c.cloud.Store(l)
	if c.gw.down() || c.Ended() { // it went away meanwhile
		c.detach()
		return nil
	}
	return cloud
}

func (c *Session) detach() {
	if l := c.cloud.Swap(nil); l != nil {
		l.Close()
	}
}

// uplink is what the hub sees of a child's connection.
type uplink struct {
	session *Session
	own     atomic.Pointer[link]
}

var _ CloudSink = (*uplink)(nil)

// Close implements CloudSink. The child's own connection stays unless the hub no longer knows it: somebody
// may have connected to the hub under its id.
func (u *uplink) Close(cause error) {
	c := u.session
	if l := u.own.Load(); l != nil && c.cloud.CompareAndSwap(l, nil) {
		l.Close()
	}
	var r *rule.Refusal
	if errors.As(cause, &r) && !c.guest && !c.gw.down() {
		c.gw.fetch(c.gw.settings(), c.id.DeviceID, c.id.ModuleID)
		if r := c.gw.stillAllowed(c.id); r != nil {
			c.cut(r)
		}
	}
}

// Desired implements CloudSink.
func (u *uplink) Desired(version int64, body []byte) { u.session.desired(version, body) }

// Call implements CloudSink.
func (u *uplink) Call(rid, method string, payload []byte) bool {
	c := u.session
	if c.Ended() || !c.down.Call(rid, method, payload) {
		return false
	}
	e := c.Event(journal.Method)
	e.Dir, e.Detail, e.Payload = journal.Out, "method "+method+" called", payload
	e.Properties = map[string]string{"method": method, "rid": rid}
	c.gw.svc.journal.Append(e)
	return true
}

// Message implements CloudSink.
func (u *uplink) Message(m C2D, complete func()) bool {
	return !u.session.Ended() && u.session.down.Message(m, complete)
}

// Wants implements CloudSink.
func (u *uplink) Wants(m C2D) bool {
	c := u.session
	if c.Ended() {
		return true
	}
	r := c.down.Wants(m)
	if r != nil {
		e := c.Event(journal.Refused)
		e.Dir = journal.Out
		c.gw.svc.journal.Refuse(e, r)
	}
	return r == nil
}

func (g *gateway) settings() Gateway {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.set.clone()
}

// MethodsReady tells that the child can answer methods now.
func (c *Session) MethodsReady() {
	if cloud := c.service(); cloud != nil {
		cloud.MethodsReady()
	}
}

// DesiredReady tells that the child hears of desired properties now. What they are is looked at, so that a child
// that never reads its twin hears of what changes while the hub is away (EDGE-35).
func (c *Session) DesiredReady() {
	cloud := c.service()
	if cloud == nil {
		return
	}
	c.gw.twinning.Lock()
	defer c.gw.twinning.Unlock()
	if t, _ := c.gw.svc.twins.Get(c.gw.twinKey(c.id)); t.DesiredVersion > 0 {
		return
	}
	if body, err := cloud.Look(); err == nil {
		if t, err := readTwin(body); err == nil {
			c.seen = &t
		}
	}
}

// C2DReady tells that the child can take cloud-to-device messages now.
func (c *Session) C2DReady() {
	if cloud := c.service(); cloud != nil {
		cloud.C2DReady()
	}
}

// InputsReady tells that a module can take messages for its inputs now.
func (c *Session) InputsReady() {
	if !c.Ended() {
		c.gw.pumpModule(c)
	}
}

// service is the connection to the hub of a session that is served, nil for none.
func (c *Session) service() Cloud {
	if c.Ended() {
		return nil
	}
	return c.attach()
}

// MethodAnswer takes a child's answer to a method. One that nobody waits for has no effect (EDGE-29).
func (c *Session) MethodAnswer(rid string, status int, payload []byte) *rule.Refusal {
	late := refusal("EDGE-29/rid", "nobody waits for this answer: the call has ended, was answered already, or never was", "$rid="+quote(rid), "the $rid of a call that still waits")
	l := c.cloud.Load()
	if l == nil || l.Answer(rid, status, payload) != nil {
		return late
	}
	e := c.Event(journal.Method)
	e.Detail, e.Payload, e.Code = "method answered", payload, journal.Code(status)
	e.Properties = map[string]string{"rid": rid}
	c.gw.svc.journal.Append(e)
	return nil
}

func sortStrings(lists ...[]string) {
	for _, l := range lists {
		slices.Sort(l)
	}
}

// Connection returns the connection number of a child's live connection.
func (s *Service) Connection(gateway, id string) (conn uint64, ok bool) {
	g, err := s.find(gateway)
	if err != nil {
		return 0, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.live[id]; c != nil {
		return c.origin.Conn, true
	}
	return 0, false
}
