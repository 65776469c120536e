package iotda

import (
	"errors"
	"net"
	"strconv"
	"sync/atomic"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// Downlink is what the core needs of a live connection, whatever its protocol. Its methods must not block.
type Downlink interface {
	// Deliver hands over a message. System topics need no subscription, others do; it reports whether the
	// message will be sent.
	Deliver(topic string, payload []byte, system bool) bool
	// Acknowledges reports whether what is delivered on topic will be acknowledged: the device has subscribed to
	// it with QoS 1.
	Acknowledges(topic string) bool
	// DeliverAcked is Deliver on a topic that Acknowledges. acked is called when the device has acknowledged the
	// message, again sends it once more unless it has.
	DeliverAcked(topic string, payload []byte, acked func()) (again func(), ok bool)
	// Close ends the connection without a word to the client; cause may be a *rule.Refusal. Closing twice
	// or after the end is no error.
	Close(cause error)
}

// Session is one live connection of a device. Publish and Subscribed are called one at a time.
type Session struct {
	svc     *Service
	id      Identity
	conn    uint64
	address string
	down    Downlink
	// filesHost is the host, with a port where it needs one, at which the device reaches HTTPS.
	filesHost string
	door      string // the name or address it dialled; empty where that is one of the instance's own
	ended     atomic.Bool
	older     atomic.Bool // it has subscribed to topics of the v3 interface
	drops     int         // explained of the message at hand
	flights   flights
}

// Answer is a message to the device that follows the ack of its own.
type Answer struct {
	Topic   string
	Payload []byte
}

// Open makes a connection of id the live one; an earlier one of the same device is closed (DA-13). What
// waited for the device is delivered. The caller calls Close when the connection has ended, whoever ended it.
func (s *Service) Open(id Identity, from Origin, d Downlink) *Session {
	c := &Session{svc: s, id: id, conn: from.Conn, address: from.Address, down: d, filesHost: s.filesHost(id.Instance, from.Door), door: from.Door}
	k := c.key()
	s.mu.Lock()
	old := s.live[k]
	s.live[k] = c
	s.mu.Unlock()
	if old != nil {
		old.cut(takenOver(id.DeviceID))
	}
	if id.Scope != "" {
		return c
	}
	d2, err := s.setStatus(id.Instance, id.DeviceID, Online)
	switch {
	case err != nil:
		c.cut(errDeleted)
		return c
	case d2.Frozen:
		c.cut(refusal("DA-11/frozen", codeForbidden, "device "+d2.DeviceID+" is frozen", "status FROZEN", "a device that is not frozen"))
		return c
	}
	s.log.Info("connected", "platform", Platform, "endpoint", id.Instance, "device", id.DeviceID, "conn", from.Conn)
	s.catchUp(id.Instance, d2)
	return c
}

// catchUp hands over what has waited for a device that has come, and for its children: desired properties (DA-53),
// messages (DA-27) and upgrades.
func (s *Service) catchUp(instance string, d Device) {
	reached := append([]Device{d}, s.Children(instance, d.DeviceID)...)
	for _, d := range reached {
		s.pushDesired(instance, d)
	}
	s.deliverPending(instance, d.DeviceID)
	for _, d := range reached {
		s.resumeUpgrades(instance, d)
	}
}

// Origin is where a connection comes from.
type Origin struct {
	Conn    uint64
	Address string
	// Door is the name or address that the device dialled; empty where that is one of the instance's own.
	Door string
}

// filesHost is where a device that came through a door finds HTTPS.
func (s *Service) filesHost(instance, door string) string {
	host := door
	if host == "" {
		i, _ := s.Instance(instance)
		host = i.Hosts()[0]
	}
	if s.httpsPort == nil {
		return host
	}
	if port := s.httpsPort(); port != 0 && port != 443 {
		return net.JoinHostPort(host, strconv.Itoa(port))
	}
	return host
}

func takenOver(device string) *rule.Refusal {
	return refusal("DA-13/takeover", codeForbidden, "another connection of "+device+" took over", "a second connection of the device", "one connection per device")
}

// key tells device access and the provisioning service apart: a device may have a connection to each.
func (c *Session) key() string { return key(c.id.Instance, c.id.DeviceID, c.id.Scope) }

// Close tells that the connection has ended. Further calls do nothing.
func (c *Session) Close() {
	c.ended.Store(true)
	c.flights.stop()
	s, k := c.svc, c.key()
	s.mu.Lock()
	current := s.live[k] == c
	if current {
		delete(s.live, k)
	}
	s.mu.Unlock()
	if !current || c.id.Scope != "" {
		return
	}
	if _, err := s.setStatus(c.id.Instance, c.id.DeviceID, Offline); err == nil {
		s.childrenOffline(c.id.Instance, c.id.DeviceID)
	}
	s.log.Info("disconnected", "platform", Platform, "endpoint", c.id.Instance, "device", c.id.DeviceID, "conn", c.conn)
}

// cut ends the connection from our side. The session stays listed until its head calls Close.
func (c *Session) cut(cause error) {
	c.ended.Store(true)
	c.down.Close(cause)
}

// cut closes the live connections that match.
func (s *Service) cut(match func(*Session) bool, cause error) int {
	var found []*Session
	s.mu.Lock()
	for _, c := range s.live {
		if match(c) {
			found = append(found, c)
		}
	}
	s.mu.Unlock()
	for _, c := range found {
		c.cut(cause)
	}
	return len(found)
}

var errDisconnected = errors.New("disconnected by the application or the tester")

// Disconnect closes a device's connection, as a network failure would, and reports whether it had one.
func (s *Service) Disconnect(instance, device string) bool {
	return s.cut(func(c *Session) bool { return c.id.Instance == instance && c.id.DeviceID == device }, errDisconnected) > 0
}

// Reset closes every connection; the store is emptied by its owner.
func (s *Service) Reset(cause error) {
	s.cut(func(*Session) bool { return true }, cause)
	s.waiting.clear()
}

// session returns the live session of a device, nil when it is not connected.
func (s *Service) session(instance, device string) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.live[key(instance, device, "")]
	if c == nil || c.ended.Load() {
		return nil
	}
	return c
}

