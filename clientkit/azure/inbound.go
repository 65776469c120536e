package azure

import (
	"errors"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fakecloud/fakecloud/clientkit/internal/session"
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

// inbound is what a hub keeps for what the hub sends.
type inbound struct {
	mu       sync.Mutex
	handlers map[string]MethodHandler
	answers  map[string]chan twinAnswer // requests under way, by rid
	rid      uint64
	desired  bool // OnDesired is set
	message  bool // OnMessage is set

	calls    chan struct{} // one slot per running method
	messages chan session.Arrival
	changes  chan change
	missed   atomic.Bool // changes overflowed
}

func newInbound() inbound {
	return inbound{
		handlers: map[string]MethodHandler{}, answers: map[string]chan twinAnswer{},
		calls: make(chan struct{}, maxCalls), messages: make(chan session.Arrival, maxMessages), changes: make(chan change, maxChanges),
	}
}

// errTaken is returned where only one handler can be, errNoHandler where there is none.
var (
	errTaken     = errors.New("a handler is set already")
	errNoHandler = errors.New("the handler is nil")
)

// dispatch runs on Paho's goroutine and never blocks.
func (h *Hub) dispatch(a session.Arrival) {
	switch {
	case strings.HasPrefix(a.Topic, twinAnswers):
		a.Ack()
		h.answered(a)
	case strings.HasPrefix(a.Topic, desiredTopic):
		a.Ack()
		h.desiredChanged(a)
	case strings.HasPrefix(a.Topic, methodTopic):
		a.Ack()
		h.methodCalled(a)
	case strings.HasPrefix(a.Topic, "devices/") && strings.Contains(a.Topic, devicebound):
		// Kept without a handler too: an earlier session of this device may have subscribed. What does
		// not fit stays unacknowledged, and therefore in the hub's queue.
		select {
		case h.in.messages <- a:
		default:
			h.cfg.Log.Warn("more messages from the hub than its queue holds", "device", h.cfg.clientID())
		}
	default:
		h.cfg.Log.Debug("message from the hub not taken", "device", h.cfg.clientID(), "topic", a.Topic)
	}
}

// linked runs beside each new connection, once its subscriptions are renewed.
func (h *Hub) linked(l *session.Link) {
	if h.session.Wants(desiredTopic + "#") {
		h.push(change{link: l, sync: true})
	}
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
