package iothub

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The limits of cloud-to-device messages ("Understand cloud-to-device messaging from an IoT hub").
const (
	maxC2DQueue      = 50
	maxC2DMessage    = 64 << 10
	maxDeliveries    = 10
	c2dLock          = 60 * time.Second
	defaultC2DTTL    = time.Hour
	maxC2DTTL        = 48 * time.Hour
	CodeQueueFull    = 403004
	maxFeedbackCount = 10_000
	maxFeedbackBytes = 8 << 20
)

// Ack says which outcomes of a message its sender wants to hear of.
type Ack string

// The acks.
const (
	AckNone     Ack = "none" // also the empty one
	AckPositive Ack = "positive"
	AckNegative Ack = "negative"
	AckFull     Ack = "full"
)

// C2D is a cloud-to-device message as the service side sends it.
type C2D struct {
	MessageID       string // at most 128 bytes
	CorrelationID   string
	UserID          string
	To              string // empty takes the identity's own address
	ContentType     string
	ContentEncoding string
	Expiry          time.Time // zero takes an hour; at most two days from now
	Ack             Ack
	Properties      []C2DProperty
	Body            []byte // kept; must not be changed
	// Shown is what the journal has for a Body that holds a secret; nil shows the Body.
	Shown []byte
}

// shown is what the journal may show of the body.
func (m C2D) shown() []byte {
	if m.Shown != nil {
		return m.Shown
	}
	return m.Body
}

// C2DProperty is an application property, which may be null.
type C2DProperty struct {
	Name, Value string
	Null        bool
}

// C2DMessage is a message in an identity's queue.
type C2DMessage struct {
	C2D
	Seq           uint64
	EnqueuedAt    time.Time // wall
	ExpirySet     bool      // the sender chose Expiry
	DeliveryCount int       // how often it was abandoned
	Lock          string    // of its latest delivery
	deadline      time.Time // timers reading at which it expires
	lockedUntil   time.Time // timers reading
}

// c2dQueue is the queue of one identity, oldest first.
type c2dQueue struct {
	Messages []C2DMessage
	Last     uint64
}

func (q c2dQueue) clone() c2dQueue {
	q.Messages = slices.Clone(q.Messages)
	return q
}

// C2DSink is a Downlink that takes messages as they come.
type C2DSink interface {
	// Message hands over a message and reports whether it will be sent: false for a client that has not
	// subscribed, or cannot take more now. complete is called once the client has it. It must not block.
	Message(m C2DMessage, complete func()) bool
}

// Outcome is what becomes of a delivered message.
type Outcome string

// The outcomes, named as in feedback; an abandoned message goes back into the queue.
const (
	Completed Outcome = "Success"
	Rejected  Outcome = "Rejected"
	Abandoned Outcome = "Abandoned"
	expired   Outcome = "Expired"
	exceeded  Outcome = "DeliveryCountExceeded"
	purged    Outcome = "Purged"
)

// Feedback tells a sender what became of its message.
type Feedback struct {
	Hub                string    `json:"-"`
	Seq                uint64    `json:"-"`
	OriginalMessageID  string    `json:"originalMessageId"`
	EnqueuedTimeUTC    time.Time `json:"enqueuedTimeUtc"`
	StatusCode         Outcome   `json:"statusCode"`
	Description        string    `json:"description"`
	DeviceID           string    `json:"deviceId"`
	DeviceGenerationID string    `json:"deviceGenerationId"`
}

// mailbox names an identity's queue.
type mailbox struct{ hub, device, module string }

func (b mailbox) key() string { return key(b.hub, b.device, b.module) }

// SendC2D puts a message into an identity's queue and, if it is connected and subscribed, on its way.
// Errors: ErrInvalid, ErrNotFound, or a *rule.Refusal of HUB-43, which is journalled.
func (s *Service) SendC2D(hub, device, module string, m C2D) (C2DMessage, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return C2DMessage{}, err
	}
	box := mailbox{h.Host, device, module}
	now, wall := s.clock.Now(), s.clock.Wall().UTC()
	chosen := !m.Expiry.IsZero()
	if !chosen {
		m.Expiry = wall.Add(defaultC2DTTL)
	}
	ttl := m.Expiry.Sub(wall)
	if err := m.validate(ttl); err != nil {
		return C2DMessage{}, err
	}
	s.c2dMu.Lock()
	defer s.c2dMu.Unlock()
	if _, ok := s.twins.Get(twinKey(h.Host, device, module)); !ok {
		return C2DMessage{}, fmt.Errorf("identity %s: %w", quote(name(device, module)), ErrNotFound)
	}
	q, _ := s.c2d.Get(box.key())
	if r := m.fits(len(q.Messages)); r != nil {
		s.journal.Refuse(s.c2dEvent(box, ""), r)
		return C2DMessage{}, r
	}
	q.Last++
	msg := C2DMessage{C2D: m, Seq: q.Last, EnqueuedAt: wall, ExpirySet: chosen, deadline: now.Add(ttl)}
	q.Messages = append(q.Messages, msg)
	s.c2d.Put(box.key(), q)
	s.armC2D(box, msg, ttl)
	e := s.c2dEvent(box, "message queued")
	e.Payload, e.Properties = m.shown(), map[string]string{"sequenceNumber": strconv.FormatUint(msg.Seq, 10)}
	if m.MessageID != "" {
		e.Properties["message-id"] = m.MessageID
	}
	s.journal.Append(e)
	s.pump(s.session(box.hub, box.device, box.module))
	return msg, nil
}

