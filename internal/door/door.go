package door

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/journal"
)

// Config opens a Door. Hosts, Certificates, Journal and Log are required.
type Config struct {
	// Bind are the IP addresses to listen on; empty is both loopbacks, of which ::1 may be missing.
	Bind  []string
	Ports Ports
	// Listen opens the listeners, whose addresses are *net.TCPAddr; nil is net.Listen.
	Listen func(network, address string) (net.Listener, error)
	// Platforms in the order in which they are asked whether a client is theirs.
	Platforms []Platform
	Hosts     *hosts.Table
	// Advertise are names and addresses by which clients reach this machine. They may stand in user names
	// and SAS resources; the first is handed over to clients that came through a mapped port.
	Advertise    []string
	Certificates Certificates
	Journal      *journal.Journal
	Faults       *fault.Set // nil has none
	Log          *slog.Logger
	KeyLog       io.Writer // TLS secrets in NSS format, for Wireshark; nil is off
	Timeouts     Timeouts
	LastConn     uint64 // connection numbers go on after this one
}

// Timeouts bound what a client may take. Zero values take the defaults.
type Timeouts struct {
	Handshake time.Duration // TLS handshake, and the talk on the proxy port; default 10 s
	Connect   time.Duration // from the handshake to the whole CONNECT; default 30 s, as IoT Hub documents for MQTT 5
	Write     time.Duration // one write of the door; default 10 s
	Linger    time.Duration // how long a refused client may take to read the answer; default 1 s
}

func (t Timeouts) withDefaults() Timeouts {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&t.Handshake, 10 * time.Second}, {&t.Connect, 30 * time.Second}, {&t.Write, 10 * time.Second}, {&t.Linger, time.Second}} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	return t
}

// Door holds the listeners and every connection that came in through them.
type Door struct {
	table        table
	certificates Certificates
	faults       *fault.Set
	journal      *journal.Journal
	log          *slog.Logger
	timeouts     Timeouts
	names        names
	keyLog       io.Writer

	tls      *tls.Config // whose GetConfigForClient picks one of policies
	mu       sync.RWMutex
	policies map[policyKey]*tls.Config

	listeners []*listener
	bound     Bound
	web       *http.Server
	webConns  *queue
	numbers   atomic.Uint64
	attempts  attempts

	socks    sync.Mutex
	open     map[*sock]struct{}
	stopping bool
	running  sync.WaitGroup // accept loops and connections; nothing is added once stopping
}

// LastConn returns the number of the newest connection.
func (d *Door) LastConn() uint64 { return d.numbers.Load() }

// Open binds every port and starts to accept. On an error nothing stays bound; the error names the flag of
// the port that could not be had.
func Open(cfg Config) (*Door, error) {
	d := newDoor(cfg)
	d.numbers.Store(cfg.LastConn)
	if cfg.Listen == nil {
		cfg.Listen = net.Listen
	}
	if err := d.listen(cfg.Bind, cfg.Ports, cfg.Listen); err != nil {
		return nil, err
	}
	d.start()
	return d, nil
}

func newDoor(cfg Config) *Door {
	d := &Door{
		table:        table{hosts: cfg.Hosts, platforms: cfg.Platforms},
		certificates: cfg.Certificates,
		faults:       cfg.Faults,
		journal:      cfg.Journal,
		log:          cfg.Log,
		timeouts:     cfg.Timeouts.withDefaults(),
		names:        newNames(cfg.Advertise),
		keyLog:       cfg.KeyLog,
		policies:     map[policyKey]*tls.Config{},
		open:         map[*sock]struct{}{},
	}
	d.tls = &tls.Config{GetConfigForClient: d.policy}
	d.webConns = newQueue()
	d.web = d.newWeb()
	return d
}

func (d *Door) start() {
	d.running.Go(func() {
		if err := d.web.Serve(d.webConns); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			d.log.Error("HTTPS has stopped", "cause", err)
		}
	})
	for _, l := range d.listeners {
		d.running.Go(func() { d.accept(l) })
	}
}

// Ports returns what is bound.
func (d *Door) Ports() Bound { return d.bound }

