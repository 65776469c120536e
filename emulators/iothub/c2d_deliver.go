package iothub

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/fakecloud/fakecloud/internal/clock"
)

// C2DReady tells that the session's client can take messages (now, or again).
func (c *Session) C2DReady() {
	c.svc.c2dMu.Lock()
	defer c.svc.c2dMu.Unlock()
	c.svc.pump(c)
}

// pump hands over what the session has not been sent yet, in order. The caller holds c2dMu.
func (s *Service) pump(c *Session) {
	if c == nil || c.Ended() {
		return
	}
	sink, ok := c.down.(C2DSink)
	if !ok {
		return
	}
	box := c.box()
	q, ok := s.c2d.Get(box.key())
	if !ok {
		return
	}
	judge, _ := sink.(C2DJudge)
	now, changed := s.clock.Now(), false
	for i := 0; i < len(q.Messages); i++ {
		m := &q.Messages[i]
		if c.sent[m.Seq] != "" || m.lockedUntil.After(now) {
			continue
		}
		if judge != nil && !judge.WantsC2D(*m) {
			q = s.removeC2D(box, q, i, Rejected)
			i--
			continue
		}
		m.Lock, m.lockedUntil = s.ids.GUID(), now.Add(c2dLock)
		lock := m.Lock
		if !sink.Message(*m, func() { _ = s.settle(box, lock, Completed) }) { // a lock that ran out is redelivered
			m.lockedUntil = time.Time{}
			break
		}
		if c.sent == nil {
			c.sent = map[uint64]string{}
		}
		c.sent[m.Seq], changed = lock, true
	}
	if changed {
		s.c2d.Put(box.key(), q)
	}
}

func (c *Session) box() mailbox { return mailbox{c.id.Hub, c.id.DeviceID, c.id.ModuleID} }

// unlockC2D gives back what the session was sent and did not complete, for the next connection.
func (c *Session) unlockC2D() {
	s := c.svc
	s.c2dMu.Lock()
	defer s.c2dMu.Unlock()
	if len(c.sent) == 0 {
		return
	}
	_, _ = s.c2d.Update(c.box().key(), func(q c2dQueue) (c2dQueue, error) { // no queue, nothing to unlock
		for i := range q.Messages {
			if m := &q.Messages[i]; m.Lock == c.sent[m.Seq] {
				m.lockedUntil = time.Time{}
			}
		}
		return q, nil
	})
	c.sent = nil
	s.pump(s.session(c.id.Hub, c.id.DeviceID, c.id.ModuleID))
}

// ReceiveC2D locks the oldest free message of an identity, for 60 seconds where lock is not positive, and
// returns it; ok is false when there is none. It is for clients that poll.
func (s *Service) ReceiveC2D(id Identity, lock time.Duration) (m C2DMessage, ok bool) {
	if lock <= 0 {
		lock = c2dLock
	}
	s.c2dMu.Lock()
	defer s.c2dMu.Unlock()
	box := mailbox{id.Hub, id.DeviceID, id.ModuleID}
	now := s.clock.Now()
	q, _ := s.c2d.Get(box.key())
	for i := range q.Messages {
		if q.Messages[i].lockedUntil.After(now) {
			continue
		}
		q.Messages[i].Lock, q.Messages[i].lockedUntil = s.ids.GUID(), now.Add(lock)
		s.c2d.Put(box.key(), q)
		s.armLock(box, q.Messages[i].Seq, lock)
		return q.Messages[i], true
	}
	return C2DMessage{}, false
}

// armLock hands a polled message over to whoever is connected when its lock runs out. The caller holds c2dMu.
func (s *Service) armLock(box mailbox, seq uint64, lock time.Duration) {
	k := lockKey(box, seq)
	s.stopC2D(k)
	s.timeC2D(k, lock, func() { s.pump(s.session(box.hub, box.device, box.module)) })
}

// SettleC2D completes, rejects or abandons a locked message. ErrPrecondition says that the lock is
// unknown or has run out (412002).
func (s *Service) SettleC2D(id Identity, lock string, o Outcome) error {
	return s.settle(mailbox{id.Hub, id.DeviceID, id.ModuleID}, lock, o)
}

