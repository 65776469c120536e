package iothub

import (
	"fmt"
	"slices"
	"strconv"
	"time"

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
	// Message hands over a message and reports whether that is done: false for a client that has not
	// subscribed, or cannot take more now, so that the later ones wait too. True is also for a message that the
	// client can never take. complete is called once the client has it. It must not block.
	Message(m C2DMessage, complete func()) bool
}

// C2DJudge is a C2DSink whose client may not want a message.
type C2DJudge interface {
	// WantsC2D reports whether the client may ever get a message; one that it may not is rejected, as by the
	// client itself. It must not block.
	WantsC2D(m C2DMessage) bool
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
