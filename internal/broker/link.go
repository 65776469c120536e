package broker

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Limits of one connection.
const (
	maxSubscriptions = 1024
	maxUnacked       = 1024  // messages with QoS 1 on their way; the next ones wait in the queue
	batchBytes       = 16384 // written at once, the size of a TLS record
)

// The states of a link.
const (
	linkShut    = iota // no session yet: nothing may be sent
	linkHeld           // accepted: what is sent waits for the CONNACK
	linkOpen           //
	linkStopped        // the connection has ended
)

// outbound is the way to the client: its subscriptions, the queue, and the messages that wait for
// their PUBACK. Packet ids are ours alone; the client's ids are never looked up here.
type outbound struct {
	mu      sync.Mutex
	state   int
	subs    []Subscription
	queue   []queued
	unacked []*inflight // in the order they were sent
	window  int
	largest int // bytes of a packet that the client takes, 0 is any
	held    *held
	holds   atomic.Bool // whether there is one
	lastID  uint16
	busy    bool // somebody drains the queue; no goroutine exists while it is empty
	waits   bool // a message is being judged: what the platform sends about it follows its PUBACK
	writers sync.WaitGroup
}

type queued struct {
	Outgoing
	qos   byte // as granted
	fly   *inflight
	again bool // fly has been sent before
}

// Flight is what the sends of one QoS 1 message on one connection have in common. Its zero value is a message
// that was not sent yet.
type Flight struct{ fly *inflight }

// inflight is a message with QoS 1. Its PUBACK may be read before the writer has told the platform that
// it was sent; then the writer tells of the ack, too.
type inflight struct {
	id    uint16
	topic string
	told  bool // Sent was called
	acked bool
	onAck func()
}

// link is a conn as the platform sees it.
type link conn

// Send implements Link.
func (l *link) Send(o Outgoing) bool { return (*conn)(l).deliver(o, true) }

// Subscribed implements Link.
func (l *link) Subscribed(topic string) (qos byte, ok bool) {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	return l.out.granted(topic)
}

// Close implements Link.
func (l *link) Close(cause error) {
	c := (*conn)(l)
	c.ending.Lock()
	defer c.ending.Unlock()
	if c.ended {
		return
	}
	if r, ok := cause.(*rule.Refusal); ok {
		silent := *r
		silent.Silent = true
		c.refuse(c.event(journal.Refused), &silent)
	}
	c.endLocked(cause)
}

// hold opens the link for sending; what is sent waits. limits is what an MQTT 5 client takes at most,
// where zeros are no limit.
func (o *outbound) hold(subs []Subscription, limits *packets.Properties) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state, o.subs, o.window, o.largest = linkHeld, slices.Clone(subs), maxUnacked, int(limits.MaximumPacketSize)
	if limits.ReceiveMaximum > 0 {
		o.window = min(o.window, int(limits.ReceiveMaximum))
	}
}

// stop forgets what was not sent and returns when nobody writes any more.
func (o *outbound) stop() {
	o.mu.Lock()
	o.state, o.queue = linkStopped, nil
	o.unhold()
	o.mu.Unlock()
	o.writers.Wait()
}

// open lets the queue flow.
func (c *conn) open() {
	c.out.mu.Lock()
	if c.out.state == linkHeld {
		c.out.state = linkOpen
	}
	c.out.mu.Unlock()
	c.flush()
}

// granted returns the highest QoS that a subscription matching topic was granted. The caller holds mu.
func (o *outbound) granted(topic string) (qos byte, ok bool) {
	for i := range o.subs {
		if (!ok || o.subs[i].QoS > qos) && Matches(o.subs[i].Filter, topic) {
			qos, ok = o.subs[i].QoS, true
		}
	}
	return qos, ok
}

// subscribe adds or replaces a subscription, and reports whether there was room.
func (o *outbound) subscribe(filter string, qos byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.subs {
		if o.subs[i].Filter == filter {
			o.subs[i].QoS = qos
			return true
		}
	}
	if len(o.subs) >= maxSubscriptions {
		return false
	}
	o.subs = append(o.subs, Subscription{Filter: string([]byte(filter)), QoS: qos})
	return true
}

func (o *outbound) unsubscribe(filter string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.subs = slices.DeleteFunc(o.subs, func(s Subscription) bool { return s.Filter == filter })
}

// enqueue queues m if it may and can be sent, and after it the message that was held back; start lets a
// goroutine write it.
func (c *conn) enqueue(m Outgoing, start bool) bool {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	qos, ok := c.admits(&m)
	if !ok {
		return false
	}
	o.queue = append(o.queue, queued{Outgoing: m, qos: qos})
	if h := o.unhold(); h != nil {
		if qos, ok = c.admits(&h.Outgoing); ok {
			o.queue = append(o.queue, queued{Outgoing: h.Outgoing, qos: qos})
		}
	}
	if start && o.claim() {
		go c.drain()
	}
	return true
}

// admits reports whether m may and can be sent, and its QoS. The caller holds the mutex of c.out.
func (c *conn) admits(m *Outgoing) (qos byte, ok bool) {
	o := &c.out
	if o.state == linkShut || o.state == linkStopped || c.ctx.Err() != nil || len(o.queue) >= c.srv.cfg.Pending {
		return 0, false
	}
	qos, ok = o.granted(m.Topic)
	switch {
	case !ok && !m.Unsubscribed:
		return 0, false
	case !ok:
		qos = 1
	}
	if len(m.Topic) > 0xffff || o.largest > 0 && publishSize(m) > o.largest {
		return 0, false
	}
	return min(m.QoS, qos), true
}

