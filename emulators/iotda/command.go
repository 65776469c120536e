package iotda

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// waiters are the requests to devices that wait for an answer.
type waiters struct {
	mu      sync.Mutex
	pending map[string]*waiter // by request id
	order   []string           // of requests that nobody waits for, oldest first
}

type waiter struct {
	instance, device string // the device that is connected
	kind             iotda.Kind
	answer           chan json.RawMessage // one fits; nil when nobody waits
	set              *iotda.PropertySet   // what a set asks for, else nil
	limit            time.Duration        // of the wait for the answer
	expired          <-chan struct{}      // closed at its end
}

// maxUnwaited bounds the pushes of desired properties whose answers are known though nobody waits for them.
const maxUnwaited = 10_000

// begin notes a request that somebody waits for.
func (w *waiters) begin(id string, call waiter) *waiter {
	call.answer = make(chan json.RawMessage, 1)
	w.put(id, &call)
	return &call
}

// expect notes a request whose answer nobody waits for.
func (w *waiters) expect(id string, call waiter) {
	w.put(id, &call)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.order = append(w.order, id)
	if len(w.order) > maxUnwaited {
		delete(w.pending, w.order[0])
		w.order = w.order[1:]
	}
}

func (w *waiters) put(id string, call *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending == nil {
		w.pending = map[string]*waiter{}
	}
	w.pending[id] = call
}

func (w *waiters) end(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pending, id)
}

func (w *waiters) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending, w.order = nil, nil
}

// take returns the request that an answer belongs to, once; nil where there is none.
func (w *waiters) take(id, instance, device string, kind iotda.Kind) *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	call, ok := w.pending[id]
	if !ok || call.instance != instance || call.device != device || call.kind != kind {
		return nil
	}
	delete(w.pending, id)
	return call
}

// hand gives the answer to the one who waits for it. Who has taken the request calls it, so it is called once.
func (w *waiter) hand(answer json.RawMessage) {
	if w.answer != nil {
		w.answer <- answer
	}
}

// Reply is a device's answer with the id of the request.
type Reply struct {
	RequestID string
	Response  json.RawMessage // as the device sent it
}

// Command calls a command of a device and waits for its answer. Errors: *Error (IOTDA.014016 when the
// device is not online, IOTDA.014111 when it does not answer in time) or ctx's.
func (s *Service) Command(ctx context.Context, instance, id string, call iotda.CommandCall) (Reply, error) {
	if call.Paras == nil {
		call.Paras = map[string]any{}
	}
	d, err := s.Device(instance, id)
	if err != nil {
		return Reply{}, err
	}
	if r, older, err := s.legacyCommand(ctx, instance, d, call); older {
		return r, err
	}
	return s.ask(ctx, instance, id, iotda.Command, iotda.CommandAnswer, func(d Device) any {
		call.ObjectDeviceID = d.DeviceID
		return call
	})
}

// SetProperties sets properties of a device and waits for its answer. Errors as of Command.
func (s *Service) SetProperties(ctx context.Context, instance, id string, services []iotda.ServiceData) (Reply, error) {
	return s.ask(ctx, instance, id, iotda.Set, iotda.SetResponse, func(d Device) any {
		return iotda.PropertySet{ObjectDeviceID: d.DeviceID, Services: services}
	})
}

// GetProperties asks a device for the properties of a service and waits for its answer. Errors as of Command.
func (s *Service) GetProperties(ctx context.Context, instance, id, service string) (Reply, error) {
	return s.ask(ctx, instance, id, iotda.Get, iotda.GetResponse, func(d Device) any {
		return iotda.PropertyGet{ObjectDeviceID: d.DeviceID, ServiceID: service}
	})
}

func (s *Service) ask(ctx context.Context, instance, id string, kind, answer iotda.Kind, body func(Device) any) (Reply, error) {
	d, err := s.Device(instance, id)
	if err != nil {
		return Reply{}, err
	}
	down := iotda.Topic{Kind: kind, DeviceID: d.Gateway(), RequestID: s.ids.GUID()}
	content := body(d)
	ask := waiter{instance: instance, device: d.Gateway(), kind: answer}
	if set, ok := content.(iotda.PropertySet); ok {
		ask.set = &set
	}
	call, end := s.begin(down.RequestID, ask)
	defer end()
	c := s.session(instance, d.Gateway())
	if c == nil || !c.down.Deliver(down.Format(), iotda.Encode(content), true) {
		return Reply{}, s.notOnline(instance, d)
	}
	up := iotda.Topic{Kind: answer, DeviceID: d.Gateway(), RequestID: down.RequestID}.Format()
	return s.await(ctx, instance, id, call, down.RequestID, "a publish to "+up)
}

// begin notes a request that the caller is about to send and to wait for. Its time runs before the device can have
// it: whoever sees it there may move the clock on at once.
func (s *Service) begin(request string, ask waiter) (call *waiter, end func()) {
	i, _ := s.Instance(ask.instance)
	ask.limit = i.commandTimeout()
	expired, stop := s.after(ask.limit)
	ask.expired = expired
	return s.waiting.begin(request, ask), func() {
		stop()
		s.waiting.end(request)
	}
}

// await waits for the answer to a request that a device has been sent.
func (s *Service) await(ctx context.Context, instance, id string, call *waiter, request, expected string) (Reply, error) {
	select {
	case response := <-call.answer:
		return Reply{request, response}, nil
	case <-call.expired:
		return Reply{RequestID: request}, s.refuseAPI(instance, id, CodeTimeout, &rule.Refusal{Rule: "DA-24/timeout",
			Detail: "the device did not answer in time", Seen: "no answer within " + call.limit.String(), Expected: expected})
	case <-ctx.Done():
		return Reply{}, ctx.Err()
	}
}

func (s *Service) notOnline(instance string, d Device) *Error {
	seen := "status " + d.State()
	if d.GatewayID != "" {
		seen = "gateway " + d.GatewayID + " is not connected"
	}
	return s.refuseAPI(instance, d.DeviceID, CodeNotOnline, &rule.Refusal{Rule: "DA-25/offline",
		Detail: "Operation not allowed. The device is not online.", Seen: seen, Expected: "a connected device"})
}

// answered takes an answer to a command, a property set or a property get; one that nobody waits for is
// ignored (DA-26).
func (c *Session) answered(from source, payload []byte) {
	if !json.Valid(payload) {
		c.explain(from.name, &rule.Refusal{Rule: "DA-26/json", Detail: "the answer is not JSON", Seen: clip(string(payload)), Expected: "one JSON object"})
		return
	}
	if call := c.svc.waiting.take(from.topic.RequestID, c.id.Instance, c.id.DeviceID, from.topic.Kind); call != nil {
		if call.set != nil {
			c.svc.wasSet(c.id.Instance, *call.set, payload)
		}
		call.hand(payload)
		return
	}
	c.explain(from.name, &rule.Refusal{Rule: "DA-26/unknown", Detail: "no request with this id waits for an answer of this kind",
		Seen: fmt.Sprintf("request_id %q", clip(from.topic.RequestID)), Expected: "the request_id of the request, once, within its time"})
}