func (s *Service) settle(box mailbox, lock string, o Outcome) error {
	s.c2dMu.Lock()
	defer s.c2dMu.Unlock()
	q, _ := s.c2d.Get(box.key())
	now := s.clock.Now()
	i := slices.IndexFunc(q.Messages, func(m C2DMessage) bool { return m.Lock == lock && m.lockedUntil.After(now) })
	if i < 0 {
		return fmt.Errorf("message lock: %w", ErrPrecondition)
	}
	if m := &q.Messages[i]; o == Abandoned {
		m.DeliveryCount++
		m.lockedUntil = time.Time{}
		if m.DeliveryCount < maxDeliveries {
			s.c2d.Put(box.key(), q)
			s.pump(s.session(box.hub, box.device, box.module)) // whoever is connected and was not sent it
			return nil
		}
		o = exceeded
	}
	s.removeC2D(box, q, i, o)
	s.pump(s.session(box.hub, box.device, box.module)) // there may be room again
	return nil
}

// PurgeC2D empties an identity's queue and returns how many messages there were.
func (s *Service) PurgeC2D(hub, device, module string) (int, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return 0, err
	}
	s.c2dMu.Lock()
	defer s.c2dMu.Unlock()
	box := mailbox{h.Host, device, module}
	q, _ := s.c2d.Get(box.key())
	n := len(q.Messages)
	for range n {
		q = s.removeC2D(box, q, 0, purged)
	}
	return n, nil
}

// removeC2D takes a message out of its queue for good. The caller holds c2dMu.
func (s *Service) removeC2D(box mailbox, q c2dQueue, i int, o Outcome) c2dQueue {
	m := q.Messages[i]
	q.Messages = slices.Delete(q.Messages, i, i+1)
	s.c2d.Put(box.key(), q)
	if c := s.session(box.hub, box.device, box.module); c != nil {
		delete(c.sent, m.Seq)
	}
	s.stopC2D(timerKey(box, m.Seq))
	s.stopC2D(lockKey(box, m.Seq))
	if wanted := m.Ack == AckFull || m.Ack == AckPositive && o == Completed || m.Ack == AckNegative && o != Completed; wanted {
		s.feedBack(box, m, o) // before the journal says so: who waits for the event may read it
	}
	e := s.c2dEvent(box, "message "+string(o))
	e.Properties = map[string]string{"sequenceNumber": strconv.FormatUint(m.Seq, 10), "outcome": string(o)}
	s.journal.Append(e)
	return q
}

func timerKey(box mailbox, seq uint64) string {
	return box.key() + keySeparator + strconv.FormatUint(seq, 10)
}

func lockKey(box mailbox, seq uint64) string { return timerKey(box, seq) + keySeparator }

// armC2D expires a message when its time is over (HUB-45). The caller holds c2dMu.
func (s *Service) armC2D(box mailbox, m C2DMessage, ttl time.Duration) {
	s.timeC2D(timerKey(box, m.Seq), ttl, func() {
		q, _ := s.c2d.Get(box.key())
		i := slices.IndexFunc(q.Messages, func(other C2DMessage) bool { return other.Seq == m.Seq && other.deadline.Equal(m.deadline) })
		if i >= 0 {
			s.removeC2D(box, q, i, expired)
		}
	})
}

// timeC2D calls f with c2dMu held once d has passed. The caller holds it, too, and k is free.
func (s *Service) timeC2D(k string, d time.Duration, f func()) {
	if s.c2dTimers == nil {
		s.c2dTimers = map[string]clock.Timer{}
	}
	var own clock.Timer
	own = s.clock.AfterFunc(d, func() {
		s.c2dMu.Lock()
		defer s.c2dMu.Unlock()
		if s.c2dTimers[k] == own { // else a later one has taken its place
			delete(s.c2dTimers, k)
		}
		f()
	})
	s.c2dTimers[k] = own
}

// stopC2D stops a timer. The caller holds c2dMu.
func (s *Service) stopC2D(k string) {
	if t := s.c2dTimers[k]; t != nil {
		t.Stop()
		delete(s.c2dTimers, k)
	}
}

// waitingC2D returns how many messages wait for an identity.
func (s *Service) waitingC2D(hub, device, module string) int {
	q, _ := s.c2d.Get(mailbox{hub, device, module}.key())
	return len(q.Messages)
}