func (m C2D) validate(ttl time.Duration) error {
	switch {
	case len(m.MessageID) > 128:
		return fmt.Errorf("%w: a message id of %d bytes, at most 128", ErrInvalid, len(m.MessageID))
	case ttl <= 0 || ttl > maxC2DTTL:
		return fmt.Errorf("%w: the message would expire in %s; more than nothing and at most %s is allowed", ErrInvalid, ttl, maxC2DTTL)
	}
	switch m.Ack {
	case "", AckNone, AckPositive, AckNegative, AckFull:
		return nil
	}
	return fmt.Errorf("%w: ack %s; known are none, positive, negative, full", ErrInvalid, quote(string(m.Ack)))
}

// fits judges a message against the queue's limits (HUB-43).
func (m C2D) fits(waiting int) *rule.Refusal {
	size := len(m.Body)
	for _, v := range []string{m.MessageID, m.CorrelationID, m.UserID, m.To, m.ContentType, m.ContentEncoding} {
		size += len(v)
	}
	for _, p := range m.Properties {
		size += len(p.Name) + len(p.Value)
	}
	switch {
	case size > maxC2DMessage:
		return twinRefusal("HUB-43/size", CodeMessageTooLarge, "the message is too large", fmt.Sprintf("%d bytes", size), fmt.Sprintf("at most %d bytes", maxC2DMessage))
	case waiting >= maxC2DQueue:
		return twinRefusal("HUB-43/full", CodeQueueFull, "the device's queue is full", fmt.Sprintf("%d messages wait", waiting), fmt.Sprintf("at most %d", maxC2DQueue))
	}
	return nil
}

func (s *Service) c2dEvent(box mailbox, detail string) journal.Event {
	return journal.Event{Platform: Platform, Endpoint: box.hub, Device: name(box.device, box.module), Kind: journal.C2D,
		Dir: journal.Out, Detail: detail}
}

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
	now, changed := s.clock.Now(), false
	for i := range q.Messages {
		m := &q.Messages[i]
		if c.sent[m.Seq] != "" || m.lockedUntil.After(now) {
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

// ReceiveC2D locks the oldest free message of an identity for 60 seconds and returns it; ok is false when
// there is none. It is for clients that poll.
func (s *Service) ReceiveC2D(id Identity) (m C2DMessage, ok bool) {
	s.c2dMu.Lock()
	defer s.c2dMu.Unlock()
	box := mailbox{id.Hub, id.DeviceID, id.ModuleID}
	now := s.clock.Now()
	q, _ := s.c2d.Get(box.key())
	for i := range q.Messages {
		if q.Messages[i].lockedUntil.After(now) {
			continue
		}
		q.Messages[i].Lock, q.Messages[i].lockedUntil = s.ids.GUID(), now.Add(c2dLock)
		s.c2d.Put(box.key(), q)
		return q.Messages[i], true
	}
	return C2DMessage{}, false
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
	k := timerKey(box, m.Seq)
	if t := s.c2dTimers[k]; t != nil {
		t.Stop()
		delete(s.c2dTimers, k)
	}
	e := s.c2dEvent(box, "message "+string(o))
	e.Properties = map[string]string{"sequenceNumber": strconv.FormatUint(m.Seq, 10), "outcome": string(o)}
	s.journal.Append(e)
	if wanted := m.Ack == AckFull || m.Ack == AckPositive && o == Completed || m.Ack == AckNegative && o != Completed; wanted {
		s.feedBack(box, m, o)
	}
	return q
}

func timerKey(box mailbox, seq uint64) string {
	return box.key() + keySeparator + strconv.FormatUint(seq, 10)
}

// armC2D expires a message when its time is over (HUB-45). The caller holds c2dMu.
func (s *Service) armC2D(box mailbox, m C2DMessage, ttl time.Duration) {
	if s.c2dTimers == nil {
		s.c2dTimers = map[string]clock.Timer{}
	}
	k := timerKey(box, m.Seq)
	s.c2dTimers[k] = s.clock.AfterFunc(ttl, func() {
		s.c2dMu.Lock()
		defer s.c2dMu.Unlock()
		delete(s.c2dTimers, k)
		q, _ := s.c2d.Get(box.key())
		i := slices.IndexFunc(q.Messages, func(other C2DMessage) bool { return other.Seq == m.Seq && other.deadline.Equal(m.deadline) })
		if i >= 0 {
			s.removeC2D(box, q, i, expired)
		}
	})
}

// feedBack records what became of a message. The caller holds c2dMu.
func (s *Service) feedBack(box mailbox, m C2DMessage, o Outcome) {
	d, _ := s.devices.Get(key(box.hub, box.device))
	s.feedback.Append(Feedback{Hub: box.hub, OriginalMessageID: m.MessageID, EnqueuedTimeUTC: s.clock.Wall().UTC(),
		StatusCode: o, Description: string(o), DeviceID: box.device, DeviceGenerationID: d.GenerationID})
}

func (f *Feedback) cost() int { return 256 + len(f.OriginalMessageID) + len(f.DeviceID) }

// Feedback returns a hub's feedback after the sequence number since, oldest first.
func (s *Service) Feedback(hub string, since uint64) []Feedback {
	h, err := s.GetHub(hub)
	if err != nil {
		return nil
	}
	all, _ := s.feedback.Read(since, func(f *Feedback) bool { return f.Hub == h.Host }, 0)
	return all
}

// waitingC2D returns how many messages wait for an identity.
func (s *Service) waitingC2D(hub, device, module string) int {
	q, _ := s.c2d.Get(mailbox{hub, device, module}.key())
	return len(q.Messages)
}
