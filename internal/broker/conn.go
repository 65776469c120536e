package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// conn is the net.Conn that mochi sees, and all that we know of the connection: mochi's client has no
// place for it, and a map by client id would outlive it. Fields without a lock belong to the goroutine
// of Serve.
type conn struct {
	net.Conn
	srv     *Server
	peer    Peer
	address string

	ctx    context.Context // ends with the connection; its cause is the connection's
	cancel context.CancelCauseFunc
	gone   chan struct{} // closed after Device.Gone

	serial     uint64
	mochiID    string
	session    session
	name       string // the device's name in the journal
	level      byte   // 0 before the CONNECT
	present    bool
	entered    bool
	device     Device // nil before the CONNECT is accepted
	will       *Message
	readErr    error
	silence    time.Duration
	expiry     uint32      // of the session in seconds, as the CONNACK tells it; 0 is not at all
	maxFilters int         // of one SUBSCRIBE, 0 is any
	inside     atomic.Bool // code of the platform is running, so a panic is not the packet's fault
	falls      bool        // a fault: the connection is half open from its CONNACK on
	silent     atomic.Bool // it is half open
	pace       atomic.Int64
	late       *late // nil until a PUBLISH has to wait

	ending sync.Mutex // guards ended and until, and orders deadlines: none is moved once ended
	ended  bool
	until  time.Time // when the client has been silent for too long; zero is never

	writing chan struct{} // holds a token while one Write runs; a channel, as tests with fake time must see the wait
	acks    acks
	out     outbound
}

