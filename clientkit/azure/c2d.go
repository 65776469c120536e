package azure

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/clientkit/internal/session"
)

// Received is a cloud-to-device message.
type Received struct {
	Body            []byte
	ID              string
	CorrelationID   string
	UserID          string
	To              string // e.g. /devices/dev-01/messages/deviceBound
	ContentType     string
	ContentEncoding string
	Expiry          time.Time // zero when the sender set none
	Ack             string    // the feedback that the sender asked for: positive, negative, full or empty
	// Properties are the application's own, and system properties that have no field here ("$.…").
	Properties map[string]string
}

// OnMessage subscribes to cloud-to-device messages and has handle called with each, one after the other.
// The message is acknowledged, and so leaves the hub's queue, when handle returns; MQTT has no way to
// reject it. One that could not be acknowledged comes again on a later connection: handle may see it twice.
// ctx of handle ends with Close, which waits for handle; handle must not call Close.
//
// It returns once the hub has granted the subscription, which the kit renews on every connection. Errors:
// those of Send, a refused subscription, or that a handler is set already.
func (h *Hub) OnMessage(ctx context.Context, handle func(context.Context, Received)) error {
	if handle == nil {
		return fmt.Errorf("azure: cloud-to-device messages: %w", errNoHandler)
	}
	h.in.mu.Lock()
	taken := h.in.message
	h.in.message = true
	h.in.mu.Unlock()
	err := errTaken
	if !taken {
		if err = h.session.Want(ctx, h.cfg.deviceboundFilter()); err != nil || !h.session.Spawn(func() { h.takeMessages(handle) }) {
			if err == nil {
				err = ErrClosed
			}
			h.in.mu.Lock()
			h.in.message = false
			h.in.mu.Unlock()
		}
	}
	if err != nil {
		return fmt.Errorf("azure: cloud-to-device messages: %w", err)
	}
	return nil
}

func (c HubConfig) deviceboundFilter() string {
	filter := "devices/" + topicID(c.DeviceID)
	if c.ModuleID != "" {
		filter += "/modules/" + topicID(c.ModuleID)
	}
	return filter + devicebound + "#"
}

// takeMessages hands over messages until the hub ends.
func (h *Hub) takeMessages(handle func(context.Context, Received)) {
	for {
		select {
		case <-h.session.Context().Done():
			return
		case a := <-h.in.messages:
			if !h.session.Hold(a.Link) {
				continue
			}
			h.takeMessage(a, handle)
			a.Link.Release()
		}
	}
}

func (h *Hub) takeMessage(a session.Arrival, handle func(context.Context, Received)) {
	m, err := parseReceived(a)
	if err != nil {
		h.cfg.Log.Warn("message from the hub cannot be read", "device", h.cfg.clientID(), "topic", a.Topic, "cause", err)
		return // stays in the hub's queue for a client that can
	}
	handle(h.session.Context(), m)
	a.Ack()
}

func parseReceived(a session.Arrival) (Received, error) {
	_, text, _ := strings.Cut(a.Topic, devicebound)
	bag, err := parseBag(text)
	if err != nil {
		return Received{}, err
	}
	m := Received{Body: a.Payload, Properties: map[string]string{}}
	fields := map[string]*string{
		"$.mid": &m.ID, "$.cid": &m.CorrelationID, "$.uid": &m.UserID, "$.to": &m.To,
		"$.ct": &m.ContentType, "$.ce": &m.ContentEncoding, "iothub-ack": &m.Ack,
	}
	for _, p := range bag {
		switch field := fields[p.name]; {
		case field != nil:
			*field = p.value
		case p.name == "$.exp":
			if m.Expiry, err = time.Parse(time.RFC3339Nano, p.value); err != nil {
				return Received{}, fmt.Errorf("$.exp: %w", err)
			}
		default:
			m.Properties[p.name] = p.value
		}
	}
	return m, nil
}
