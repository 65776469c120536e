package fakecloud

import (
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/store"
)

// The journal's tail on disk: enough to explain after a restart what happened before it. Nobody waits for
// it, and under load it holds only the newest events of each interval, so that it costs next to nothing.
const (
	tailEvents   = 5000
	tailBytes    = 8 << 20
	tailInterval = 500 * time.Millisecond
	tailBurst    = 1000 // events an interval
)

// What a killed process may have given out beyond its last mark.
const (
	lostNumbers     = 100_000
	lostConnections = 10_000
)

// journalMark is how far numbers have come.
type journalMark struct {
	Seq    uint64
	Conn   uint64 // connection number
	Closed bool   // nothing came after
}

const theMark = "mark"

// journalTail keeps the newest events for the next life.
type journalTail struct {
	journal     *journal.Journal
	connections func() uint64
	events      *store.Log[Event]
	marks       *store.Table[journalMark]
	stop        chan struct{}

	mu       sync.Mutex // orders what is written and forgotten
	written  uint64
	restored bool // the earlier events are in the journal, or not wanted any more
	ended    sync.WaitGroup
}

// openTail lets the journal go on where an earlier life has ended, and returns the number of its last
// connection.
func openTail(j *journal.Journal, state *store.Store) (t *journalTail, connections uint64) {
	t = &journalTail{journal: j, stop: make(chan struct{}),
		marks: store.NewTable[journalMark](state, "fakecloud.journal", nil),
		events: store.NewLog(state, store.LogSpec[Event]{Name: "journal", Count: tailEvents, Bytes: tailBytes, Cost: func(e *Event) int {
			const overhead = 512
			return overhead + len(e.Payload) + len(e.Detail)
		}}),
	}
	m, again := t.marks.Get(theMark)
	if again && !m.Closed {
		m.Seq, m.Conn = m.Seq+lostNumbers, m.Conn+lostConnections
	}
	j.Continue(m.Seq)
	t.written = m.Seq
	t.marks.Put(theMark, journalMark{Seq: m.Seq, Conn: m.Conn})
	return t, m.Conn
}

// run restores the earlier events and keeps new ones until close.
func (t *journalTail) run(connections func() uint64) {
	t.connections = connections
	t.ended.Go(func() {
		past, _ := t.events.Read(0, nil, 0)
		t.mu.Lock()
		if !t.restored {
			t.journal.Restore(past)
			t.restored = true
		}
		t.mu.Unlock()
		tick := time.NewTicker(tailInterval)
		defer tick.Stop()
		for {
			t.write(false)
			select {
			case <-tick.C:
			case <-t.stop:
				return
			}
		}
	})
}

func (t *journalTail) write(closed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh := t.journal.Newest(t.written, tailBurst)
	if len(fresh) > 0 {
		t.written = fresh[len(fresh)-1].Seq
		t.events.Append(fresh...)
	}
	if closed || len(fresh) > 0 {
		t.marks.Put(theMark, journalMark{Seq: t.written, Conn: t.connections(), Closed: closed})
	}
}

// forget empties the journal, and what earlier lives have left of it.
func (t *journalTail) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restored = true
	t.journal.Clear()
	t.events.Clear()
}

// forgetEvents removes events from the journal, and from what is kept of it for the next life.
func (t *journalTail) forgetEvents(gone func(*Event) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.restored {
		past, _ := t.events.Read(0, nil, 0)
		t.journal.Restore(past)
		t.restored = true
	}
	t.journal.Forget(gone)
	t.events.Clear()
	if kept := t.journal.Newest(0, tailEvents); len(kept) > 0 {
		t.written = max(t.written, kept[len(kept)-1].Seq)
		t.events.Append(kept...)
	}
}

// close keeps the last events. The connections have ended before.
func (t *journalTail) close() {
	close(t.stop)
	t.ended.Wait()
	t.write(true)
}
