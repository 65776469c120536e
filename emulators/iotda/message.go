package iotda

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// The states of a message.
const (
	Pending   = "PENDING"
	Delivered = "DELIVERED"
	Failed    = "FAILED"
	TimedOut  = "TIMEOUT"
)

// maxMessages is how many messages of a device are remembered, the oldest finished ones go first.
const maxMessages = 200

// DefaultTTL is how long a message waits for a device that is offline, in minutes.
const DefaultTTL = 1440

// NewMessage is a message to a device.
type NewMessage struct {
	ID            string          // made when empty
	Name          string          //
	Content       json.RawMessage // text or an object
	Properties    json.RawMessage // an object or nothing; kept and shown
	Encoding      string          // none (default) or base64
	PayloadFormat string          // standard (default) or raw
	Topic         string          // suffix of a custom topic that the product declares
	TopicFullName string          // any topic
	TTL           *int            // minutes, 0 to 1440 in steps of 5; nil takes DefaultTTL
}

// Message is a message to a device with what became of it.
type Message struct {
	ID            string
	Name          string
	Content       json.RawMessage
	Properties    json.RawMessage `json:",omitempty"`
	Encoding      string
	PayloadFormat string
	Topic         string // whole
	Status        string
	Error         *Error // why it failed
	Created       time.Time
	Finished      time.Time
	Expires       time.Time // of a message that waits
	Payload       []byte    // as the device gets it
	System        bool      // its topic needs no subscription
	Rounds        int       `json:",omitempty"` // how often it still comes again, unless the device acknowledges it
}

// mailbox is the messages of one device, oldest first. Its slice is replaced, never changed in place.
type mailbox struct{ Messages []Message }

// SendMessage sends a message to a device: at once when it is online, else when it comes within the
// message's time to live.
func (s *Service) SendMessage(instance, id string, n NewMessage) (Message, error) {
	d, err := s.Device(instance, id)
	if err != nil {
		return Message{}, err
	}
	ttl := DefaultTTL
	if n.TTL != nil {
		ttl = *n.TTL
	}
	if ttl < 0 || ttl > DefaultTTL || ttl%5 != 0 {
		return Message{}, s.refuseAPI(instance, id, CodeInvalid, &rule.Refusal{Rule: "DA-28/ttl",
			Detail: "the message's time to live is outside its limits", Seen: fmt.Sprintf("ttl %d", ttl), Expected: "0 to 1440 minutes in steps of 5"})
	}
	m, err := s.compose(instance, d, n)
	if err != nil {
		return m, err
	}
	m.Expires = m.Created.Add(time.Duration(ttl) * time.Minute)
	c := s.session(instance, d.Gateway())
	if c == nil && ttl == 0 {
		m.fail(s.clock.Wall(), &Error{Code: CodeNotOnline, Text: "The device is not online."})
	}
	if err := s.keepMessage(instance, id, m); err != nil {
		return m, err
	}
	if c != nil {
		s.changeMessages(instance, id, func(kept *Message) {
			switch {
			case kept.ID != m.ID || kept.Status != Pending:
			case c.hand(id, kept):
			default:
				kept.fail(s.clock.Wall(), &Error{Code: CodeNotSubscribed, Text: "The device has not subscribed to the topic."})
			}
		})
		return s.Message(instance, id, m.ID)
	}
	s.tellMessage(instance, id, m)
	if m.Status == Pending {
		s.watchMessage(instance, id, m)
		s.deliverPending(instance, d.Gateway()) // it may have connected in between
		return s.Message(instance, id, m.ID)
	}
	return m, nil
}

func (m *Message) fail(now time.Time, why *Error) {
	m.Status, m.Finished, m.Error = Failed, now.UTC(), why
}

