package edge

import (
	"context"
	"errors"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/wire/edgeroute"
)

// The properties that a gateway adds, under the names that the hub's readers see (Azure/iotedge,
// RoutingEdgeHub and SystemProperties).
const (
	propEdgeMessageID = "edgeMessageId"
	propOrigin        = "edgeHubOriginInterface"
)

// The limits of what is stored.
const (
	defaultQueueMessages = 200_000
	defaultQueueBytes    = 256 << 20
)

// maxMessage is the most that body and properties may have together (Constants.MaxMessageSize).
const maxMessage = 256 << 10

// Result is what becomes of a message.
type Result struct {
	// Refusal says why it went nowhere, nil when it went somewhere.
	Refusal *rule.Refusal
	// Close says that the connection has to end for it.
	Close bool
}

// Telemetry takes a message of a child. device and module are those of the topic, which a gateway believes:
// a child may publish under another child's id.
func (c *Session) Telemetry(_ context.Context, m Message) Result {
	g := c.gw
	if c.Ended() {
		return Result{}
	}
	m.At = g.svc.clock.Wall().UTC()
	if m.DeviceID != c.id.DeviceID || m.ModuleID != c.id.ModuleID {
		if _, known := g.identity(m.DeviceID, m.ModuleID); !known {
			return Result{Refusal: refusal("EDGE-19/identity", "the topic is of "+quote(Identity{DeviceID: m.DeviceID, ModuleID: m.ModuleID}.Name())+", which is no child of the gateway: the message is dropped",
				"a topic of another identity", "the topic of "+c.id.Name())}
		}
	}
	g.mark(&m)
	if n := m.size(); n > maxMessage {
		return Result{Refusal: refusal("EDGE-42/message", "body and properties are larger than edgeHub takes: the message is acknowledged and dropped",
			count(n)+" bytes, with what the gateway adds", "at most "+count(maxMessage)+" bytes")}
	}
	e := c.Event(journal.Telemetry)
	e.Payload, e.Properties = m.Body, shownProperties(&m)
	if m.DeviceID != c.id.DeviceID {
		e.Detail = "published under the id of " + m.DeviceID + ", as a gateway lets its children do"
	}
	g.svc.journal.Append(e)
	return g.route(&m, source(&m))
}

// mark adds what edgeHub adds to every message.
func (g *gateway) mark(m *Message) {
	origin := "downstream"
	if m.DeviceID == g.settings().DeviceID {
		origin = "internal"
	}
	m.System = append(m.System, Property{Name: propEdgeMessageID, Value: g.svc.ids.GUID()}, Property{Name: propOrigin, Value: origin})
}

// source is what routes compare (RoutingMessageConverter, ModuleMessageSource).
func source(m *Message) string {
	switch {
	case m.ModuleID == "":
		return "/messages/"
	case m.Output == "":
		return "/messages/modules/" + m.ModuleID + "/"
	}
	return "/messages/modules/" + m.ModuleID + "/outputs/" + m.Output + "/"
}

func shownProperties(m *Message) map[string]string {
	shown := make(map[string]string, len(m.System)+len(m.App))
	for _, list := range [][]Property{m.App, m.System} {
		for _, p := range list {
			shown[p.Name] = p.Value
		}
	}
	return shown
}

// conditionNames are the names of system properties in conditions, by those that the hub's readers see.
var conditionNames = map[string]string{
	"message-id": "messageId", "correlation-id": "correlationId", "user-id": "userId", "to": "to",
	"content-type": "contentType", "content-encoding": "contentEncoding", "absolute-expiry-time": "absolute-expiry-time",
	"iothub-creation-time-utc": "creationTime", "iothub-outputname": "outputName", "iothub-message-schema": "messageSchema",
}

