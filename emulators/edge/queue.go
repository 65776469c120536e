package edge

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/store"
)

// upstreamEndpoint is the endpoint of what goes to the hub; a module's is "module/input".
const upstreamEndpoint = "$upstream"

// defaultPriority is that of routes without one: behind 0 to 9.
const defaultPriority = 10

// stored is a message that waits, as it is kept.
type stored struct {
	Message  Message
	Endpoint string
	Priority int
	Number   uint64 // in stored order, over all lanes
	// Deadline is the timers reading at which it expires; zero is never.
	Deadline time.Time
}

// expired reports whether its time is over.
func (m *stored) expired(now time.Time) bool { return !m.Deadline.IsZero() && !m.Deadline.After(now) }

// overhead is what a stored message counts beside its text.
const overhead = 512

// queue is what a gateway has stored, in memory and in the store: for each endpoint and priority a lane in
// the order in which messages came. It is not safe for concurrent use.
type queue struct {
	gateway string
	rows    *store.Table[stored]
	lanes   map[laneKey]*lane
	count   int
	bytes   int
	last    uint64
}

type laneKey struct {
	endpoint string
	priority int
}

// lane holds the numbers of its messages, oldest first.
type lane struct{ slots []slot }

type slot struct {
	number   uint64
	size     int
	deadline time.Time
}

var errFull = errors.New("the gateway's queue is full")

// openQueue takes up what the store holds of a gateway.
func openQueue(rows *store.Table[stored], gateway string) *queue {
	q := &queue{gateway: gateway, rows: rows, lanes: map[laneKey]*lane{}}
	for _, m := range rows.List(gateway + "\x00") {
		q.hold(&m)
	}
	for _, l := range q.lanes {
		slices.SortFunc(l.slots, func(a, b slot) int { return int(int64(a.number) - int64(b.number)) })
	}
	return q
}

func (q *queue) hold(m *stored) {
	k := laneKey{m.Endpoint, m.Priority}
	l := q.lanes[k]
	if l == nil {
		l = &lane{}
		q.lanes[k] = l
	}
	size := m.Message.size() + overhead
	l.slots = append(l.slots, slot{m.Number, size, m.Deadline})
	q.count++
	q.bytes += size
	q.last = max(q.last, m.Number)
}

func (q *queue) key(n uint64) string {
	return q.gateway + "\x00" + fmt.Sprintf("%016x", n)
}

// put stores a message behind the others of its lane; the caller waits for the commit when it has let go of the
// queue. errFull says that there is no room.
func (q *queue) put(m stored, mostMessages, mostBytes int) (store.Pending, error) {
	if q.count >= mostMessages || q.bytes+m.Message.size()+overhead > mostBytes {
		return store.Pending{}, errFull
	}
	m.Number = q.last + 1
	kept := q.rows.Submit(q.key(m.Number), m)
	q.hold(&m)
	return kept, nil
}

// first returns the lane of an endpoint that is sent first, nil when nothing waits.
func (q *queue) first(endpoint string) *lane {
	var best *lane
	at := 0
	for k, l := range q.lanes {
		if k.endpoint == endpoint && len(l.slots) > 0 && (best == nil || k.priority < at) {
			best, at = l, k.priority
		}
	}
	return best
}

// next returns up to most messages of the endpoint's first lane, oldest first. Expired ones are dropped on
// the way.
func (q *queue) next(endpoint string, now time.Time, most int) (batch []stored, dropped int) {
	for {
		l := q.first(endpoint)
		if l == nil {
			return nil, dropped
		}
		var ended []uint64
		for _, s := range l.slots {
			if len(batch) == most {
				break
			}
			m, ok := q.rows.Get(q.key(s.number))
			if !ok || m.expired(now) {
				ended = append(ended, s.number)
				continue
			}
			batch = append(batch, m)
		}
		q.done(ended...)
		dropped += len(ended)
		if len(batch) > 0 || len(ended) == 0 {
			return batch, dropped
		}
	}
}

// done removes messages for good, once the commit that it returns is there.
func (q *queue) done(numbers ...uint64) store.Pending {
	if len(numbers) == 0 {
		return store.Pending{}
	}
	gone := make(map[uint64]bool, len(numbers))
	keys := make([]string, len(numbers))
	for i, n := range numbers {
		gone[n], keys[i] = true, q.key(n)
	}
	removed := q.rows.SubmitDelete(keys...)
	for k, l := range q.lanes {
		// What ends is nearly always at the head: cut it off, and look further only for the rest.
		for len(l.slots) > 0 && gone[l.slots[0].number] {
			q.forget(l.slots[0])
			delete(gone, l.slots[0].number)
			l.slots = l.slots[1:]
		}
		if len(gone) > 0 {
			l.slots = slices.DeleteFunc(l.slots, func(s slot) bool {
				if gone[s.number] {
					q.forget(s)
					return true
				}
				return false
			})
		}
		if len(l.slots) == 0 {
			delete(q.lanes, k)
		}
	}
	return removed
}

func (q *queue) forget(s slot) {
	q.count--
	q.bytes -= s.size
}

// expire drops the messages at the heads of the lanes whose time is over, and returns when the next one's
// is: zero for never.
func (q *queue) expire(now time.Time) (dropped int, next time.Time) {
	var ended []uint64
	for _, l := range q.lanes {
		for _, s := range l.slots {
			if s.deadline.IsZero() || s.deadline.After(now) {
				if !s.deadline.IsZero() && (next.IsZero() || s.deadline.Before(next)) {
					next = s.deadline
				}
				break
			}
			ended = append(ended, s.number)
		}
	}
	q.done(ended...)
	return len(ended), next
}

// waits reports whether something waits for an endpoint.
func (q *queue) waits(endpoint string) bool { return q.first(endpoint) != nil }

// view lists the lanes, what is sent first on top.
func (q *queue) view() Queued {
	v := Queued{Messages: q.count, Bytes: q.bytes, Lanes: []Lane{}}
	keys := slices.SortedFunc(maps.Keys(q.lanes), func(a, b laneKey) int {
		if c := strings.Compare(a.endpoint, b.endpoint); c != 0 {
			return c
		}
		return a.priority - b.priority
	})
	for _, k := range keys {
		l := q.lanes[k]
		v.Lanes = append(v.Lanes, Lane{Endpoint: k.endpoint, Priority: k.priority, Messages: len(l.slots), Expires: l.slots[0].deadline})
	}
	return v
}
