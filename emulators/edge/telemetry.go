package edge

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
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

// The sizes of what goes to the hub at once (CloudEndpoint).
const (
	batchMessages = 256
	batchBytes    = 256 << 10
	batchMargin   = 4 << 10
)

// retryAfter is how long a gateway waits after a batch was lost.
const retryAfter = 5 * time.Second

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
	origin := "downstream"
	if m.DeviceID == g.settings().DeviceID {
		origin = "internal"
	}
	m.System = append(m.System, Property{Name: propEdgeMessageID, Value: g.svc.ids.GUID()}, Property{Name: propOrigin, Value: origin})
	e := c.Event(journal.Telemetry)
	e.Payload, e.Properties = m.Body, shownProperties(&m)
	if m.DeviceID != c.id.DeviceID {
		e.Detail = "published under the id of " + m.DeviceID + ", as a gateway lets its children do"
	}
	g.svc.journal.Append(e)
	return g.route(&m, source(&m))
}

func source(m *Message) string {
	if m.ModuleID == "" {
		return "/messages/"
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
	for _, t := range targets {
		if r := g.forward(m, t); r != nil {
			return Result{Refusal: r, Close: true}
		}
	}
	return Result{}
}

// forward hands a message to an endpoint, or stores it for one that cannot be reached or is behind.
func (g *gateway) forward(m *Message, t target) *rule.Refusal {
	g.sending.Lock()
	defer g.sending.Unlock()
	if t.endpoint == upstreamEndpoint && !g.draining && !g.queue.waits(upstreamEndpoint) && !g.down() {
		switch err := g.send([]Message{*m}); {
		case err == nil:
			return nil
		case errors.Is(err, ErrRejected):
			g.rejected(m, err)
			return nil
		}
		g.retryLater()
	}
	row := stored{Message: *m, Endpoint: t.endpoint, Priority: t.priority}
	if t.ttl >= 0 {
		row.Deadline = g.svc.clock.Now().Add(t.ttl)
	}
	messages, bytes := g.limits()
	if err := g.queue.put(row, messages, bytes); err != nil {
		return refusal("EDGE-30/full", "the gateway's queue is full: the message is not stored, and the connection is closed",
			count(g.queue.count)+" messages and "+count(g.queue.bytes)+" bytes wait", "at most "+count(messages)+" messages and "+count(bytes)+" bytes")
	}
	g.armExpiry()
	if t.endpoint != upstreamEndpoint {
		g.pump(t.endpoint)
	}
	return nil
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

// send hands messages of one identity to the hub, under that identity. The caller holds sending.
func (g *gateway) send(batch []Message) error {
	m := &batch[0]
	name := Identity{DeviceID: m.DeviceID, ModuleID: m.ModuleID}.Name()
	if g.lost(name) {
		return ErrAway
	}
	g.mu.Lock()
	s := g.live[name]
	g.mu.Unlock()
	if s != nil {
		if l := s.cloud.Load(); l != nil {
			if err := l.Send(context.Background(), batch); err == nil || errors.Is(err, ErrRejected) {
				return err
			}
		}
	}
	id, ok := g.identity(m.DeviceID, m.ModuleID)
	if !ok {
		id = Identity{DeviceID: m.DeviceID, ModuleID: m.ModuleID}
		if s != nil {
			id = s.id
		}
	}
	visit, err := g.svc.upstream.Visit(g.hubHost(), id)
	if err != nil {
		return errors.Join(ErrRejected, err) // the identity is gone
	}
	defer visit.Close()
	return visit.Send(context.Background(), batch)
}

// kick makes sure that what waits for the hub goes there.
func (g *gateway) kick() {
	g.sending.Lock()
	defer g.sending.Unlock()
	g.kickLocked()
}

func (g *gateway) kickLocked() {
	if g.draining || g.down() || !g.queue.waits(upstreamEndpoint) {
		return
	}
	g.draining = true
	g.svc.workers.Go(g.drain)
}

// drain sends what waits until nothing does, the hub goes away, or a batch is lost.
func (g *gateway) drain() {
	sent := 0
	for {
		g.sending.Lock()
		n, more := g.drainBatch()
		sent += n
		if !more {
			g.draining = false
			if sent > 0 {
				e := g.event(journal.World, "", "stored messages were sent to the hub")
				e.Properties = map[string]string{"messages": count(sent), "waiting": count(g.queue.count)}
				g.svc.journal.Append(e)
			}
			g.sending.Unlock()
			return
		}
		g.sending.Unlock()
	}
}

// drainBatch sends the next messages, and removes those that the hub has taken in one step.
func (g *gateway) drainBatch() (sent int, more bool) {
	if g.down() {
		return 0, false // without a look at what waits: every message that comes in asks
	}
	rows, dropped := g.queue.next(upstreamEndpoint, g.svc.clock.Now(), batchMessages)
	g.noteExpired(dropped)
	var done []uint64
	defer func() { g.queue.done(done...) }()
	for more = len(rows) > 0; len(rows) > 0; {
		if g.down() {
			return len(done), false
		}
		n, err := g.sendRun(rows)
		if err != nil {
			g.retryLater()
			return len(done), false
		}
		for i := range n {
			done = append(done, rows[i].Number)
		}
		rows = rows[n:]
	}
	return len(done), more
}

// sendRun sends the leading messages that are of one identity, as one batch of the hub's, and returns how many
// are dealt with. An error is the hub's being away.
func (g *gateway) sendRun(rows []stored) (int, error) {
	first := &rows[0].Message
	var batch []Message
	for size, i := 0, 0; i < len(rows); i++ {
		m := &rows[i].Message
		if size += m.size(); i > 0 && (size > batchBytes-batchMargin || m.DeviceID != first.DeviceID || m.ModuleID != first.ModuleID) {
			break
		}
		batch = append(batch, *m)
	}
	err := g.send(batch)
	if errors.Is(err, ErrRejected) && len(batch) > 1 { // find out which one it is
		batch = batch[:1]
		err = g.send(batch)
	}
	if errors.Is(err, ErrRejected) {
		g.rejected(&batch[0], err)
		err = nil
	}
	return len(batch), err
}

// retryLater tries again when the timers reading has moved on. The caller holds sending.
func (g *gateway) retryLater() {
	if g.retry {
		return
	}
	g.retry = true
	g.svc.clock.AfterFunc(retryAfter, func() {
		g.sending.Lock()
		defer g.sending.Unlock()
		g.retry = false
		g.kickLocked()
	})
}

// armExpiry drops what has ended and sets the timer for what ends next. The caller holds sending.
func (g *gateway) armExpiry() {
	next := g.dropExpired()
	if g.expiry != nil {
		if next.IsZero() {
			g.expiry.Stop()
			g.expiry = nil
		}
		return // it is due before, and sets itself anew
	}
	if next.IsZero() {
		return
	}
	g.expiry = g.svc.clock.AfterFunc(next.Sub(g.svc.clock.Now()), func() {
		g.sending.Lock()
		defer g.sending.Unlock()
		g.expiry = nil
		g.armExpiry()
	})
}

func (g *gateway) dropExpired() (next time.Time) {
	dropped, next := g.queue.expire(g.svc.clock.Now())
	g.noteExpired(dropped)
	return next
}

func (g *gateway) noteExpired(dropped int) {
	if dropped == 0 {
		return
	}
	g.svc.journal.Refuse(g.event(journal.Refused, "", ""), refusal("EDGE-31/expired", "stored messages were dropped: their time to live is over", count(dropped)+" messages",
		"a hub that comes back within storeAndForwardConfiguration.timeToLiveSecs"))
}

// pump hands what waits for a module's input to the module. The caller holds sending.
func (g *gateway) pump(endpoint string) {
	module, input := splitEndpoint(endpoint)
	g.mu.Lock()
	s := g.live[g.set.DeviceID+"/"+module]
	g.mu.Unlock()
	if s == nil || s.Ended() {
		return
	}
	const window = 16
	rows, dropped := g.queue.next(endpoint, g.svc.clock.Now(), window)
	g.noteExpired(dropped)
	for i := range rows {
		number := rows[i].Number
		if _, sent := g.flying[number]; sent {
			continue
		}
		if !s.down.Input(input, &rows[i].Message, func() { g.arrived(endpoint, number) }) {
			return
		}
		g.flying[number] = module
	}
}

// arrived takes a message that a module has acknowledged out of the queue.
func (g *gateway) arrived(endpoint string, number uint64) {
	g.sending.Lock()
	defer g.sending.Unlock()
	delete(g.flying, number)
	g.queue.done(number)
	g.pump(endpoint)
}

// landed forgets what was on its way to a module of the gateway that has gone.
func (g *gateway) landed(id Identity) {
	if id.ModuleID == "" || id.DeviceID != g.settings().DeviceID {
		return
	}
	g.sending.Lock()
	defer g.sending.Unlock()
	maps.DeleteFunc(g.flying, func(_ uint64, module string) bool { return module == id.ModuleID })
}

// pumpModule hands a module what waits for any of its inputs.
func (g *gateway) pumpModule(s *Session) {
	if s.id.ModuleID == "" || s.id.DeviceID != g.settings().DeviceID {
		return
	}
	g.sending.Lock()
	defer g.sending.Unlock()
	for k := range g.queue.lanes {
		if module, _ := splitEndpoint(k.endpoint); module == s.id.ModuleID && k.endpoint != upstreamEndpoint {
			g.pump(k.endpoint)
		}
	}
}
