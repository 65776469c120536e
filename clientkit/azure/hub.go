package azure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// State is the state of a hub connection.
type State int

// The states. Disconnected is passing: the kit tries again after a delay. Closed is the end.
const (
	Connecting State = iota
	Connected
	Disconnected
	Closed
)

func (s State) String() string {
	switch s {
	case Connecting:
		return "connecting"
	case Connected:
		return "connected"
	case Disconnected:
		return "disconnected"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

const (
	settled    = 30 * time.Second // a connection that held so long begins the back-off anew
	drainTime  = 10 * time.Second // for PUBACKs before a planned end
	maxResends = 5                // of one message, in case that the message itself is the reason
)

// Hub is a device's connection to IoT Hub. It reconnects by itself; its methods may be called from
// several goroutines.
type Hub struct {
	cfg     HubConfig
	ctx     context.Context // ends when Close begins
	stop    context.CancelFunc
	hard    context.Context // ends when Close must not wait any longer
	abandon context.CancelFunc
	done    chan struct{}
	running sync.WaitGroup // of the links and of what the hub calls
	in      inbound

	mu      sync.Mutex
	link    *link         // nil while not connected
	changed chan struct{} // closed at the next change of link or err
	err     error         // why the hub is closed
}

// Dial connects to the hub. It returns once the hub has accepted the device. What may pass (no network,
// CONNACK 3, a closed socket) is retried with growing, jittered delays until ctx ends; a refusal
// (*ConnectError) and a server that cannot be trusted (*tls.CertificateVerificationError) are returned at
// once. ctx bounds this call only; the connection lives until Close.
func Dial(ctx context.Context, cfg HubConfig) (*Hub, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Hub{cfg: cfg, done: make(chan struct{}), changed: make(chan struct{}), in: newInbound()}
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.hard, h.abandon = context.WithCancel(context.Background())
	l, err := h.dial(ctx, 0, isFinal)
	if err != nil {
		h.running.Wait()
		h.stop()
		h.abandon()
		h.cfg.OnState(Closed, err)
		return nil, err
	}
	go h.run(l)
	return h, nil
}

// dial connects, at once when attempt is 0, and again after each failure that is not final.
func (h *Hub) dial(ctx context.Context, attempt int, final func(error) bool) (*link, error) {
	var last error
	for ; ; attempt++ {
		if attempt > 0 && h.cfg.Timing.wait(ctx, h.cfg.Timing.backoff(attempt)) != nil {
			return nil, fmt.Errorf("azure: connecting to %s: %w", h.cfg.Host, outOfTime(ctx, last))
		}
		h.cfg.OnState(Connecting, nil)
		l, err := connect(ctx, h.cfg.linkConfig(&h.running, h.dispatch))
		switch {
		case err == nil:
			return l, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("azure: connecting to %s: %w", h.cfg.Host, outOfTime(ctx, err))
		case final(err):
			return nil, err
		}
		last = err
		h.cfg.Log.Info("hub connection failed", "device", h.cfg.clientID(), "cause", err)
		h.cfg.OnState(Disconnected, err)
	}
}

// refused is what ends a hub that was connected before. An untrusted server is not: a device that moves
// may stand behind a captive portal for a while.
func refused(err error) bool {
	var e *ConnectError
	return errors.As(err, &e) && e.Final()
}

// run owns the connection from the first CONNACK to Close.
func (h *Hub) run(l *link) {
	defer close(h.done)
	attempt := 0
	for {
		since := h.cfg.Timing.Now()
		renew := h.renewal()
		current, filters := l, h.wanted()
		h.set(l, nil)
		h.spawn(func() { h.renewSubscriptions(current, filters) })
		h.cfg.OnState(Connected, nil)
		select {
		case <-l.lost:
		case <-renew:
		case <-h.ctx.Done():
		}
		h.set(nil, nil)
		lost := l.isLost()
		if !lost {
			h.drain(l)
		}
		l.close()
		switch {
		case h.ctx.Err() != nil:
			h.finish(nil)
			return
		case !lost:
			attempt = 0
			h.cfg.OnState(Disconnected, nil)
		default:
			if h.cfg.Timing.Now().Sub(since) >= settled {
				attempt = 0
			}
			attempt++
			h.cfg.Log.Info("hub connection lost", "device", h.cfg.clientID(), "cause", l.cause)
			h.cfg.OnState(Disconnected, l.cause)
		}
		var err error
		if l, err = h.dial(h.ctx, attempt, refused); err != nil {
			if h.ctx.Err() != nil {
				err = nil
			}
			h.finish(err)
			return
		}
	}
}

// renewal fires when the connection needs a fresh token; nil never does.
func (h *Hub) renewal() <-chan time.Time {
	if !h.cfg.Credential.renewable() {
		return nil
	}
	return h.cfg.Timing.After(h.cfg.renewAfter())
}

func (h *Hub) set(l *link, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.link != nil {
		h.link.retired = true
	}
	h.link, h.err = l, err
	close(h.changed)
	h.changed = make(chan struct{})
}

// finish ends the hub; err is nil after Close.
func (h *Hub) finish(err error) {
	if err == nil {
		h.set(nil, ErrClosed)
	} else {
		h.set(nil, fmt.Errorf("%w: %w", ErrClosed, err))
	}
	h.stop() // after set: a Send that sees the end finds its reason
	h.running.Wait()
	h.cfg.OnState(Closed, err)
}

// drain waits until the Sends and handlers on a link that takes no more have come to their end.
func (h *Hub) drain(l *link) {
	ctx, cancel := context.WithTimeout(h.hard, drainTime)
	defer cancel()
	acknowledged := make(chan struct{})
	go func() {
		l.users.Wait()
		close(acknowledged)
	}()
	select {
	case <-acknowledged:
	case <-l.lost:
	case <-ctx.Done():
	}
}

// acquire returns a live link, waiting for one if need be. The caller calls users.Done.
func (h *Hub) acquire(ctx context.Context) (*link, error) {
	for {
		h.mu.Lock()
		l, err, changed := h.link, h.err, h.changed
		if l != nil && !l.isLost() {
			l.users.Add(1)
			h.mu.Unlock()
			return l, nil
		}
		h.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-h.ctx.Done():
			if err := h.Err(); err != nil {
				return nil, err
			}
			return nil, ErrClosed
		}
	}
}

// Send publishes one message with QoS 1 and returns once the hub has acknowledged it. While there is no
// connection it waits for one; when the connection is lost before the acknowledgement, the message is
// sent again on the next, so the hub may see it twice. Concurrent calls may change places then.
//
// Errors: ErrTooLarge before anything was sent; ErrClosed, also wrapping the *ConnectError of a hub that
// refused a reconnect; the end of ctx, after which the message may still have arrived; or that the
// connection was lost five times under this message.
func (h *Hub) Send(ctx context.Context, m Message) error {
	topic, err := h.cfg.topicOf(m)
	if err != nil {
		return err
	}
	body := bytes.Clone(m.Body) // may still be read after ctx has ended
	for range maxResends {
		l, err := h.acquire(ctx)
		if err != nil {
			return fmt.Errorf("azure: message not sent: %w", err)
		}
		err = l.publish(ctx, topic, body)
		l.users.Done()
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, errLost):
			return fmt.Errorf("azure: message not acknowledged: %w", err)
		}
	}
	return fmt.Errorf("azure: message not acknowledged: %w %d times while it was under way", errLost, maxResends)
}

// Done is closed when the hub is closed, by Close or by a refusal; Err tells which.
func (h *Hub) Done() <-chan struct{} { return h.done }

// Err returns nil while the hub is in use, ErrClosed after Close, and an error wrapping ErrClosed and the
// *ConnectError when a reconnect was refused.
func (h *Hub) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Close waits for the acknowledgement of messages under way, ten seconds at most, sends DISCONNECT and
// returns when nothing of the hub runs any more, handlers included. When ctx ends first it cuts the connection and returns
// ctx's error; the Sends under way report that they were not acknowledged. Closing twice is allowed.
func (h *Hub) Close(ctx context.Context) error {
	h.stop()
	defer h.abandon()
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
	}
	h.abandon()
	<-h.done
	return ctx.Err()
}
