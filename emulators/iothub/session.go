package iothub

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Downlink is what the core needs of a live connection, whatever its protocol. Abilities that only some
// protocols have are further small interfaces that a Downlink may implement.
type Downlink interface {
	// Close ends the connection without a word to the client; cause may be a *rule.Refusal. It must not
	// block, and closing twice or after the end is no error.
	Close(cause error)
}

// Origin says where a connection comes from, for the journal, and what its client told about itself.
type Origin struct {
	Conn    uint64
	Address string
	ModelID string // Plug and Play model, stamped on telemetry as dt-dataschema
	// APIVersion is what the client asked for; empty when it named none.
	APIVersion string
}

// Session is one live connection of an identity. Its methods may be called concurrently.
type Session struct {
	svc    *Service
	id     Identity
	origin Origin
	down   Downlink
	sent   map[uint64]string // locks of the messages it was sent, by number; guarded by Service.c2dMu
	stamps []Property        // constant part of what is stamped on telemetry
	grace  time.Duration     // between the token's end and the connection's
	expiry clock.Timer
	wanted atomic.Pointer[request] // a fault that the last message asks for
	follow follow
	state  atomic.Int32 // running, ended or void
	active atomic.Int64 // wall time of the last activity, nanoseconds
}

// The states of a session.
const (
	running int32 = iota
	ended         // closed or cut: of what it still says only its will counts
	void          // from before a reset: nothing counts any more
)

// Open makes a connection of id the live one; an earlier one of the same identity is closed (HUB-21).
// If the identity has gone or been disabled since Authenticate, or its token has run out, the new
// connection is closed at once. The caller calls Close when the connection has ended, whoever ended it.
func (s *Service) Open(id Identity, o Origin, d Downlink) *Session {
	c := &Session{svc: s, id: id, origin: o, down: d, grace: id.Switches.grace()}
	c.shorten()
	c.stamps = c.fixedStamps()
	k := c.key()
	s.mu.Lock()
	old := s.live[k]
	s.live[k] = c
	s.relate(c, old)
	s.mu.Unlock()
	if old != nil {
		old.cut(refusal("HUB-21/takeover", "another connection of "+id.Name()+" took over", "", "one connection per identity"))
	}
	c.armExpiry() // before anybody can see that it is connected, and move time
	s.setState(id, Connected)
	c.MethodsReady() // with subscriptions of a kept session
	if r := s.stillAllowed(id); r != nil {
		c.cut(r)
	}
	if s.Away(id.Hub) {
		c.cut(errFailover)
	}
	c.C2DReady() // with subscriptions of a kept session
	s.log.Info("connected", "endpoint", id.Hub, "device", id.Name(), "conn", o.Conn)
	return c
}

// Ended reports whether the connection was closed or cut.
func (c *Session) Ended() bool { return c.state.Load() != running }

// Identity returns whose session it is.
func (c *Session) Identity() Identity { return c.id }

// Close tells that the connection has ended. Further calls do nothing.
func (c *Session) Close() {
	c.end()
	c.stopExpiry()
	s := c.svc
	s.mu.Lock()
	current := s.live[c.key()] == c
	if current {
		delete(s.live, c.key())
		s.relate(nil, c)
	}
	s.mu.Unlock()
	c.unlockC2D()
	if current {
		s.setState(c.id, Disconnected)
		s.log.Info("disconnected", "endpoint", c.id.Hub, "device", c.id.Name(), "conn", c.origin.Conn)
	}
}

// cut ends the connection from our side. The session stays listed until its head calls Close.
func (c *Session) cut(cause error) {
	c.end()
	c.down.Close(cause)
}

// end tells those who wait for the client's answers that none will come.
func (c *Session) end() {
	c.state.CompareAndSwap(running, ended)
	c.svc.calls.wake()
}

func (c *Session) key() string { return sessionKey(c.id.Hub, c.id.DeviceID, c.id.ModuleID) }

func sessionKey(hub, device, module string) string { return key(hub, device, module) }

