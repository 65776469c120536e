package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/clientkit"
)

// Limits of a session.
const (
	settled        = 30 * time.Second // a connection that held so long begins the back-off anew
	drainTime      = 10 * time.Second // for PUBACKs before a planned end
	MaxResends     = 5                // of one message, in case that the message itself is the reason
	DefaultMQTTS   = 8883
	DefaultHTTPS   = 443
	DefaultTimeout = 30 * time.Second // for an answer by message
)

// Config is what a session needs. Prefix, Name, Address, Login and Refused are required.
type Config struct {
	Prefix    string // begins every error: the kit's name
	Name      string // of the server, for errors
	Device    string // for the log
	Address   string
	TLS       *tls.Config // nil is plain TCP
	WebSocket string      // path and query of MQTT over WebSocket; empty is MQTT on the bare connection
	Dial      clientkit.DialFunc
	Login     func() (Login, error) // of a connection made now
	Clean     bool
	KeepAlive time.Duration
	// RenewAfter says after how long a connection is replaced by one with a fresh login; nil is never.
	RenewAfter func() time.Duration
	Refused    func(code byte) error // makes the error of a CONNACK other than 0
	// Final reports whether an error ends the first connection's attempts; Ended, those of later ones.
	Final, Ended func(error) bool
	// Failed sees each failed attempt, and may end the attempts by returning an error of its own; optional.
	Failed    func(attempt int, err error) error
	Timing    clientkit.Timing // with defaults
	OnState   func(clientkit.State, error)
	OnPublish func(Arrival) // must not block
	OnLink    func(*Link)   // runs beside each new connection, after the subscriptions; optional
	Trace     func(clientkit.Packet)
	Log       *slog.Logger
	Closed    error // what operations return after Close
}

// Session is a device's connection; its methods may be called from several goroutines.
type Session struct {
	cfg     Config
	ctx     context.Context // ends when Close begins
	stop    context.CancelFunc
	hard    context.Context // ends when Close must not wait any longer
	abandon context.CancelFunc
	done    chan struct{}
	running sync.WaitGroup // of the links and of what the session spawned

	mu      sync.Mutex
	link    *Link          // nil while not connected
	changed chan struct{}  // closed at the next change of link or err
	err     error          // why the session is closed
	filters map[string]int // to be subscribed on every connection, and how many want each
}