// accept takes connections until the listener is closed. Other errors (too many open files) pass: it waits
// a little longer each time, up to a second.
func (d *Door) accept(l *listener) {
	const first, most = 5 * time.Millisecond, time.Second
	wait := first
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			d.log.Warn("cannot accept a connection", "port", l.port.String(), "cause", err)
			if !d.pause(wait) {
				return
			}
			wait = min(2*wait, most)
			continue
		}
		wait = first
		d.take(conn, l.port)
	}
}

// pause waits and reports whether the door is still open.
func (d *Door) pause(wait time.Duration) bool {
	select {
	case <-time.After(wait):
		return true
	case <-d.webConns.done:
		return false
	}
}

// take gives a connection a number and a goroutine of its own.
func (d *Door) take(conn net.Conn, port Port) {
	s := &sock{Conn: conn, door: d, number: d.numbers.Add(1), port: port}
	d.socks.Lock()
	if d.stopping {
		d.socks.Unlock()
		_ = conn.Close()
		return
	}
	d.open[s] = struct{}{}
	d.running.Add(1)
	d.socks.Unlock()
	go func() {
		defer d.running.Done()
		d.handle(s)
	}()
}

// handle takes one connection all the way. A panic below costs this connection only.
func (d *Door) handle(s *sock) {
	defer func() {
		if cause := recover(); cause != nil {
			d.log.Error("a connection has panicked", "conn", s.number, "cause", cause, "stack", string(debug.Stack()))
			e := d.event(s)
			e.Kind, e.Detail = journal.Closed, "an error inside fakecloud ended this connection; its log has the details"
			d.journal.Append(e)
			_ = s.Close()
		}
	}()
	if s.port == Proxy && !d.proxy(s) {
		d.linger(s)
		return
	}
	if s.port == MQTT {
		d.serveMQTT(s, s, nil)
		return
	}
	conn := d.handshake(s)
	if conn == nil {
		d.linger(s)
		return
	}
	state := conn.ConnectionState()
	d.shookHands(s, &state)
	if s.halfOpen {
		d.ignore(s)
		return
	}
	if s.port == HTTPS && state.NegotiatedProtocol != amznALPN {
		_ = s.SetDeadline(time.Time{})
		d.webConns.put(&webConn{Conn: conn, door: d, sock: s})
		return
	}
	d.serveMQTT(s, conn, &state)
}

// Stop closes the listeners and every connection that no platform serves yet. Platforms' servers can be
// closed after it without a new connection reaching them.
func (d *Door) Stop() {
	d.socks.Lock()
	first := !d.stopping
	d.stopping = true
	var early []*sock
	for s := range d.open {
		if !s.handedOver.Load() {
			early = append(early, s)
		}
	}
	d.socks.Unlock()
	if first {
		for _, l := range d.listeners {
			_ = l.Close()
		}
		_ = d.webConns.Close()
	}
	for _, s := range early {
		_ = s.Close()
	}
}

// requestGrace is how long Close lets HTTP requests go on, so that an instance stops within a second.
const requestGrace = 900 * time.Millisecond

// Close stops, lets HTTP requests end for a moment, closes every connection and waits for their goroutines, at most
// until ctx ends; then it returns ctx's error.
func (d *Door) Close(ctx context.Context) error {
	d.Stop()
	grace, cancel := context.WithTimeout(ctx, requestGrace)
	_ = d.web.Shutdown(grace)
	cancel()
	_ = d.web.Close()
	d.socks.Lock()
	rest := make([]*sock, 0, len(d.open))
	for s := range d.open {
		rest = append(rest, s)
	}
	d.socks.Unlock()
	for _, s := range rest {
		_ = s.Close()
	}
	done := make(chan struct{})
	go func() {
		d.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// event is the part of a journal event that every one of s has.
func (d *Door) event(s *sock) journal.Event {
	return journal.Event{Platform: journalPlatform, Conn: s.number, Address: s.RemoteAddr().String()}
}

// journalPlatform stands in events of connections whose platform is not known (yet).
const journalPlatform = "door"
