package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// What a zero Config field takes.
const (
	defaultPending      = 128
	defaultWriteTimeout = 10 * time.Second
	defaultMaxPacket    = 1 << 20
)

// closeAlert is how long crypto/tls may take to say goodbye on a connection that nobody reads.
const closeAlert = 5 * time.Second

// Server speaks MQTT for one platform. Its methods may be called concurrently.
type Server struct {
	cfg   Config
	mochi *mqtt.Server

	mu      sync.Mutex
	conns   map[*conn]struct{} // every connection that Serve runs, before its CONNECT too
	live    map[session]*conn  // the accepted ones that have a client id
	judging map[session]chan struct{}
	online  int    // accepted connections, with or without client id
	serial  uint64 // makes the ids that mochi sees
	closed  bool
	empty   chan struct{} // closed when closed is set and conns is empty

	killed atomic.Pointer[error]
}

// session is what a client id is unique in.
type session struct{ endpoint, clientID string }

// New returns a server that is ready to Serve.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Head == nil || cfg.Journal == nil:
		return nil, errors.New("broker: Config needs a Head and a Journal")
	case len(cfg.Levels) == 0:
		return nil, errors.New("broker: Config needs the protocol levels that are spoken")
	}
	if cfg.Pending <= 0 {
		cfg.Pending = defaultPending
	}
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = defaultWriteTimeout
	}
	if cfg.MaxPacket == 0 {
		cfg.MaxPacket = defaultMaxPacket
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Mask == nil {
		cfg.Mask = hidePassword
	}
	s := &Server{
		cfg:     cfg,
		conns:   map[*conn]struct{}{},
		live:    map[session]*conn{},
		judging: map[session]chan struct{}{},
		empty:   make(chan struct{}),
	}
	if err := s.startMochi(); err != nil {
		return nil, err
	}
	return s, nil
}

func hidePassword(username string, password []byte) (string, string) {
	if len(password) == 0 {
		return username, ""
	}
	return username, "****"
}

// Serve runs one connection to its end on the caller's goroutine and closes it. nc carries the bytes of
// the CONNECT still unread; a read deadline on it holds until the CONNECT is accepted. Serve returns nil
// after a DISCONNECT, otherwise the cause of the end; before a CONNECT that is the network's error
// (os.ErrDeadlineExceeded for a client that never sent one) or a *rule.Refusal.
func (s *Server) Serve(nc net.Conn, peer Peer) error {
	c := newConn(s, nc, peer)
	if !s.admit(c) {
		return errors.Join(ErrShutdown, nc.Close())
	}
	defer s.forget(c)
	err := c.run()
	c.lastTurn()
	c.end(c.causeOf(err))
	s.mochi.Clients.Delete(c.mochiID)
	c.settle()
	if err := nc.Close(); err != nil {
		s.cfg.Log.Debug("closing a connection", "conn", peer.Conn, "cause", err)
	}
	if cause := context.Cause(c.ctx); !errors.Is(cause, ErrDisconnect) {
		return cause
	}
	return nil
}

// Disconnect starts to end the connection of a client with cause, as Link.Close does, and reports
// whether there was one.
func (s *Server) Disconnect(endpoint, clientID string, cause error) bool {
	s.mu.Lock()
	c := s.live[session{endpoint, clientID}]
	s.mu.Unlock()
	if c == nil || c.ctx.Err() != nil {
		return false
	}
	(*link)(c).Close(cause)
	return true
}

// Connected reports whether the client has an accepted connection.
func (s *Server) Connected(endpoint, clientID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.live[session{endpoint, clientID}]
	return c != nil && c.ctx.Err() == nil
}

// Connections returns the number of accepted connections.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.online
}

// Kill makes every connection dead at once: nothing that it sends counts any more, its will neither, and
// nothing is written to it. The sockets close, with cause, in the Close that has to follow.
func (s *Server) Kill(cause error) { s.killed.CompareAndSwap(nil, &cause) }

// dead returns the cause of Kill, nil for a server that lives.
func (s *Server) dead() error {
	if cause := s.killed.Load(); cause != nil {
		return *cause
	}
	return nil
}

// Close ends every connection, without a packet, and returns when all of them are gone. It waits at
// most until ctx ends, and never much longer than the write timeout; it may be called again.
func (s *Server) Close(ctx context.Context) error {
	cause := s.dead()
	if cause == nil {
		cause = ErrShutdown
	}
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		if len(s.conns) == 0 {
			close(s.empty)
		}
	}
	open := s.open()
	s.mu.Unlock()
	for _, c := range open {
		c.end(cause)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.WriteTimeout+closeAlert)
	defer cancel()
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	open = s.open()
	s.mu.Unlock()
	for _, c := range open {
		go c.Conn.Close() // its goroutine is stuck in the platform; the client shall not wait for that
	}
	return fmt.Errorf("broker %s: %d connections have not ended: %w", s.cfg.Platform, len(open), ctx.Err())
}

// open returns the connections that run. The caller holds mu.
func (s *Server) open() []*conn {
	open := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	return open
}

// admit registers c unless the server is closed.
func (s *Server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.serial++
	c.serial = s.serial
	s.conns[c] = struct{}{}
	return true
}

// forget is the last that happens to c.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.closed && len(s.conns) == 0 {
		close(s.empty)
	}
}

// judge waits until no other CONNECT of k is being judged and returns the function that lets the next
// one in. It gives up when ctx ends.
func (s *Server) judge(ctx context.Context, k session) (done func(), err error) {
	if k.clientID == "" {
		return func() {}, nil // a client without id shares nothing with another
	}
	for {
		s.mu.Lock()
		other := s.judging[k]
		if other == nil {
			mine := make(chan struct{})
			s.judging[k] = mine
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.judging, k)
				s.mu.Unlock()
				close(mine)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// enter makes c the live connection of its session and returns after the previous one is gone. The
// caller judges c.session.
func (s *Server) enter(c *conn) error {
	if c.session.clientID != "" {
		s.mu.Lock()
		old := s.live[c.session]
		s.mu.Unlock()
		if old != nil {
			old.end(ErrTakenOver)
			select {
			case <-old.gone:
			case <-c.ctx.Done():
				return context.Cause(c.ctx)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.online++
	c.entered = true
	if c.session.clientID != "" {
		s.live[c.session] = c
	}
	return nil
}

// leave undoes enter.
func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.entered {
		return
	}
	s.online--
	if s.live[c.session] == c {
		delete(s.live, c.session)
	}
}
