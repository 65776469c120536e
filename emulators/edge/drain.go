package edge

import (
	"context"
	"errors"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/store"
)

// The sizes of what goes to the hub at once (CloudEndpoint).
const (
	batchMessages = 256
	batchBytes    = 256 << 10
	batchMargin   = 4 << 10
)

// retryAfter is how long a gateway waits after a batch was lost.
const retryAfter = 5 * time.Second

// send hands messages of one identity to the hub, under that identity. The caller holds sending.
func (g *gateway) send(batch []Message) error {
	m := &batch[0]
	name := Identity{DeviceID: m.DeviceID, ModuleID: m.ModuleID}.Name()
	if g.lost(name) {
		return ErrAway
	}
	g.mu.Lock()
	s := g.live[name]
	g.mu.Unlock()
	if s != nil {
		if l := s.cloud.Load(); l != nil {
			if err := l.Send(context.Background(), batch); err == nil || errors.Is(err, ErrRejected) {
				return err
			}
		}
	}
	id, ok := g.identity(m.DeviceID, m.ModuleID)
	if !ok {
		id = Identity{DeviceID: m.DeviceID, ModuleID: m.ModuleID}
		if s != nil {
			id = s.id
		}
	}
	visit, err := g.svc.upstream.Visit(g.hubHost(), id)
	switch {
	case errors.Is(err, ErrAway):
		return err
	case err != nil:
		return errors.Join(ErrRejected, err) // the identity is gone
	}
	defer visit.Close()
	return visit.Send(context.Background(), batch)
}

// kick makes sure that what waits for the hub goes there.
func (g *gateway) kick() {
	g.sending.Lock()
	defer g.sending.Unlock()
	g.kickLocked()
}

func (g *gateway) kickLocked() {
	if g.draining || g.down() || !g.queue.waits(upstreamEndpoint) {
		return
	}
	g.draining = true
	g.svc.workers.Go(g.drain)
}

// drain sends what waits until nothing does, the hub goes away, or a batch is lost.
func (g *gateway) drain() {
	sent := 0
	for {
		g.sending.Lock()
		n, more, removed := g.drainBatch()
		sent += n
		if !more {
			g.draining = false
			if sent > 0 {
				e := g.event(journal.World, "", "stored messages were sent to the hub")
				e.Properties = map[string]string{"messages": count(sent), "waiting": count(g.queue.count)}
				g.svc.journal.Append(e)
			}
			g.sending.Unlock()
			removed.Wait()
			return
		}
		g.sending.Unlock()
		removed.Wait()
	}
}

// drainBatch sends the next messages, and removes those that the hub has taken in one step.
func (g *gateway) drainBatch() (sent int, more bool, removed store.Pending) {
	if g.down() {
		return 0, false, removed // without a look at what waits: every message that comes in asks
	}
	rows, dropped := g.queue.next(upstreamEndpoint, g.svc.clock.Now(), batchMessages)
	g.noteExpired(dropped)
	var done []uint64
	defer func() { removed = g.queue.done(done...) }()
	for more = len(rows) > 0; len(rows) > 0; {
		if g.down() {
			return len(done), false, removed
		}
		n, err := g.sendRun(rows)
		if err != nil {
			g.retryLater()
			return len(done), false, removed
		}
		for i := range n {
			done = append(done, rows[i].Number)
		}
		rows = rows[n:]
	}
	return len(done), more, removed
}

// sendRun sends the leading messages that are of one identity, as one batch of the hub's, and returns how many
// are dealt with. An error is the hub's being away.
func (g *gateway) sendRun(rows []stored) (int, error) {
	first := &rows[0].Message
	var batch []Message
	for size, i := 0, 0; i < len(rows); i++ {
		m := &rows[i].Message
		if size += m.size(); i > 0 && (size > batchBytes-batchMargin || m.DeviceID != first.DeviceID || m.ModuleID != first.ModuleID) {
			break
		}
		batch = append(batch, *m)
	}
	err := g.send(batch)
	if errors.Is(err, ErrRejected) && len(batch) > 1 { // find out which one it is
		batch = batch[:1]
		err = g.send(batch)
	}
	if errors.Is(err, ErrRejected) {
		g.rejected(&batch[0], err)
		err = nil
	}
	return len(batch), err
}

// retryLater tries again when the timers reading has moved on. The caller holds sending.
func (g *gateway) retryLater() {
	if g.retry {
		return
	}
	g.retry = true
	g.svc.clock.AfterFunc(retryAfter, func() {
		g.sending.Lock()
		defer g.sending.Unlock()
		g.retry = false
		g.kickLocked()
	})
}

// armExpiry drops what has ended and sets the timer for what ends next. The caller holds sending.
func (g *gateway) armExpiry() {
	next := g.dropExpired()
	if g.expiry != nil {
		if !next.IsZero() && !next.Before(g.due) {
			return // it sets itself anew
		}
		g.expiry.Stop()
		g.expiry = nil
	}
	if next.IsZero() {
		return
	}
	g.due = next
	g.expiry = g.svc.clock.AfterFunc(next.Sub(g.svc.clock.Now()), func() {
		g.sending.Lock()
		defer g.sending.Unlock()
		if g.due.Equal(next) { // else another timer has taken over
			g.expiry = nil
			g.armExpiry()
		}
	})
}

func (g *gateway) dropExpired() (next time.Time) {
	dropped, next := g.queue.expire(g.svc.clock.Now())
	g.noteExpired(dropped)
	return next
}

func (g *gateway) noteExpired(dropped int) {
	if dropped == 0 {
		return
	}
	g.svc.journal.Refuse(g.event(journal.Refused, "", ""), refusal("EDGE-31/expired", "stored messages were dropped: their time to live is over", count(dropped)+" messages",
		"a hub that comes back within storeAndForwardConfiguration.timeToLiveSecs"))
}