// New returns a session that Dial connects.
func New(cfg Config) *Session {
	s := &Session{cfg: cfg, done: make(chan struct{}), changed: make(chan struct{}), filters: map[string]int{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.hard, s.abandon = context.WithCancel(context.Background())
	return s
}

// Dial returns once the server has accepted the device. What is not final is retried until ctx ends. ctx
// bounds this call only; the session lives until Close. After an error the session is over.
func (s *Session) Dial(ctx context.Context) error {
	l, err := s.dial(ctx, 0, s.cfg.Final)
	if err != nil {
		s.running.Wait()
		s.stop()
		s.abandon()
		s.cfg.OnState(clientkit.Closed, err)
		return err
	}
	go s.run(l)
	return nil
}

// dial connects, at once when attempt is 0, and again after each failure that is not final.
func (s *Session) dial(ctx context.Context, attempt int, final func(error) bool) (*Link, error) {
	var last error
	for ; ; attempt++ {
		if attempt > 0 && s.cfg.Timing.Wait(ctx, s.cfg.Timing.Backoff(attempt)) != nil {
			return nil, s.outOfTime(ctx, last)
		}
		s.cfg.OnState(clientkit.Connecting, nil)
		l, err := s.connect(ctx)
		switch {
		case err == nil:
			return l, nil
		case ctx.Err() != nil:
			return nil, s.outOfTime(ctx, err)
		case final(err):
			return nil, err
		}
		if s.cfg.Failed != nil {
			if end := s.cfg.Failed(attempt, err); end != nil {
				return nil, end
			}
		}
		last = err
		s.cfg.Log.Info("connection failed", "device", s.cfg.Device, "cause", err)
		s.cfg.OnState(clientkit.Disconnected, err)
	}
}

func (s *Session) outOfTime(ctx context.Context, last error) error {
	return fmt.Errorf("%s: connecting to %s: %w", s.cfg.Prefix, s.cfg.Name, OutOfTime(ctx, last))
}

func (s *Session) connect(ctx context.Context) (*Link, error) {
	login, err := s.cfg.Login()
	if err != nil {
		return nil, err
	}
	c := s.cfg
	return Connect(ctx, LinkConfig{
		Prefix: c.Prefix, Address: c.Address, TLS: c.TLS, WebSocket: c.WebSocket, Dial: c.Dial, Login: login, Clean: c.Clean, KeepAlive: c.KeepAlive,
		Timing: c.Timing, Refused: c.Refused, OnPublish: c.OnPublish, Trace: c.Trace, Running: &s.running,
	})
}

// run owns the connection from the first CONNACK to Close.
func (s *Session) run(l *Link) {
	defer close(s.done)
	attempt := 0
	for {
		since := s.cfg.Timing.Now()
		renew := s.renewal()
		current, filters := l, s.wanted()
		s.set(l, nil)
		s.Spawn(func() { s.arrived(current, filters) })
		s.cfg.OnState(clientkit.Connected, nil)
		select {
		case <-l.lost:
		case <-renew:
		case <-s.ctx.Done():
		}
		s.set(nil, nil)
		lost := l.IsLost()
		if !lost {
			s.drain(l)
		}
		l.Close()
		switch {
		case s.ctx.Err() != nil:
			s.finish(nil)
			return
		case !lost:
			attempt = 0
			s.cfg.OnState(clientkit.Disconnected, nil)
		default:
			if s.cfg.Timing.Now().Sub(since) >= settled {
				attempt = 0
			}
			attempt++
			s.cfg.Log.Info("connection lost", "device", s.cfg.Device, "cause", l.cause)
			s.cfg.OnState(clientkit.Disconnected, l.cause)
		}
		var err error
		if l, err = s.dial(s.ctx, attempt, s.cfg.Ended); err != nil {
			if s.ctx.Err() != nil {
				err = nil
			}
			s.finish(err)
			return
		}
	}
}

// arrived runs beside each new connection.
func (s *Session) arrived(l *Link, filters []string) {
	if s.renewSubscriptions(l, filters) && s.cfg.OnLink != nil {
		s.cfg.OnLink(l)
	}
}

// renewal fires when the connection needs a fresh login; nil never does.
func (s *Session) renewal() <-chan time.Time {
	if s.cfg.RenewAfter == nil {
		return nil
	}
	return s.cfg.Timing.After(s.cfg.RenewAfter())
}

func (s *Session) set(l *Link, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != nil {
		s.link.retired = true
	}
	s.link, s.err = l, err
	close(s.changed)
	s.changed = make(chan struct{})
}

// finish ends the session; err is nil after Close.
func (s *Session) finish(err error) {
	if err == nil {
		s.set(nil, s.cfg.Closed)
	} else {
		s.set(nil, fmt.Errorf("%w: %w", s.cfg.Closed, err))
	}
	s.stop() // after set: who sees the end finds its reason
	s.running.Wait()
	s.cfg.OnState(clientkit.Closed, err)
}

// drain waits until what holds a link that takes no more has come to its end.
func (s *Session) drain(l *Link) {
	ctx, cancel := context.WithTimeout(s.hard, drainTime)
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

// Context ends when Close begins, Hard when Close must not wait any longer.
func (s *Session) Context() context.Context { return s.ctx }

// Hard ends when Close must not wait any longer.
func (s *Session) Hard() context.Context { return s.hard }

// Done is closed when the session is over; Err tells why.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns nil while the session is in use, Config.Closed after Close, and an error that wraps it and the
// refusal when a reconnect was refused.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close waits for the acknowledgement of messages under way, ten seconds at most, sends DISCONNECT and returns
// when nothing of the session runs any more. When ctx ends first it cuts the connection and returns ctx's
// error. Closing twice is allowed.
func (s *Session) Close(ctx context.Context) error {
	s.stop()
	defer s.abandon()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.abandon()
	<-s.done
	return ctx.Err()
}

// OutOfTime joins the end of a context with the last failure before it.
func OutOfTime(ctx context.Context, last error) error {
	switch {
	case last == nil:
		return context.Cause(ctx)
	case errors.Is(last, context.Cause(ctx)):
		return last
	}
	return fmt.Errorf("%w; the last attempt: %w", context.Cause(ctx), last)
}