// question is a message as conditions see it.
func question(m *Message, from string) *edgeroute.Message {
	q := &edgeroute.Message{Source: from, Body: m.Body, System: map[string]string{"connectionDeviceId": m.DeviceID},
		Properties: make(map[string]string, len(m.App))}
	if m.ModuleID != "" {
		q.System["connectionModuleId"] = m.ModuleID
	}
	for _, p := range m.System {
		name, known := conditionNames[p.Name]
		if !known {
			name = p.Name
		}
		q.System[name] = p.Value
	}
	for _, p := range m.App {
		q.Properties[p.Name] = p.Value
	}
	return q
}

// target is an endpoint that a message goes to, by the route of the highest priority.
type target struct {
	endpoint string
	priority int
	ttl      time.Duration // negative is for ever
}

// route sends a message to every endpoint that a route leads it to, once to each.
func (g *gateway) route(m *Message, from string) Result {
	g.mu.Lock()
	cfg := g.config
	g.mu.Unlock()
	q := question(m, from)
	var targets []target
next:
	for _, r := range cfg.routes { // by priority
		if !r.route.Matches(q) {
			continue
		}
		endpoint := r.route.Sink()
		for _, t := range targets {
			if t.endpoint == endpoint {
				continue next
			}
		}
		targets = append(targets, target{endpoint, r.priority, cfg.ttlOf(r)})
	}
	if len(targets) == 0 {
		return Result{Refusal: refusal("EDGE-37/unrouted", "no route takes the message: it is acknowledged and dropped", "source "+from,
			"one of the routes: "+cfg.shown())}
	}
	var kept store.Pending
	for _, t := range targets {
		stored, r := g.forward(m, t)
		if r != nil {
			return Result{Refusal: r, Close: true}
		}
		if stored != (store.Pending{}) {
			kept = stored // a later commit comes behind an earlier one
		}
	}
	kept.Wait() // without the lock: what others store meanwhile is committed together
	return Result{}
}

// forward hands a message to an endpoint, or stores it for one that cannot be reached or is behind; it is kept once the
// commit that it returns is there.
func (g *gateway) forward(m *Message, t target) (kept store.Pending, refused *rule.Refusal) {
	g.sending.Lock()
	defer g.sending.Unlock()
	if t.endpoint == upstreamEndpoint && !g.draining && !g.queue.waits(upstreamEndpoint) && !g.down() {
		switch err := g.send([]Message{*m}); {
		case err == nil:
			return kept, nil
		case errors.Is(err, ErrRejected):
			g.rejected(m, err)
			return kept, nil
		}
		g.retryLater()
	}
	row := stored{Message: *m, Endpoint: t.endpoint, Priority: t.priority}
	if t.ttl >= 0 {
		row.Deadline = g.svc.clock.Now().Add(t.ttl)
	}
	messages, bytes := g.limits()
	kept, err := g.queue.put(row, messages, bytes)
	if err != nil {
		return kept, refusal("EDGE-30/full", "the gateway's queue is full: the message is not stored, and the connection is closed",
			count(g.queue.count)+" messages and "+count(g.queue.bytes)+" bytes wait", "at most "+count(messages)+" messages and "+count(bytes)+" bytes")
	}
	g.armExpiry()
	if t.endpoint != upstreamEndpoint {
		g.pump(t.endpoint)
	}
	return kept, nil
}

// limits of what is stored: the tester's, and maxSizeBytes of the configuration where that is less.
func (g *gateway) limits() (messages, bytes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	messages, bytes = g.set.QueueMessages, g.set.QueueBytes
	if messages <= 0 {
		messages = defaultQueueMessages
	}
	if bytes <= 0 {
		bytes = defaultQueueBytes
	}
	if g.config.maxBytes > 0 {
		bytes = min(bytes, g.config.maxBytes)
	}
	return messages, bytes
}

func (g *gateway) rejected(m *Message, err error) {
	e := g.event(journal.Telemetry, Identity{DeviceID: m.DeviceID, ModuleID: m.ModuleID}.Name(), "")
	e.Dir = journal.Out
	g.svc.journal.Refuse(e, refusal("EDGE-18/rejected", "the hub does not take the message, and the gateway drops it: "+err.Error(), "a message of "+count(m.size())+" bytes", "a message that the hub takes"))
}
