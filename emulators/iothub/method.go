package iothub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// The limits of direct methods ("Understand and invoke direct methods from IoT Hub", which once said that a
// response timeout may be 3600 s).
const (
	maxMethodPayload    = 128 << 10
	maxMethodName       = 100
	maxMethodsInFlight  = 100 // of one identity; the vendor has a limit (403800) and names no figure
	minResponseTimeout  = 5 * time.Second
	maxMethodTimeout    = 300 * time.Second
	defaultResponseTime = 30 * time.Second
)

// The error codes of methods.
const (
	CodeNotOnline       = 404103
	CodeClosedRemotely  = 404104
	CodeMethodTimeout   = 504101
	CodeTooManyInFlight = 403800
	CodeMethodResponse  = azure.BadGateway
)

// MethodCall is a direct method, called by the service side.
type MethodCall struct {
	Name    string
	Payload json.RawMessage // JSON, or empty; at most 128 KiB
	// ConnectTimeout is how long to wait for the device to be there and subscribed: 0 to 300 s.
	ConnectTimeout time.Duration
	// ResponseTimeout is how long to wait for its answer: 5 to 300 s, zero takes 30 s.
	ResponseTimeout time.Duration
}

// MethodResult is a device's answer.
type MethodResult struct {
	Status  int
	Payload json.RawMessage // JSON, or empty
}

// MethodSink is a Downlink whose client can answer direct methods.
type MethodSink interface {
	// Call hands over a call and reports whether the client has subscribed to it. It must not block.
	Call(rid, method string, payload []byte) bool
}

// calls are the methods that wait for a device or for its answer.
type calls struct {
	mu      sync.Mutex
	last    uint64
	pending map[string]*pendingCall // by rid
	count   map[string]int          // by identity
	changed chan struct{}           // closed and replaced when a device may have become able to answer, or has left
}

type pendingCall struct {
	identity string
	answer   chan MethodResult // one answer fits
}

// InvokeMethod calls a method and returns the device's answer. Timeouts follow the timers clock. Errors:
// ErrInvalid, ErrNotFound, ctx's, or a *rule.Refusal with the hub's code (404103, 404104, 504101, 403800, 502000),
// which is journalled.
func (s *Service) InvokeMethod(ctx context.Context, hub, device, module string, m MethodCall) (MethodResult, error) {
	h, err := s.GetHub(hub)
	if err != nil {
		return MethodResult{}, err
	}
	if err := m.complete(); err != nil {
		return MethodResult{}, err
	}
	if _, ok := s.twins.Get(twinKey(h.Host, device, module)); !ok {
		return MethodResult{}, fmt.Errorf("identity %s: %w", quote(name(device, module)), ErrNotFound)
	}
	result, err := s.invoke(ctx, sessionKey(h.Host, device, module), m)
	var r *rule.Refusal
	if errors.As(err, &r) {
		s.journal.Refuse(journal.Event{Platform: Platform, Endpoint: h.Host, Device: name(device, module),
			Properties: map[string]string{"method": m.Name}}, r)
	}
	return result, err
}

func (s *Service) invoke(ctx context.Context, k string, m MethodCall) (MethodResult, error) {
	rid, call, r := s.calls.begin(k)
	if r != nil {
		return MethodResult{}, r
	}
	defer s.calls.end(rid)
	sent, err := s.deliverCall(ctx, k, rid, m)
	if err != nil {
		return MethodResult{}, err
	}
	defer sent.stop()
	for {
		changed := s.calls.watch()
		over := sent.to.Ended() // before the look at the answer: the last thing that a device says may be one
		select {
		case result := <-call.answer:
			return result.checked()
		default:
		}
		if over {
			return MethodResult{}, closedRemotely(rid, m)
		}
		select {
		case result := <-call.answer:
			return result.checked()
		case <-changed:
		case <-sent.expired:
			return MethodResult{}, twinRefusal("HUB-48/timeout", CodeMethodTimeout, "the device did not answer method "+quote(m.Name)+" in time",
				"no answer within "+m.ResponseTimeout.String(), "$iothub/methods/res/{status}/?$rid="+rid)
		case <-ctx.Done():
			return MethodResult{}, ctx.Err()
		}
	}
}

// closedRemotely is the end of a call whose device left without an answer (404104 in "Troubleshoot IoT Hub
// error codes").
func closedRemotely(rid string, m MethodCall) *rule.Refusal {
	return twinRefusal("HUB-48/closed", CodeClosedRemotely, "the device's connection was closed before it answered method "+quote(m.Name),
		"the end of the connection that the call went to", "$iothub/methods/res/{status}/?$rid="+rid+" on that connection")
}

func (m *MethodCall) complete() error {
	if m.ResponseTimeout == 0 {
		m.ResponseTimeout = defaultResponseTime
	}
	switch {
	case m.Name == "" || len(m.Name) > maxMethodName || strings.ContainsAny(m.Name, "/+#?\x00"):
		return fmt.Errorf("%w: method name %s: 1 to %d characters without / + # ?", ErrInvalid, quote(m.Name), maxMethodName)
	case len(m.Payload) > maxMethodPayload:
		return fmt.Errorf("%w: method payload of %d bytes, at most %d", ErrInvalid, len(m.Payload), maxMethodPayload)
	case len(m.Payload) > 0 && !json.Valid(m.Payload):
		return fmt.Errorf("%w: the method's payload is not JSON", ErrInvalid)
	case m.ConnectTimeout < 0 || m.ConnectTimeout > maxMethodTimeout:
		return fmt.Errorf("%w: connect timeout %s: 0 to 300 s", ErrInvalid, m.ConnectTimeout)
	case m.ResponseTimeout < minResponseTimeout || m.ResponseTimeout > maxMethodTimeout:
		return fmt.Errorf("%w: response timeout %s: 5 to 300 s", ErrInvalid, m.ResponseTimeout)
	}
	return nil
}