// claim makes the caller the one that drains, if there is something to write. The caller holds mu.
func (o *outbound) claim() bool {
	if o.busy || o.waits || o.state != linkOpen || len(o.queue) == 0 || !o.mayFly(&o.queue[0]) {
		return false
	}
	o.busy = true
	o.writers.Add(1)
	return true
}

func (o *outbound) mayFly(q *queued) bool {
	return q.qos == 0 || q.Flight != nil && q.Flight.fly != nil || len(o.unacked) < o.window
}

// landed reports whether a message that is to be sent again was acknowledged meanwhile.
func (q *queued) landed() bool { return q.Flight != nil && q.Flight.fly != nil && q.Flight.fly.acked }

// board gives a QoS 1 message its packet id: that of its earlier sends, else a new one. The caller holds mu.
func (o *outbound) board(q *queued) {
	if q.Flight != nil && q.Flight.fly != nil {
		q.fly, q.again, q.Dup = q.Flight.fly, true, true // MQTT-2.3.1-4, MQTT-3.3.1-1
		return
	}
	q.fly = &inflight{id: o.nextID(), topic: q.Topic, onAck: q.Acked}
	o.unacked = append(o.unacked, q.fly)
	if q.Flight != nil {
		q.Flight.fly = q.fly
	}
}

// wait holds back what is sent from now on.
func (o *outbound) wait() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waits = true
}

// proceed lets go on what wait has held back.
func (c *conn) proceed() {
	c.out.mu.Lock()
	waited := c.out.waits
	c.out.waits = false
	c.out.mu.Unlock()
	if waited {
		c.flush()
	}
}

// flush writes what is queued on the caller's goroutine, one batch; a goroutine does the rest.
func (c *conn) flush() {
	c.out.mu.Lock()
	mine := c.out.claim()
	c.out.mu.Unlock()
	if !mine {
		return
	}
	if c.writeBatch() {
		go c.drain()
		return
	}
	c.out.writers.Done()
}

// drain writes until the queue is empty or the window full.
func (c *conn) drain() {
	defer c.out.writers.Done()
	for c.writeBatch() {
	}
}

// writeBatch writes the first messages of the queue as one piece, and reports whether there are more to
// write; if not, the claim is given back.
func (c *conn) writeBatch() (more bool) {
	defer func() {
		if r := recover(); r != nil { // a callback of the platform
			c.end(c.panicked(r))
		}
	}()
	batch := c.out.take()
	var wire []byte
	for i := range batch {
		q := &batch[i]
		e := c.sent(journal.Publish)
		e.Topic, e.QoS, e.Payload = q.Topic, int(q.qos), q.Payload
		if q.Shown != nil {
			e.Payload = q.Shown
		}
		if q.Retain {
			e.Properties = retained
		}
		c.srv.cfg.Journal.Append(e)
		wire = appendPublish(wire, q, c.level)
	}
	if len(wire) > 0 {
		if _, err := c.Write(wire); err != nil {
			return false
		}
		if c.srv.cfg.SentKeepsAlive && !c.silent.Load() {
			_ = c.listenFor(c.silence) // a connection that refuses deadlines is broken, and reads fail
		}
	}
	for i := range batch {
		c.tell(&batch[i])
	}
	return c.out.release()
}

// take removes the next batch from the queue and gives it packet ids.
func (o *outbound) take() []queued {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, size := 0, 0
	for n < len(o.queue) && size < batchBytes && o.mayFly(&o.queue[n]) {
		q := &o.queue[n]
		if q.landed() {
			o.queue = slices.Delete(o.queue, n, n+1)
			continue
		}
		size += publishSize(&q.Outgoing)
		if q.qos > 0 {
			o.board(q)
		}
		n++
	}
	batch := o.queue[:n:n]
	if o.queue = o.queue[n:]; len(o.queue) == 0 {
		o.queue = nil // the batch's memory goes with it
	}
	return batch
}

// release gives the claim back unless there is more to write.
func (o *outbound) release() (more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.waits && o.state == linkOpen && len(o.queue) > 0 && o.mayFly(&o.queue[0]) {
		return true
	}
	o.busy = false
	return false
}

// nextID counts on, past the ids that are in use. The caller holds mu.
func (o *outbound) nextID() uint16 {
	for {
		o.lastID++
		if o.lastID != 0 && !slices.ContainsFunc(o.unacked, func(f *inflight) bool { return f.id == o.lastID }) {
			return o.lastID
		}
	}
}

// tell reports a written message to the platform.
func (c *conn) tell(q *queued) {
	if q.Sent != nil {
		q.Sent(q.qos)
	}
	if q.fly == nil || q.again {
		return
	}
	c.out.mu.Lock()
	q.fly.told = true
	acked := q.fly.acked
	c.out.mu.Unlock()
	if acked && q.fly.onAck != nil {
		q.fly.onAck()
	}
}

// acknowledged forgets the message with the id, and returns whom to tell. An unknown id is nobody's.
func (o *outbound) acknowledged(id uint16) (tell func(), topic string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.IndexFunc(o.unacked, func(f *inflight) bool { return f.id == id })
	if i < 0 {
		return nil, ""
	}
	f := o.unacked[i]
	o.unacked = slices.Delete(o.unacked, i, i+1)
	f.acked = true
	if !f.told {
		return nil, f.topic
	}
	return f.onAck, f.topic
}
