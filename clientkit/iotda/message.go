package iotda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/clientkit/internal/session"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// Message is a message in the platform's form, or a raw one.
type Message struct {
	DeviceID string          // the device's own, or that of a gateway's child
	ID       string          // optional
	Name     string          // optional
	Content  json.RawMessage // text as a JSON string, or any JSON
	Raw      []byte          // the whole payload as received; not sent
	ack      func()
}

// Text returns a message whose content is text.
func Text(text string) Message {
	return Message{Content: wire.Encode(text)}
}

// SendMessage sends a message in the platform's form. Errors as of Report.
func (d *Device) SendMessage(ctx context.Context, m Message) error {
	if !json.Valid(m.Content) {
		return fmt.Errorf("iotda: the message's content is not JSON: quote text, as Text does")
	}
	body := wire.Encode(wire.Message{ObjectDeviceID: m.DeviceID, Name: m.Name, ID: m.ID, Content: m.Content})
	return d.publish(ctx, d.own(wire.MessagesUp).Format(), body)
}

// OnMessage subscribes with QoS 1 to messages of the application and has handle called with each, one after the
// other. A message is acknowledged when handle returns; one that was not comes again, so handle may see it
// twice. ctx of handle ends with Close, which waits for handle; handle must not call Close.
//
// It returns once the platform has granted the subscription, which the kit renews on every connection. Messages
// that came before, 64 at most, are handed over too.
func (d *Device) OnMessage(ctx context.Context, handle func(context.Context, Message)) error {
	if handle == nil {
		return errNilHandler
	}
	d.mu.Lock()
	taken := d.message
	d.message = true
	d.mu.Unlock()
	if taken {
		return errTaken
	}
	err := d.session.Want(ctx, d.own(wire.MessagesDown).Format())
	if err == nil && !d.session.Spawn(func() { d.takeMessages(handle) }) {
		err = ErrClosed
	}
	if err != nil {
		d.mu.Lock()
		d.message = false
		d.mu.Unlock()
		return fmt.Errorf("iotda: messages: %w", err)
	}
	return nil
}

// messageArrived keeps a message for the handler, which may be about to come: what waited at the platform comes
// right after CONNECT. It never blocks.
func (d *Device) messageArrived(in session.Arrival) {
	m := readMessage(in.Payload)
	m.DeviceID, m.ack = d.object(m.DeviceID), in.Ack
	select {
	case d.messages <- m:
	default:
		d.cfg.Log.Warn("more messages than can wait", "device", d.cfg.DeviceID)
	}
}

// readMessage reads the platform's form; what is not in it is raw.
func readMessage(payload []byte) Message {
	var form wire.Message
	m := Message{Raw: payload}
	if json.Unmarshal(payload, &form) == nil && form.Content != nil {
		m.DeviceID, m.ID, m.Name, m.Content = form.ObjectDeviceID, form.ID, form.Name, form.Content
	}
	return m
}

// takeMessages hands over messages until the device ends.
func (d *Device) takeMessages(handle func(context.Context, Message)) {
	for {
		select {
		case <-d.session.Context().Done():
			return
		case m := <-d.messages:
			handle(d.session.Context(), m)
			m.ack()
		}
	}
}

// Publish sends a raw message to a topic: one that begins with $oc or with a slash, or any other name, is taken
// as it stands. UserTopic makes the device's own. Errors as of Report.
func (d *Device) Publish(ctx context.Context, topic string, body []byte) error {
	if topic == "" || strings.ContainsAny(topic, "+#\x00") {
		return fmt.Errorf("iotda: topic %q: a name without + and #", topic)
	}
	return d.publish(ctx, topic, append([]byte(nil), body...))
}

// UserTopic returns the device's topic $oc/devices/{device id}/user/{suffix}.
func (d *Device) UserTopic(suffix string) string {
	return wire.Topic{Kind: wire.User, DeviceID: d.cfg.DeviceID, Suffix: suffix}.Format()
}

// topicHandler takes a message of a custom topic.
type topicHandler func(topic string, body []byte)

// Subscribe subscribes with QoS 1 to a custom topic or filter and has handle called with each message. handle
// runs on the connection's goroutine: it must not block and must not call the device. The kit renews the
// subscription on every connection. A refusal is a *clientkit.SubscribeError.
func (d *Device) Subscribe(ctx context.Context, filter string, handle func(topic string, body []byte)) error {
	switch {
	case filter == "":
		return errors.New("iotda: no topic filter")
	case handle == nil:
		return errNilHandler
	}
	d.mu.Lock()
	before, replaced := d.topics[filter]
	d.topics[filter] = handle
	d.mu.Unlock()
	err := d.session.Want(ctx, filter)
	if err == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.topics, filter)
	if replaced {
		d.topics[filter] = before
	}
	return fmt.Errorf("iotda: %w", err)
}

func (d *Device) topicArrived(in session.Arrival) {
	in.Ack()
	d.mu.Lock()
	var handlers []topicHandler
	for filter, handle := range d.topics {
		if matches(filter, in.Topic) {
			handlers = append(handlers, handle)
		}
	}
	d.mu.Unlock()
	for _, handle := range handlers {
		handle(in.Topic, in.Payload)
	}
}

// matches reports whether a topic falls under a filter (MQTT 3.1.1 section 4.7).
func matches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		if level == "#" {
			return true
		}
		if i >= len(t) || (level != "+" && level != t[i]) {
			return false
		}
	}
	return len(f) == len(t)
}