// compose validates a message and makes its topic and payload.
func (s *Service) compose(instance string, d Device, n NewMessage) (Message, error) {
	m := Message{ID: n.ID, Name: n.Name, Content: n.Content, Properties: n.Properties, Encoding: orText(n.Encoding, "none"), PayloadFormat: orText(n.PayloadFormat, "standard"),
		Status: Pending, Created: s.clock.Wall().UTC()}
	if m.ID == "" {
		m.ID = s.ids.GUID()
	}
	switch {
	case len(m.ID) > 100 || len(m.Name) > 128:
		return m, invalid("message_id has at most 100, name at most 128 characters")
	case len(n.Content) == 0 || n.Content[0] != '"' && n.Content[0] != '{' || len(n.Content) > MaxMessage:
		return m, invalid("message: text or an object of at most 1 MB")
	case len(n.Properties) > 0 && n.Properties[0] != '{' || len(n.Properties) > MaxMessage:
		return m, invalid("properties: an object of at most 1 MB")
	case m.Encoding != "none" && m.Encoding != "base64":
		return m, invalid("encoding %q: none or base64", clip(m.Encoding))
	case m.PayloadFormat != "standard" && m.PayloadFormat != "raw":
		return m, invalid("payload_format %q: standard or raw", clip(m.PayloadFormat))
	}
	if err := s.address(instance, d, n, &m); err != nil {
		return m, err
	}
	if m.PayloadFormat == "standard" {
		m.Payload = iotda.Encode(iotda.Message{ObjectDeviceID: d.DeviceID, Name: m.Name, ID: m.ID, Content: n.Content})
		return m, nil
	}
	var text string
	if json.Unmarshal(n.Content, &text) != nil {
		m.Payload = n.Content
		return m, nil
	}
	m.Payload = []byte(text)
	if m.Encoding == "base64" {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return m, invalid("message: not base64, as its encoding says")
		}
		m.Payload = raw
	}
	return m, nil
}

// address finds the topic that a message travels on: the gateway's for a child.
func (s *Service) address(instance string, d Device, n NewMessage, m *Message) error {
	switch {
	case n.Topic != "" && n.TopicFullName != "":
		return invalid("topic and topic_full_name exclude each other")
	case n.TopicFullName != "":
		if len(n.TopicFullName) > 128 || strings.ContainsAny(n.TopicFullName, "+#\x00") {
			return invalid("topic_full_name: at most 128 characters without wildcards")
		}
		m.Topic = n.TopicFullName
	case n.Topic != "":
		p, err := s.Product(instance, d.ProductID)
		if err != nil {
			return err
		}
		declared := slices.ContainsFunc(p.Topics, func(t ProductTopic) bool { return t.Suffix == n.Topic && t.Operation != "PUBLISH" })
		if !declared {
			return invalid("topic %q: product %s declares no such topic to subscribe to", clip(n.Topic), p.ProductID)
		}
		m.Topic = iotda.Topic{Kind: iotda.User, DeviceID: d.Gateway(), Suffix: n.Topic}.Format()
	default:
		m.Topic, m.System = iotda.Topic{Kind: iotda.MessagesDown, DeviceID: d.Gateway()}.Format(), true
	}
	return nil
}

func (s *Service) keepMessage(instance, id string, m Message) error {
	k := key(instance, id)
	_ = s.messages.Create(k, mailbox{}) // it may be there already
	_, err := s.messages.Update(k, func(box mailbox) (mailbox, error) {
		if slices.ContainsFunc(box.Messages, func(old Message) bool { return old.ID == m.ID }) {
			return box, conflict("message %q exists already", clip(m.ID))
		}
		kept := box.Messages
		if len(kept) >= maxMessages {
			i := slices.IndexFunc(kept, func(old Message) bool { return old.Status != Pending })
			if i < 0 {
				return box, conflict("%d messages wait for the device already", maxMessages)
			}
			kept = slices.Delete(slices.Clone(kept), i, i+1)
		}
		return mailbox{append(slices.Clip(kept), m)}, nil
	})
	return err
}

// changeMessages changes messages of a device as one step, and announces those whose status has changed.
func (s *Service) changeMessages(instance, id string, change func(*Message)) {
	var changed []Message
	_, _ = s.messages.Update(key(instance, id), func(box mailbox) (mailbox, error) {
		kept := slices.Clone(box.Messages)
		for i := range kept {
			before := kept[i].Status
			change(&kept[i])
			if kept[i].Status != before {
				changed = append(changed, kept[i])
			}
		}
		return mailbox{kept}, nil
	})
	for _, m := range changed {
		s.tellMessage(instance, id, m)
	}
}

// watchMessage ends a message that waits when its time is over.
func (s *Service) watchMessage(instance, id string, m Message) {
	s.clock.AfterFunc(m.Expires.Sub(s.clock.Wall()), func() { s.expireMessage(instance, id, m.ID) })
}