// farAway bounds timers: a token for longer lives as long as its connection.
const farAway = 10 * 365 * 24 * time.Hour

// shorten lets a fault say how long the connection's token is good, without a grace.
func (c *Session) shorten() {
	if c.id.Expires.IsZero() {
		return
	}
	if a, hit := c.svc.faults.At(c.step(fault.Token)); hit {
		c.id.Expires, c.grace = c.svc.clock.Wall().Add(time.Duration(*a.Expire)), 0
	}
}

// armExpiry cuts the connection when its token has run out and the grace with it (HUB-24).
func (c *Session) armExpiry() {
	if c.id.Expires.IsZero() {
		return
	}
	left := c.id.Expires.Sub(c.svc.clock.Wall())
	if left > farAway {
		return
	}
	t := c.svc.clock.AfterFunc(left+c.grace, func() { c.cut(c.expired()) })
	c.svc.mu.Lock()
	c.expiry = t
	c.svc.mu.Unlock()
}

func (c *Session) expired() *rule.Refusal {
	return refusal("HUB-24/expired", "the connection's token has run out",
		"se "+stamp(c.id.Expires), fmt.Sprintf("a new connection with a new token within %s after se", c.grace))
}

// Expire does now what the end of its token does to the connection of a device (and of its modules) or of
// one module, given as device/module. It returns how many connections it closed: those that came with a
// certificate have no end.
func (s *Service) Expire(hub, id string) (closed int) {
	h, err := s.GetHub(hub)
	if err != nil {
		return 0
	}
	for _, c := range s.sessions(h.Host, id) {
		if !c.id.Expires.IsZero() {
			c.cut(c.expired())
			closed++
		}
	}
	return closed
}

func (c *Session) stopExpiry() {
	c.svc.mu.Lock()
	t := c.expiry
	c.svc.mu.Unlock()
	if t != nil {
		t.Stop()
	}
}

// stillAllowed judges what may have changed between Authenticate and Open.
func (s *Service) stillAllowed(id Identity) *rule.Refusal {
	d, ok := s.devices.Get(key(id.Hub, id.DeviceID))
	gen := d.GenerationID
	if ok && id.ModuleID != "" {
		var m Module
		m, ok = s.modules.Get(key(id.Hub, id.DeviceID, id.ModuleID))
		gen = m.GenerationID
	}
	if !ok || gen != id.GenerationID {
		return deletedRefusal(id.Name())
	}
	return disabledRefusal(d)
}

// disabledRefusal is HUB-12's verdict at sign-in and on live connections, nil for an enabled device.
func disabledRefusal(d Device) *rule.Refusal {
	if d.Status != Disabled {
		return nil
	}
	detail := "device " + d.DeviceID + " is disabled"
	if d.StatusReason != "" {
		detail += ": " + clip(d.StatusReason)
	}
	return refusal("HUB-12/disabled", detail, "status disabled", "status enabled")
}

func deletedRefusal(id string) *rule.Refusal {
	return refusal("HUB-12/deleted", id+" was deleted from the hub", "a connection of a former identity", "a registered identity")
}

// enforceStatus cuts a device that has been disabled, with its modules.
func (s *Service) enforceStatus(hub string, d Device) {
	if r := disabledRefusal(d); r != nil {
		s.cut(hub, d.DeviceID, r)
	}
}

// Disconnect closes the connection of a device (and of its modules) or of one module, given as
// device/module, as a network failure would. It returns how many connections it closed.
func (s *Service) Disconnect(hub, id string) int {
	h, err := s.GetHub(hub)
	if err != nil {
		return 0
	}
	return s.cut(h.Host, id, errDisconnected)
}

var errDisconnected = errors.New("disconnected by the tester")

// cut closes the live connections of a device with its modules, or of one module.
func (s *Service) cut(hub, id string, cause error) int {
	found := s.sessions(hub, id)
	for _, c := range found {
		c.cut(cause)
	}
	return len(found)
}