// Connection returns the connection number of a device's live connection.
func (s *Service) Connection(instance, device string) (conn uint64, ok bool) {
	if c := s.session(instance, device); c != nil {
		return c.conn, true
	}
	return 0, false
}

// setStatus records a device's connection state and tells of it. The error is that there is no such device.
func (s *Service) setStatus(instance, id, status string) (Device, error) {
	now := s.clock.Wall().UTC()
	changed := false
	// A status need not be committed before anything else happens: it is made anew at start.
	d, err := s.devices.Touch(key(instance, id), func(d Device) (Device, error) {
		changed = d.Status != status
		d.Status, d.StatusChanged = status, now
		if status == Online {
			d.LastOnline = now
			if d.Activated.IsZero() {
				d.Activated = now
			}
		}
		return d, nil
	})
	if err != nil {
		return s.Device(instance, id)
	}
	if changed {
		body := map[string]any{"status": status, "status_update_time": iotda.FormatTime(now)}
		if !d.LastOnline.IsZero() { // of a child that its gateway has only ever called offline
			body["last_online_time"] = iotda.FormatTime(d.LastOnline)
		}
		s.notify(instance, d, Notification{Resource: "device.status", Event: updated, Body: body})
	}
	return d, nil
}

// event returns the journal event that all of the session's events start from.
func (c *Session) event(k journal.Kind, topic string) journal.Event {
	return journal.Event{Platform: Platform, Endpoint: c.id.Instance, Conn: c.conn, Address: c.address,
		Device: c.id.DeviceID, Kind: k, Dir: journal.In, Topic: topic}
}

// LeftWill notes that the device has left a will, which will not be sent (DA-42).
func (c *Session) LeftWill(topic string) { c.unserved("DA-42/will", topic, "a will", "no will") }

// Retains notes that a message has the retain flag, which means nothing here (DA-42).
func (c *Session) Retains(topic string) {
	c.unserved("DA-42/retain", topic, "the retain flag", "a message without it")
}

// unserved notes what is accepted and has no effect.
func (c *Session) unserved(id rule.ID, topic, seen, expected string) {
	e := c.event(journal.Property, clip(topic))
	e.Rule, e.Seen, e.Expected = id, seen, expected
	c.svc.journal.Append(e)
}

// mostExplained bounds what the journal says of one message.
const mostExplained = 20

// explain says in the journal why something was dropped that the wire is silent about.
func (c *Session) explain(topic string, r *rule.Refusal) {
	c.drops++
	if c.drops > mostExplained {
		return
	}
	r.Silent = true
	c.svc.journal.Refuse(c.event(journal.Refused, topic), r)
}