// checked refuses an answer that is not JSON. Node's SDK reads status 502 as a bad response of the device
// (azure-iothub, rest_api_client.ts).
func (r MethodResult) checked() (MethodResult, error) {
	if len(r.Payload) > 0 && !json.Valid(r.Payload) {
		return MethodResult{}, twinRefusal("HUB-47/json", CodeMethodResponse, "the device's answer is not JSON",
			quote(string(r.Payload)), "JSON or an empty payload")
	}
	return r, nil
}

// sentCall is a call that a device has, with its response timer.
type sentCall struct {
	to      *Session
	expired <-chan struct{}
	stop    func()
}

// deliverCall hands the call to the device, waiting for it as long as the call allows. The response timer runs
// before the device can have the call: whoever sees it there may move the clock on at once.
func (s *Service) deliverCall(ctx context.Context, k, rid string, m MethodCall) (sentCall, error) {
	expired, stop := s.after(m.ConnectTimeout)
	defer stop()
	for {
		changed := s.calls.watch()
		s.mu.Lock()
		c := s.live[k]
		s.mu.Unlock()
		if c != nil {
			sent := sentCall{to: c}
			sent.expired, sent.stop = s.after(m.ResponseTimeout)
			if c.call(rid, m) {
				return sent, nil
			}
			sent.stop()
		}
		select {
		case <-changed:
		case <-expired:
			return sentCall{}, offline(c, m)
		case <-ctx.Done():
			return sentCall{}, ctx.Err()
		}
	}
}

func offline(c *Session, m MethodCall) *rule.Refusal {
	expected := "a device that is connected and subscribed to $iothub/methods/POST/#"
	if c == nil {
		return twinRefusal("HUB-48/offline", CodeNotOnline, "the device is not connected", "no connection within "+m.ConnectTimeout.String(), expected)
	}
	return twinRefusal("HUB-48/subscription", CodeNotOnline, "the device is connected but has not subscribed to the method", "no subscription for "+quote(m.Name), expected)
}

// call hands one call to the session's client.
func (c *Session) call(rid string, m MethodCall) bool {
	if r := c.broken(fault.Method); r != nil {
		return true // lost on the way: the caller hears of it by its timeout
	}
	sink, ok := c.down.(MethodSink)
	if !ok || c.Ended() || !sink.Call(rid, m.Name, m.Payload) {
		return false
	}
	e := c.Event(journal.Method)
	e.Dir, e.Detail, e.Payload = journal.Out, "method "+m.Name+" called", m.Payload
	e.Properties = map[string]string{"method": m.Name, "rid": rid}
	c.svc.journal.Append(e)
	return true
}

// MethodsReady tells that the client has become able to answer methods.
func (c *Session) MethodsReady() { c.svc.calls.wake() }

// MethodAnswer takes a device's answer to a call. An answer that nobody waits for is refused and has no
// other effect (HUB-49).
func (c *Session) MethodAnswer(rid string, result MethodResult) *rule.Refusal {
	if len(result.Payload) > maxMethodPayload {
		return twinRefusal("HUB-47/size", CodeMessageTooLarge, "the answer is too large", fmt.Sprintf("%d bytes", len(result.Payload)), fmt.Sprintf("at most %d bytes", maxMethodPayload))
	}
	if !c.svc.calls.answer(rid, c.key(), result) {
		return twinRefusal("HUB-49/rid", 0, "nobody waits for this answer: the call has ended, was answered already, or never was",
			"$rid="+quote(rid), "the $rid of a call that still waits")
	}
	e := c.Event(journal.Method)
	e.Detail, e.Payload, e.Code = "method answered", result.Payload, journal.Code(result.Status)
	e.Properties = map[string]string{"rid": rid}
	c.svc.journal.Append(e)
	return nil
}

// after returns a channel that is closed when the timers reading has moved on by d.
func (s *Service) after(d time.Duration) (expired <-chan struct{}, stop func()) {
	done := make(chan struct{})
	timer := s.clock.AfterFunc(d, func() { close(done) })
	return done, func() { timer.Stop() }
}

// begin registers a call of an identity.
func (p *calls) begin(identity string) (rid string, call *pendingCall, r *rule.Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending == nil {
		p.pending, p.count = map[string]*pendingCall{}, map[string]int{}
	}
	if p.count[identity] >= maxMethodsInFlight {
		return "", nil, twinRefusal("HUB-48/busy", CodeTooManyInFlight, "too many methods wait for the device",
			strconv.Itoa(maxMethodsInFlight)+" calls", "fewer calls at once")
	}
	p.last++
	rid = strconv.FormatUint(p.last, 16)
	call = &pendingCall{identity: identity, answer: make(chan MethodResult, 1)}
	p.pending[rid] = call
	p.count[identity]++
	return rid, call, nil
}

func (p *calls) end(rid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	identity := p.pending[rid].identity
	delete(p.pending, rid)
	if p.count[identity]--; p.count[identity] == 0 {
		delete(p.count, identity)
	}
}

// answer hands a result to the call that waits for it; the first one counts.
func (p *calls) answer(rid, identity string, result MethodResult) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	call := p.pending[rid]
	if call == nil || call.identity != identity {
		return false
	}
	select {
	case call.answer <- result:
		return true
	default:
		return false
	}
}

// watch returns a channel that is closed by the next wake.
func (p *calls) watch() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

func (p *calls) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}
