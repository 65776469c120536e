package mqtt

import (
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/fakecloud/fakecloud/internal/broker"
)

// kept is the session of a client that connects with clean session 0: its subscriptions, no messages.
type kept struct {
	GenerationID  string // of the identity: a device made again starts afresh
	Subscriptions []subscription
}

// subscription is one with the wall clock's reading when it came; a second SUBSCRIBE leaves that as it is
// (edgeHub, MqttSubscription).
type subscription struct {
	broker.Subscription
	Since time.Time
}

func (k kept) clone() kept {
	k.Subscriptions = slices.Clone(k.Subscriptions)
	return k
}

// begin makes the broker's session for an accepted CONNECT, with what was kept of an earlier one.
func (d *device) begin(c *broker.Connect) broker.Session {
	id := d.who.Identity
	s := broker.Session{Device: d, Name: id.Name(), Silence: silence(c.KeepAlive)}
	k := d.who.Gateway + "\x00" + id.Name()
	if c.CleanSession {
		d.head.sessions.Delete(k)
		return s
	}
	d.keep = k
	if old, ok := d.head.sessions.Get(k); ok && old.GenerationID == id.GenerationID {
		s.Present = true
		for _, sub := range old.Subscriptions {
			s.Subscriptions = append(s.Subscriptions, sub.Subscription)
			d.subs[sub.Filter] = sub
			d.switchOn(sub.Filter)
		}
		return s
	}
	d.save()
	return s
}

// save stores the subscriptions of a session that is to be kept.
func (d *device) save() {
	if d.keep == "" {
		return
	}
	d.subbing.Lock()
	list := slices.Collect(maps.Values(d.subs))
	d.subbing.Unlock()
	sort.Slice(list, func(i, j int) bool { return list[i].Filter < list[j].Filter })
	d.head.sessions.Put(d.keep, kept{GenerationID: d.who.Identity.GenerationID, Subscriptions: list})
}
