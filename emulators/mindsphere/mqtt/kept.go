package mqtt

import (
	"slices"
	"time"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/broker"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// Limits of a kept session (AWS IoT Core developer guide, persistent sessions, for the hour).
const (
	maxLife    = 3600 // seconds
	maxWaiting = 1000
)

// life is for how many seconds a session is kept after its connection: by MQTT 5 its session expiry interval (MQTT 5
// section 3.1.2.11.2), else an hour with clean session 0.
func life(c *broker.Connect) uint32 {
	switch {
	case c.Level == 5:
		return min(c.SessionExpiry, maxLife)
	case c.CleanSession:
		return 0
	}
	return maxLife
}

// kept is a session that outlives its connection.
type kept struct {
	Life          uint32                `json:"life"`    // seconds
	AgentID       string                `json:"agentId"` // an agent made again starts afresh
	Subscriptions []broker.Subscription `json:"subscriptions,omitempty"`
	Waiting       []waiting             `json:"waiting,omitempty"` // QoS 1 messages without PUBACK, oldest first
	Last          uint64                `json:"last"`              // number of the newest message
	Ended         time.Time             `json:"ended,omitzero"`    // timers reading; zero while connected
}

// waiting is a message that may have to be sent again.
type waiting struct {
	Number  uint64 `json:"number"`
	Topic   string `json:"topic"`
	Payload []byte `json:"payload"`
	Shown   []byte `json:"shown,omitempty"`
	Sent    bool   `json:"sent,omitempty"` // once at least
}

func (k kept) clone() kept {
	k.Subscriptions = slices.Clone(k.Subscriptions)
	k.Waiting = slices.Clone(k.Waiting) // payloads are never changed
	return k
}

// granted returns the highest QoS of a subscription that matches.
func (k *kept) granted(topic string) (qos byte, ok bool) {
	for _, s := range k.Subscriptions {
		if (!ok || s.QoS > qos) && wire.Matches(s.Filter, topic) {
			qos, ok = s.QoS, true
		}
	}
	return qos, ok
}

// session returns the kept session of an agent, if it is still kept. The caller holds mu.
func (h *Head) session(id mindsphere.Identity) (kept, bool) {
	k, ok := h.kept.Get(id.ClientID)
	if ok && (k.AgentID != id.AgentID || !k.Ended.IsZero() && h.svc.Clock().Now().Sub(k.Ended) >= time.Duration(k.Life)*time.Second) {
		h.kept.Delete(id.ClientID)
		return kept{}, false
	}
	return k, ok
}

// change edits the kept session of an agent; without one nothing happens. The caller holds mu.
func (h *Head) change(clientID string, edit func(*kept)) {
	_, _ = h.kept.Update(clientID, func(k kept) (kept, error) { // ErrNotFound is the nothing
		edit(&k)
		return k, nil
	})
}

// begin makes the broker's session for an accepted CONNECT, with what was kept of an earlier one.
func (d *device) begin(c *broker.Connect) broker.Session {
	h := d.head
	s := broker.Session{Device: d, Name: d.id.ClientID, Silence: silence(c.KeepAlive)}
	if d.id.Region == mindsphere.EU1 {
		s.MaxFilters = maxFilters
	}
	keep := life(c)
	if c.SessionExpiry > keep {
		s.SessionExpiry = keep
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.CleanSession {
		h.kept.Delete(d.id.ClientID)
	}
	old, ok := h.session(d.id)
	s.Present, s.Subscriptions = ok, old.Subscriptions
	switch d.keep = keep > 0; {
	case !d.keep: // a session that ends with its connection is the connection's alone
		h.kept.Delete(d.id.ClientID)
		d.inherited = old.Waiting
	case ok:
		h.change(d.id.ClientID, func(k *kept) { k.Life = keep })
	default:
		h.kept.Put(d.id.ClientID, kept{Life: keep, AgentID: d.id.AgentID})
	}
	return s
}

// Expire implements broker.Expirer. A session that the CONNECT did not want kept cannot be kept by the DISCONNECT
// (MQTT 5 section 3.14.2.2.2).
func (d *device) Expire(seconds uint32) {
	h := d.head
	h.mu.Lock()
	defer h.mu.Unlock()
	if !d.keep {
		return
	}
	if seconds == 0 {
		d.keep = false
		h.kept.Delete(d.id.ClientID)
		return
	}
	h.change(d.id.ClientID, func(k *kept) { k.Life = min(seconds, maxLife) })
}

// enter makes d the live connection of its agent and sends what waits.
func (h *Head) enter(d *device) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live[d.id.ClientID] = d
	for _, w := range d.inherited {
		w.Number = 0
		d.link.Send(h.outgoing(d, w))
	}
	d.inherited = nil
	if !d.keep {
		return
	}
	h.change(d.id.ClientID, func(k *kept) { k.Ended = time.Time{} }) // a connection taken over has just ended it
	k, _ := h.session(d.id)
	for _, w := range k.Waiting {
		d.link.Send(h.outgoing(d, w))
	}
}

// leave ends the connection; a kept session begins to age.
func (h *Head) leave(d *device) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if other := h.live[d.id.ClientID]; other != nil && other != d {
		return
	}
	delete(h.live, d.id.ClientID)
	if d.keep {
		now := h.svc.Clock().Now().UTC().Round(0)
		h.change(d.id.ClientID, func(k *kept) { k.Ended = now })
	}
}