// sessions returns the live ones of a device with its modules, or of one module.
func (s *Service) sessions(hub, id string) (found []*Session) {
	device, module := split(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.related[key(hub, device)] {
		if module == "" || c.id.ModuleID == module {
			found = append(found, c)
		}
	}
	return found
}

// relate puts a session in the place of another one of the same device; either may be nil. The caller
// holds mu.
func (s *Service) relate(c, old *Session) {
	of := c
	if of == nil {
		of = old
	}
	k := key(of.id.Hub, of.id.DeviceID)
	list := slices.DeleteFunc(s.related[k], func(o *Session) bool { return o == old })
	if c != nil {
		list = append(list, c)
	}
	if len(list) == 0 {
		delete(s.related, k)
		return
	}
	s.related[k] = list
}

// Reset closes every connection and forgets all telemetry; the store is emptied by its owner.
func (s *Service) Reset(cause error) {
	s.mu.Lock()
	sessions := make([]*Session, 0, len(s.live))
	for _, c := range s.live {
		sessions = append(sessions, c)
	}
	s.mu.Unlock()
	for _, c := range sessions {
		c.state.Store(void)
		c.cut(cause)
	}
	s.stopJobs()
	s.telemetry.Clear()
	s.feedback.Clear()
	s.c2dMu.Lock()
	defer s.c2dMu.Unlock()
	for _, t := range s.c2dTimers {
		t.Stop()
	}
	s.c2dTimers = nil
	s.troubles.clear()
}

// session returns the live session of an identity, nil when it is not connected.
func (s *Service) session(hub, device, module string) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[sessionKey(hub, device, module)]
}

// Connection returns the connection number of an identity's live connection.
func (s *Service) Connection(hub, id string) (conn uint64, ok bool) {
	h, err := s.GetHub(hub)
	if err != nil {
		return 0, false
	}
	device, module := split(id)
	if c := s.session(h.Host, device, module); c != nil && !c.Ended() {
		return c.origin.Conn, true
	}
	return 0, false
}

// setState records the connection state of an identity; one that is gone is left alone. No connection
// outlives the process, so nothing waits for the record.
func (s *Service) setState(id Identity, state string) {
	now := s.clock.Wall().UTC()
	if id.ModuleID != "" {
		_, _ = s.modules.Touch(key(id.Hub, id.DeviceID, id.ModuleID), func(m Module) (Module, error) {
			m.ConnectionState, m.ConnectionStateUpdatedTime, m.LastActivityTime = state, now, now
			return m, nil
		})
		return
	}
	_, _ = s.devices.Touch(key(id.Hub, id.DeviceID), func(d Device) (Device, error) {
		d.ConnectionState, d.ConnectionStateUpdatedTime, d.LastActivityTime = state, now, now
		return d, nil
	})
}

// activity returns the later of t and the session's last activity.
func (c *Session) activity(t time.Time) time.Time {
	if n := c.active.Load(); n > t.UnixNano() || t.IsZero() && n > 0 {
		return time.Unix(0, n).UTC()
	}
	return t
}

// Event returns the journal event that all of the session's events start from.
func (c *Session) Event(k journal.Kind) journal.Event {
	return journal.Event{Platform: Platform, Endpoint: c.id.Hub, Conn: c.origin.Conn, Address: c.origin.Address,
		Device: c.id.Name(), Kind: k, Dir: journal.In}
}

// fixedStamps are the properties that the hub stamps alike on every message of the connection.
func (c *Session) fixedStamps() []Property {
	method, err := json.Marshal(c.id.Auth)
	if err != nil {
		panic(err) // three strings
	}
	stamps := []Property{
		{Name: PropDeviceID, Value: c.id.DeviceID},
		{Name: PropGenerationID, Value: c.id.GenerationID},
		{Name: PropAuthMethod, Value: string(method)},
		{Name: PropSource, Value: SourceTelemetry},
	}
	if c.id.ModuleID != "" {
		stamps = append(stamps, Property{Name: PropModuleID, Value: c.id.ModuleID})
	}
	if c.origin.ModelID != "" {
		stamps = append(stamps, Property{Name: PropModel, Value: c.origin.ModelID})
	}
	return stamps
}
