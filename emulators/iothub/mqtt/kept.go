package mqtt

import (
	"slices"

	"github.com/fakecloud/fakecloud/internal/broker"
)

// kept is the session of a client that connects with clean session 0: its subscriptions. Messages wait
// in the hub's own queue, whatever the session.
type kept struct {
	GenerationID  string // of the identity: a device made again starts afresh
	Subscriptions []broker.Subscription
}

func (k kept) clone() kept {
	k.Subscriptions = slices.Clone(k.Subscriptions)
	return k
}

// begin makes the broker's session for an accepted CONNECT, with what was kept of an earlier one.
func (d *device) begin(c *broker.Connect) broker.Session {
	s := broker.Session{Device: d, Name: d.id.Name(), Silence: silence(c.KeepAlive)}
	k := d.id.Hub + "\x00" + d.id.Name()
	if c.CleanSession {
		d.head.sessions.Delete(k)
		return s
	}
	d.keep = k
	if old, ok := d.head.sessions.Get(k); ok && old.GenerationID == d.id.GenerationID {
		s.Present = true
		d.filters = old.Subscriptions
		s.Subscriptions = slices.Clone(old.Subscriptions)
		return s
	}
	d.save()
	return s
}

// save stores the subscriptions of a session that is to be kept.
func (d *device) save() {
	if d.keep != "" {
		d.head.sessions.Put(d.keep, kept{GenerationID: d.id.GenerationID, Subscriptions: d.filters})
	}
}