func (h *Head) subscribe(d *device, s broker.Subscription) {
	if !d.keep {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.change(d.id.ClientID, func(k *kept) {
		i := slices.IndexFunc(k.Subscriptions, func(old broker.Subscription) bool { return old.Filter == s.Filter })
		switch {
		case i >= 0:
			k.Subscriptions[i] = s
		case len(k.Subscriptions) < maxKeptFilters:
			k.Subscriptions = append(k.Subscriptions, s)
		}
	})
}

// maxKeptFilters is how many subscriptions outlive a connection (AWS IoT Core: 50 per connection).
const maxKeptFilters = 50

func (h *Head) unsubscribe(d *device, filter string) {
	if !d.keep {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.change(d.id.ClientID, func(k *kept) {
		k.Subscriptions = slices.DeleteFunc(k.Subscriptions, func(s broker.Subscription) bool { return s.Filter == filter })
	})
}

// Deliver implements mindsphere.Carrier: applications send with QoS 1, lowered to what was granted.
func (h *Head) Deliver(to mindsphere.Identity, m mindsphere.Message) mindsphere.Delivery {
	w := waiting{Topic: inbox(to, m), Payload: m.Payload, Shown: m.Shown}
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.live[to.ClientID]
	if d != nil && !d.keep {
		if d.link.Send(h.outgoing(d, w)) {
			return mindsphere.Delivered
		}
		return mindsphere.Lost
	}
	k, ok := h.session(to)
	if !ok {
		return mindsphere.Lost
	}
	qos, subscribed := k.granted(w.Topic)
	switch {
	case !subscribed, qos == 0 && d == nil:
		return mindsphere.Lost
	case qos == 0:
		if d.link.Send(h.outgoing(d, w)) {
			return mindsphere.Delivered
		}
		return mindsphere.Lost
	case len(k.Waiting) >= maxWaiting:
		return mindsphere.Lost
	}
	w.Number = k.Last + 1
	h.change(to.ClientID, func(k *kept) { k.Last, k.Waiting = w.Number, append(k.Waiting, w) })
	if d != nil && d.link.Send(h.outgoing(d, w)) {
		return mindsphere.Delivered
	}
	return mindsphere.Waiting
}

// outgoing makes the packet of a message; one that is kept is forgotten with its PUBACK.
func (h *Head) outgoing(d *device, w waiting) broker.Outgoing {
	o := broker.Outgoing{Topic: w.Topic, Payload: w.Payload, Shown: w.Shown, QoS: 1, Dup: w.Sent}
	if w.Number == 0 {
		return o
	}
	o.Sent = func(byte) { h.mark(d.id.ClientID, w.Number) }
	o.Acked = func() { h.forget(d.id.ClientID, w.Number) }
	return o
}

// mark notes that a message went out: if it has to be sent again, then as a duplicate.
func (h *Head) mark(clientID string, number uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.change(clientID, func(k *kept) {
		for i := range k.Waiting {
			if k.Waiting[i].Number == number {
				k.Waiting[i].Sent = true
			}
		}
	})
}

func (h *Head) forget(clientID string, number uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.change(clientID, func(k *kept) {
		k.Waiting = slices.DeleteFunc(k.Waiting, func(w waiting) bool { return w.Number == number })
	})
}