func (s *Service) expireMessage(instance, id, message string) {
	s.changeMessages(instance, id, func(m *Message) {
		if m.ID == message && m.Status == Pending {
			m.Status, m.Finished = TimedOut, s.clock.Wall().UTC()
		}
	})
}

// deliverPending hands what waits for a device and its children to its connection, in order. What needs a
// subscription that is not there yet goes on waiting.
func (s *Service) deliverPending(instance, gateway string) {
	c := s.session(instance, gateway)
	if c == nil {
		return
	}
	ids := []string{gateway}
	for _, child := range s.Children(instance, gateway) {
		ids = append(ids, child.DeviceID)
	}
	for _, id := range ids {
		box, _ := s.messages.Get(key(instance, id))
		if !slices.ContainsFunc(box.Messages, func(m Message) bool { return m.Status == Pending || m.Rounds > 0 }) {
			continue
		}
		s.changeMessages(instance, id, func(m *Message) {
			if m.Status == Pending {
				c.hand(id, m)
			} else {
				c.handAgain(id, m)
			}
		})
	}
}

// Messages returns the messages of a device, oldest first.
func (s *Service) Messages(instance, id string) ([]Message, error) {
	if _, err := s.Device(instance, id); err != nil {
		return nil, err
	}
	box, _ := s.messages.Get(key(instance, id))
	return box.Messages, nil
}

// Message returns one message of a device.
func (s *Service) Message(instance, id, message string) (Message, error) {
	all, err := s.Messages(instance, id)
	if err != nil {
		return Message{}, err
	}
	for _, m := range all {
		if m.ID == message {
			return m, nil
		}
	}
	return Message{}, notFound("message", message)
}

// DeleteMessage takes back a message that waits.
func (s *Service) DeleteMessage(instance, id, message string) error {
	m, err := s.Message(instance, id, message)
	switch {
	case err != nil:
		return err
	case m.Status != Pending:
		return invalid("message %s is %s and cannot be taken back", clip(message), m.Status)
	}
	_, err = s.messages.Update(key(instance, id), func(box mailbox) (mailbox, error) {
		return mailbox{slices.DeleteFunc(slices.Clone(box.Messages), func(m Message) bool { return m.ID == message })}, nil
	})
	return err
}

func (s *Service) dropMessages(instance, id string) { s.messages.Delete(key(instance, id)) }

// message takes a device's own message: any bytes, or the system form that may name a child.
func (c *Session) message(from source, payload []byte) {
	payload, ok := c.unpack(from, payload)
	if !ok {
		return
	}
	d, err := c.svc.Device(c.id.Instance, c.id.DeviceID)
	if err != nil {
		return
	}
	var content any = string(payload)
	var form iotda.Message
	if from.topic.Kind == iotda.MessagesUp && iotda.Decode(payload, &form) == nil && len(form.Content) > 0 {
		if d, ok = c.target(from.name, form.ObjectDeviceID); !ok {
			return
		}
		content = form.Content
	}
	c.svc.notify(c.id.Instance, d, Notification{Resource: "device.message", Event: "report", RequestID: from.topic.RequestID,
		Body: map[string]any{"topic": from.name, "content": content}, session: c, topic: from.name})
}

// Broadcast sends a message to every device of a resource space that has subscribed to a topic under
// $oc/broadcast/, and returns how many these are.
func (s *Service) Broadcast(instance, app, topic string, payload []byte) (int, error) {
	if !strings.HasPrefix(topic, "$oc/broadcast/") || len(topic) > 128 || strings.ContainsAny(topic, "+#\x00") {
		return 0, invalid("topic_full_name %q: $oc/broadcast/ and a name", clip(topic))
	}
	var all []*Session
	s.mu.Lock()
	for _, c := range s.live {
		if c.id.Instance == instance && !c.ended.Load() {
			all = append(all, c)
		}
	}
	s.mu.Unlock()
	sent := 0
	for _, c := range all {
		d, err := s.Device(instance, c.id.DeviceID)
		if err == nil && d.AppID == app && c.down.Deliver(topic, payload, false) {
			sent++
		}
	}
	return sent, nil
}