func newConn(s *Server, nc net.Conn, peer Peer) *conn {
	if peer.Remote == nil {
		peer.Remote = nc.RemoteAddr()
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &conn{
		Conn: nc, srv: s, peer: peer, address: peer.Remote.String(),
		ctx: ctx, cancel: cancel, gone: make(chan struct{}), writing: make(chan struct{}, 1),
	}
	c.pace.Store(int64(peer.Pace))
	return c
}

// run lets mochi read the connection to its end. A panic ends this connection only.
func (c *conn) run() (err error) {
	defer func() {
		r := recover()
		switch {
		case r == nil:
		case c.inside.Load():
			err = c.panicked(r)
		default: // mochi's decoder, e.g. a v5 SUBSCRIBE without options (mochi issue 501)
			err = c.malformed(fmt.Sprintf("a packet that cannot be decoded: %v", r))
		}
	}()
	return c.srv.mochi.EstablishConnection(listenerID, c)
}

func (c *conn) panicked(r any) error {
	c.srv.cfg.Log.Error("panic in a platform", "platform", c.srv.cfg.Platform, "conn", c.peer.Conn,
		"client_id", c.session.clientID, "cause", fmt.Sprint(r), "stack", string(debug.Stack()))
	return fmt.Errorf("internal error: %v", r)
}

// guard runs code of the platform whose panic must not keep the rest from happening.
func (c *conn) guard(f func()) {
	defer func() {
		if r := recover(); r != nil {
			_ = c.panicked(r) // logged there; the connection is at its end already
		}
	}()
	f()
}

// end ends the connection: nothing is written or read any more, and Serve unwinds. It never blocks, and
// only the first cause counts.
func (c *conn) end(cause error) bool {
	c.ending.Lock()
	defer c.ending.Unlock()
	return c.endLocked(cause)
}

func (c *conn) endLocked(cause error) bool {
	if c.ended {
		return false
	}
	c.ended = true
	c.cancel(cause)
	past := time.Unix(1, 0)
	// A connection that refuses deadlines is broken, and its reads and writes fail of themselves.
	_ = c.Conn.SetReadDeadline(past)
	_ = c.Conn.SetWriteDeadline(past)
	return true
}

// causeOf turns what mochi returned into the connection's cause, and journals a refusal.
func (c *conn) causeOf(err error) error {
	var code packets.Code
	var refusal *rule.Refusal
	var timeout net.Error
	switch {
	case c.ctx.Err() != nil:
		return nil // decided already
	case errors.As(err, &refusal):
	case errors.Is(err, packets.ErrPacketTooLarge):
		refusal = c.tooLarge()
	case errors.Is(err, packets.ErrProtocolViolationRequireFirstConnect):
		refusal = &rule.Refusal{Rule: c.srv.cfg.Rules.First, Silent: true,
			Seen: "a first packet that is not CONNECT", Expected: "CONNECT"}
	case errors.As(err, &code):
		refusal = c.malformed(code.Reason)
	case c.readErr == nil && !c.inside.Load() && err != nil:
		refusal = c.malformed(err.Error())
	case c.device != nil && (errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()):
		return ErrKeepAlive
	case err == nil:
		return io.EOF
	default:
		return err
	}
	c.writeAcks() // of the packets before it
	c.refuse(c.event(journal.Refused), refusal)
	return refusal
}

func (c *conn) malformed(seen string) *rule.Refusal {
	return &rule.Refusal{Rule: c.srv.cfg.Rules.Malformed, Silent: true, Seen: seen, Expected: "a packet as the MQTT specification has it"}
}

func (c *conn) tooLarge() *rule.Refusal {
	return &rule.Refusal{Rule: c.srv.cfg.Rules.TooLarge, Silent: true, Seen: "a larger packet",
		Expected: fmt.Sprintf("at most %d bytes", c.srv.cfg.MaxPacket)}
}

// settle tells the platform that the connection has ended: the will first, then Gone.
func (c *conn) settle() {
	cause := context.Cause(c.ctx)
	c.out.stop()
	if c.device != nil {
		c.journalEnd(cause)
		if c.will != nil && c.srv.dead() == nil {
			c.guard(func() { c.device.Will(context.WithoutCancel(c.ctx), *c.will) })
		}
		c.guard(func() { c.device.Gone(cause) })
	}
	c.srv.leave(c)
	close(c.gone)
}

// Read implements net.Conn. mochi calls it when it has used up what came with the last one.
func (c *conn) Read(b []byte) (int, error) {
	c.writeAcks()
	pace := fault.Pace(c.pace.Load())
	n, err := c.Conn.Read(b[:pace.Piece(len(b))])
	if c.silent.Load() {
		n, err = 0, c.hearNothing(b, err)
	}
	if err != nil {
		c.readErr = err
	}
	pace.Wait(n, c.ctx.Done())
	return n, err
}

// Write implements net.Conn; each call is one piece of the wire, after the acks that wait. A client that
// does not take it in time loses the connection: nobody must wait for it.
func (c *conn) Write(b []byte) (int, error) {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	if !c.allow() {
		return 0, net.ErrClosed
	}
	size := len(b)
	if waiting := c.acks.take(); len(waiting) > 0 {
		b = append(waiting, b...)
		defer c.acks.reuse(b)
	}
	if len(b) == 0 || c.silent.Load() {
		return size, nil
	}
	err := c.put(b)
	if err == nil {
		return size, nil
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		err = ErrStalled
	}
	c.end(err)
	return 0, err
}

// allow grants one write its time, and none after the end.
func (c *conn) allow() bool {
	c.ending.Lock()
	defer c.ending.Unlock()
	if c.ended || c.srv.dead() != nil {
		return false
	}
	return c.Conn.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout)) == nil
}

// SetDeadline implements net.Conn. mochi calls it before it waits for a packet, with a time reckoned in
// 16 bits; we take only the moment. Until the CONNECT is accepted the deadline of Serve's caller holds.
func (c *conn) SetDeadline(time.Time) error {
	if c.device == nil || c.silent.Load() {
		return nil
	}
	return c.listenFor(c.silence)
}

// listenFor lets the client be silent for so long from now on; 0 is for ever.
func (c *conn) listenFor(d time.Duration) error {
	c.ending.Lock()
	defer c.ending.Unlock()
	if c.ended {
		return net.ErrClosed
	}
	c.until = time.Time{}
	if d > 0 {
		c.until = time.Now().Add(d)
	}
	return c.Conn.SetReadDeadline(c.until)
}

// Close implements net.Conn for mochi, which calls it when it has stopped reading. Serve closes the
// socket, after the platform knows.
func (c *conn) Close() error { return nil }
