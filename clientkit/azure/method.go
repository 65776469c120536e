package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/clientkit/internal/session"
)

// AnyMethod, as the name in HandleMethod, stands for all methods without a handler of their own.
const AnyMethod = "*"

// MaxMethodPayload is the hub's limit for a method's payload each way, in bytes (Learn "Understand and
// invoke direct methods from IoT Hub").
const MaxMethodPayload = 128 << 10

// MethodCall is a direct method that the service side has called.
type MethodCall struct {
	Name    string
	Payload json.RawMessage // JSON; empty when the caller sent none
}

// MethodHandler answers a direct method with a status of the application's own, as in HTTP, and JSON or
// nothing. ctx ends with Close, which waits for the handler; the handler must not call Close.
type MethodHandler func(ctx context.Context, call MethodCall) (status int, payload json.RawMessage)

// HandleMethod subscribes to direct methods and has handle called with each call of name, or, for
// AnyMethod, of any name. Calls run beside each other, a hundred at most. A handler set before under the
// same name is replaced. A call that has no handler is answered 501, a handler's answer that is not JSON
// or over MaxMethodPayload 500.
//
// It returns once the hub has granted the subscription, which the kit renews on every connection. Errors:
// those of Send, or a refused subscription.
func (h *Hub) HandleMethod(ctx context.Context, name string, handle MethodHandler) error {
	switch {
	case name == "":
		return errors.New("azure: direct method: no name")
	case handle == nil:
		return fmt.Errorf("azure: direct method %s: %w", name, errNoHandler)
	}
	h.in.mu.Lock()
	before := h.in.handlers[name]
	h.in.handlers[name] = handle
	h.in.mu.Unlock()
	err := h.session.Want(ctx, methodTopic+"#")
	if err == nil {
		return nil
	}
	h.in.mu.Lock()
	defer h.in.mu.Unlock()
	if before != nil {
		h.in.handlers[name] = before
	} else {
		delete(h.in.handlers, name)
	}
	return fmt.Errorf("azure: direct method %s: %w", name, err)
}

// methodCalled starts the handler of a call, $iothub/methods/POST/{name}/?$rid={rid}.
func (h *Hub) methodCalled(a session.Arrival) {
	name, text, ok := strings.Cut(strings.TrimPrefix(a.Topic, methodTopic), "/?")
	rid := query(text, "$rid")
	if !ok || rid == "" {
		h.cfg.Log.Warn("not a call of a method", "device", h.cfg.clientID(), "topic", a.Topic)
		return
	}
	h.in.mu.Lock()
	handle, none := h.in.handlers[name], len(h.in.handlers) == 0
	if handle == nil {
		handle = h.in.handlers[AnyMethod]
	}
	h.in.mu.Unlock()
	if none { // an earlier session has subscribed; the handlers may be about to come
		h.cfg.Log.Info("method called before a handler was set", "device", h.cfg.clientID(), "method", name)
		return
	}
	select {
	case h.in.calls <- struct{}{}:
	default:
		h.cfg.Log.Warn("too many methods run, this one is not answered", "device", h.cfg.clientID(), "method", name)
		return
	}
	run := func() {
		defer func() { <-h.in.calls }()
		h.runMethod(a.Link, rid, MethodCall{Name: name, Payload: a.Payload}, handle)
	}
	if !h.session.Spawn(run) {
		<-h.in.calls
	}
}

func (h *Hub) runMethod(l *session.Link, rid string, call MethodCall, handle MethodHandler) {
	if !h.session.Hold(l) {
		return
	}
	status, payload := 501, json.RawMessage(nil)
	if handle != nil {
		status, payload = handle(h.session.Context(), call)
		if err := checkAnswer(payload); err != nil {
			h.cfg.Log.Error("method's answer cannot be sent", "device", h.cfg.clientID(), "method", call.Name, "cause", err)
			status, payload = 500, nil
		}
	}
	topic := methodAnswers + strconv.Itoa(status) + "/?$rid=" + rid
	ctx, cancel := context.WithTimeout(h.session.Hard(), answerTimeout)
	defer cancel()
	err := l.Publish(ctx, topic, payload)
	l.Release()
	if errors.Is(err, session.ErrLost) { // the caller waits for the device, not for the connection
		if l, err = h.session.Acquire(h.session.Context()); err == nil {
			err = l.Publish(ctx, topic, payload)
			l.Release()
		}
	}
	if err != nil {
		h.cfg.Log.Warn("method not answered", "device", h.cfg.clientID(), "method", call.Name, "cause", err)
	}
}

func checkAnswer(payload []byte) error {
	switch {
	case len(payload) > MaxMethodPayload:
		return fmt.Errorf("%d bytes, IoT Hub takes %d", len(payload), MaxMethodPayload)
	case len(payload) > 0 && !json.Valid(payload):
		return errors.New("not JSON")
	}
	return nil
}
