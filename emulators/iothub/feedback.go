package iothub

import (
	"fmt"
	"slices"
	"time"
)

// The limits of feedback batches ("Understand cloud-to-device messaging from an IoT hub").
const (
	maxFeedbackBatch = 64
	feedbackLock     = 60 * time.Second
)

// FeedbackBatch is feedback that was locked for one reader.
type FeedbackBatch struct {
	Lock    string
	Records []Feedback
}

// feedbackHeld is the batch that a hub's reader has and has not settled.
type feedbackHeld struct {
	lock  string
	last  uint64
	until time.Time // timers reading
}

// ReceiveFeedback locks a hub's oldest feedback for a minute, at most 64 records. ok is false when there
// is none, or another reader has it. Unlike the real hub's, feedback does not wait for 15 seconds to fill
// a batch.
func (s *Service) ReceiveFeedback(hub string) (batch FeedbackBatch, ok bool) {
	h, err := s.GetHub(hub)
	if err != nil {
		return batch, false
	}
	s.side.mu.Lock()
	defer s.side.mu.Unlock()
	now := s.clock.Now()
	if held, found := s.side.held[h.Host]; found && held.until.After(now) {
		return batch, false
	}
	read, _ := s.side.feedbackRead.Get(h.Host)
	records := s.pendingFeedback(h.Host, read)
	if len(records) == 0 {
		return batch, false
	}
	batch = FeedbackBatch{Lock: s.ids.GUID(), Records: records[:min(len(records), maxFeedbackBatch)]}
	s.side.held[h.Host] = feedbackHeld{lock: batch.Lock, last: batch.Records[len(batch.Records)-1].Seq, until: now.Add(feedbackLock)}
	return batch, true
}

// pendingFeedback is the feedback after a record that a reader still gets: that of a device which was deleted since
// goes with it, also where another has its id now.
func (s *Service) pendingFeedback(hub string, since uint64) []Feedback {
	return slices.DeleteFunc(s.Feedback(hub, since), func(f Feedback) bool {
		d, ok := s.devices.Get(key(hub, f.DeviceID))
		return !ok || d.GenerationID != f.DeviceGenerationID
	})
}

// SettleFeedback completes a batch, or gives it back. ErrPrecondition says that the lock is unknown or has
// run out.
func (s *Service) SettleFeedback(hub, lock string, complete bool) error {
	h, err := s.GetHub(hub)
	if err != nil {
		return err
	}
	s.side.mu.Lock()
	defer s.side.mu.Unlock()
	held, found := s.side.held[h.Host]
	if !found || held.lock != lock || !held.until.After(s.clock.Now()) {
		return fmt.Errorf("feedback lock %s: %w", quote(lock), ErrPrecondition)
	}
	delete(s.side.held, h.Host)
	if complete {
		s.side.feedbackRead.Put(h.Host, held.last)
	}
	return nil
}
