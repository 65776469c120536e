package azure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What the hub sends: Learn "Communicate with an IoT hub using the MQTT protocol".
const (
	twinAnswers   = "$iothub/twin/res/"
	desiredTopic  = "$iothub/twin/PATCH/properties/desired/"
	methodTopic   = "$iothub/methods/POST/"
	methodAnswers = "$iothub/methods/res/"
	devicebound   = "/messages/devicebound/"
)

// Limits of what waits for a handler.
const (
	maxMessages = 50  // IoT Hub's own limit of a device's queue
	maxChanges  = 64  // beyond it the whole document is read instead
	maxCalls    = 100 // direct methods that run at the same time
)

// arrival is one PUBLISH from the server.
type arrival struct {
	link    *link
	topic   string
	payload []byte
	ack     func() // may be called from any goroutine, also after the connection's end
}

// inbound is what a hub keeps for what the hub sends.
type inbound struct {
	mu       sync.Mutex
	filters  map[string]bool // to be subscribed on every connection
	handlers map[string]MethodHandler
	answers  map[string]chan twinAnswer // requests under way, by rid
	rid      uint64
	desired  bool // OnDesired is set
	message  bool // OnMessage is set

	calls    chan struct{} // one slot per running method
	messages chan arrival
	changes  chan change
	missed   atomic.Bool // changes overflowed
}

func newInbound() inbound {
	return inbound{
		filters: map[string]bool{}, handlers: map[string]MethodHandler{}, answers: map[string]chan twinAnswer{},
		calls: make(chan struct{}, maxCalls), messages: make(chan arrival, maxMessages), changes: make(chan change, maxChanges),
	}
}

// errTaken is returned where only one handler can be.
var errTaken = errors.New("a handler is set already")

// dispatch runs on Paho's goroutine and never blocks.
func (h *Hub) dispatch(a arrival) {
	switch {
	case strings.HasPrefix(a.topic, twinAnswers):
		a.ack()
		h.answered(a)
	case strings.HasPrefix(a.topic, desiredTopic):
		a.ack()
		h.desiredChanged(a)
	case strings.HasPrefix(a.topic, methodTopic):
		a.ack()
		h.methodCalled(a)
	case strings.HasPrefix(a.topic, "devices/") && strings.Contains(a.topic, devicebound):
		// Kept without a handler too: an earlier session of this device may have subscribed. What does
		// not fit stays unacknowledged, and therefore in the hub's queue.
		select {
		case h.in.messages <- a:
		default:
			h.cfg.Log.Warn("more messages from the hub than its queue holds", "device", h.cfg.clientID())
		}
	default:
		h.cfg.Log.Debug("message from the hub not taken", "device", h.cfg.clientID(), "topic", a.topic)
	}
}

// spawn runs f beside the hub, which ends after it; false when the hub has ended.
func (h *Hub) spawn(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil || h.ctx.Err() != nil {
		return false
	}
	h.running.Go(f)
	return true
}

// hold keeps l from a planned end while what came over it is handled; the caller calls users.Done. It is
// false when the connection has ended before: the hub sends again what was not acknowledged.
func (h *Hub) hold(l *link) bool {
	for {
		h.mu.Lock()
		live, changed := h.link == l && !l.isLost(), h.changed
		if live {
			l.users.Add(1)
		}
		over := l.retired || h.err != nil
		h.mu.Unlock()
		if live || over {
			return live
		}
		select {
		case <-changed:
		case <-l.lost:
			return false
		case <-h.ctx.Done():
			return false
		}
	}
}

// ensure subscribes on l unless that was done before.
func (h *Hub) ensure(ctx context.Context, l *link, filter string) error {
	select {
	case l.subscribing <- struct{}{}:
		defer func() { <-l.subscribing }()
	case <-l.lost:
		return errLost
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.subscribed[filter] {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := l.subscribe(ctx, filter); err != nil {
		return err
	}
	l.subscribed[filter] = true
	return nil
}

// want subscribes now and on every connection to come. It returns once the hub has granted it.
func (h *Hub) want(ctx context.Context, filter string) error {
	for range maxResends {
		l, err := h.acquire(ctx)
		if err != nil {
			return err
		}
		h.in.mu.Lock()
		h.in.filters[filter] = true
		h.in.mu.Unlock()
		err = h.ensure(ctx, l, filter)
		l.users.Done()
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, errLost):
			h.in.mu.Lock()
			delete(h.in.filters, filter)
			h.in.mu.Unlock()
			return err
		}
	}
	return fmt.Errorf("%w %d times while it was under way", errLost, maxResends)
}

// wanted lists what a new connection has to subscribe to.
func (h *Hub) wanted() []string {
	h.in.mu.Lock()
	defer h.in.mu.Unlock()
	return slices.Sorted(maps.Keys(h.in.filters))
}

// renewSubscriptions runs beside each new connection. One on which they cannot be had is given up.
func (h *Hub) renewSubscriptions(l *link, filters []string) {
	for _, f := range filters {
		err := h.ensure(h.ctx, l, f)
		switch {
		case err == nil:
		case errors.Is(err, errProtocol): // refused for good
			h.cfg.Log.Error("subscription not renewed", "device", h.cfg.clientID(), "cause", err)
		case errors.Is(err, errLost) || h.ctx.Err() != nil:
			return
		default:
			l.conn.abort(fmt.Errorf("subscription to %s not renewed: %w", f, err))
			return
		}
	}
	if slices.Contains(filters, desiredTopic+"#") {
		h.push(change{link: l, sync: true})
	}
}

// waitOr waits for d by the hub's timing, or for the end of l or of the hub, and reports which.
func (h *Hub) waitOr(l *link, d time.Duration) bool {
	select {
	case <-h.cfg.Timing.After(d):
		return true
	case <-l.lost:
	case <-h.ctx.Done():
	}
	return false
}

// property is one member of a property bag or of a topic's query.
type property struct{ name, value string }

// parseBag splits name=value&name=value. A member without = has no value.
func parseBag(text string) ([]property, error) {
	var bag []property
	for member := range strings.SplitSeq(strings.TrimPrefix(text, "?"), "&") {
		if member == "" {
			continue
		}
		name, value, _ := strings.Cut(member, "=")
		name, err := url.PathUnescape(name)
		if err != nil {
			return nil, err
		}
		if value, err = url.PathUnescape(value); err != nil {
			return nil, err
		}
		bag = append(bag, property{name, value})
	}
	return bag, nil
}

// query returns a value of a topic's query, or nothing.
func query(text, name string) string {
	bag, err := parseBag(text)
	if err != nil {
		return ""
	}
	for _, p := range bag {
		if p.name == name {
			return p.value
		}
	}
	return ""
}
