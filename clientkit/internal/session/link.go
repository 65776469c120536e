package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fakecloud/fakecloud/clientkit"
)

// Time limits of one connection.
const (
	connectTimeout = 30 * time.Second // TCP, TLS and CONNACK
	writeTimeout   = 10 * time.Second // one packet
	closeTimeout   = 2 * time.Second  // DISCONNECT
)

// Login is what a device says in CONNECT.
type Login struct {
	ClientID, Username, Password string
}

// LinkConfig is what one MQTT connection needs.
type LinkConfig struct {
	Prefix    string      // begins every error: the kit's name
	Address   string      // host and port
	TLS       *tls.Config // nil is plain TCP
	WebSocket string      // path and query of MQTT over WebSocket; empty is MQTT on the bare connection
	Dial      clientkit.DialFunc
	Login     Login
	Clean     bool
	KeepAlive time.Duration
	Timing    clientkit.Timing       // with defaults
	Refused   func(code byte) error  // makes the error of a CONNACK other than 0
	OnPublish func(Arrival)          // must not block
	Trace     func(clientkit.Packet) // may be nil
	Running   *sync.WaitGroup        // the links' goroutines; waited for by their owner at its end
}

// Arrival is one PUBLISH from the server.
type Arrival struct {
	Link    *Link
	Topic   string
	Payload []byte
	QoS     byte
	ack     func()
}

// Ack acknowledges the message; it may be called from any goroutine, also after the connection's end.
func (a Arrival) Ack() {
	a.ack()
	if a.QoS > 0 {
		a.Link.sent(clientkit.Packet{Name: "PUBACK"})
	}
}

// Link is one MQTT connection on a Paho client of its own: Paho's own reconnect completes the tokens of
// unacknowledged messages without an error, so the kit reconnects itself.
type Link struct {
	cfg    LinkConfig
	client mqtt.Client
	conn   *conn
	jobs   chan job
	lost   chan struct{}  // closed when the connection has ended, for whatever reason
	users  sync.WaitGroup // what holds the link

	retired     bool            // Session.mu guards it: the session uses the link no more
	subscribing chan struct{}   // holds one value while subscribed is in use
	subscribed  map[string]bool // filters that were granted

	once  sync.Once
	cause error // set before lost is closed
}

// job hands one packet to the publisher, which alone may be held up by Paho.
type job struct {
	do    func() mqtt.Token
	token chan mqtt.Token
}

// Connect opens TCP, TLS unless it is off, WebSocket if it is on, and MQTT. The caller closes the link.
func Connect(ctx context.Context, cfg LinkConfig) (*Link, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	used, socket, err := open(ctx, cfg)
	if err == nil && cfg.WebSocket != "" {
		used, err = upgrade(ctx, used, cfg)
	}
	if err != nil {
		return nil, cfg.failed(err)
	}
	l := &Link{
		cfg: cfg, conn: &conn{Conn: used, socket: socket},
		jobs: make(chan job), lost: make(chan struct{}),
		subscribing: make(chan struct{}, 1), subscribed: map[string]bool{},
	}
	l.client = mqtt.NewClient(l.options())
	unwatch := context.AfterFunc(ctx, func() { l.conn.abort(ctx.Err()) })
	l.sent(clientkit.Packet{Name: "CONNECT", ClientID: cfg.Login.ClientID, Username: cfg.Login.Username, HasPassword: cfg.Login.Password != ""})
	token := l.client.Connect()
	<-token.Done()
	inTime := unwatch()
	if err := token.Error(); err != nil {
		_ = used.Close()
		return nil, l.connectError(ctx, err)
	}
	cfg.Running.Go(l.publisher)
	if !inTime {
		l.Close()
		return nil, fmt.Errorf("%s: connect to %s: %w", cfg.Prefix, cfg.Address, ctx.Err())
	}
	l.received(clientkit.Packet{Name: "CONNACK"})
	return l, nil
}

// open returns the connection, and the socket under it.
func open(ctx context.Context, cfg LinkConfig) (used, socket net.Conn, err error) {
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	raw, err := dial(ctx, "tcp", cfg.Address)
	if err != nil || cfg.TLS == nil {
		return raw, raw, err
	}
	secured := tls.Client(raw, cfg.TLS)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secured, raw, nil
}

func (l *Link) options() *mqtt.ClientOptions {
	o := mqtt.NewClientOptions()
	o.AddBroker("mqtts://" + l.cfg.Address) // not dialled: the connection is there
	o.SetClientID(l.cfg.Login.ClientID).SetUsername(l.cfg.Login.Username).SetPassword(l.cfg.Login.Password)
	o.SetProtocolVersion(4) // otherwise a refusal is followed by a second CONNECT with MQTT 3.1
	o.SetCleanSession(l.cfg.Clean)
	o.SetKeepAlive(l.cfg.KeepAlive)
	o.SetConnectTimeout(connectTimeout)
	o.SetWriteTimeout(writeTimeout)
	o.SetAutoReconnect(false)
	o.SetConnectRetry(false)
	o.SetOrderMatters(true) // the handler below never blocks
	o.SetAutoAckDisabled(true)
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return l.conn, nil })
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { l.end(err) })
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		l.received(clientkit.Packet{Name: "PUBLISH", Topic: m.Topic(), Payload: m.Payload()})
		l.cfg.OnPublish(Arrival{Link: l, Topic: m.Topic(), Payload: m.Payload(), QoS: m.Qos(), ack: m.Ack})
	})
	return o
}

func (l *Link) connectError(ctx context.Context, err error) error {
	if code, refused := l.conn.refusal(); refused {
		l.received(clientkit.Packet{Name: "CONNACK", ReturnCode: code})
		return l.cfg.Refused(code)
	}
	if first := l.conn.failure(); first != nil {
		err = first // Paho's errors tell of what followed
	}
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("no CONNACK in time: %w", ctx.Err())
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("the server closed the connection without a CONNACK: %w", io.EOF)
	}
	return l.cfg.failed(err)
}

// failed completes an error of a connection that did not come about.
func (c LinkConfig) failed(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" { // a TLS alert
		if alert := strings.TrimPrefix(op.Err.Error(), "tls: "); strings.Contains(alert, "certificate") {
			return fmt.Errorf("%s: %w", c.Prefix, &clientkit.CertificateError{Address: c.Address, Alert: alert, Cause: err})
		}
	}
	return fmt.Errorf("%s: connect to %s: %w", c.Prefix, c.Address, err)
}

// end marks the link as lost.
func (l *Link) end(cause error) {
	l.once.Do(func() {
		l.cause = cause
		if first := l.conn.failure(); first != nil {
			l.cause = first // Paho's errors tell of what followed
		}
		if errors.Is(l.cause, io.EOF) {
			l.cause = fmt.Errorf("the server closed the connection: %w", io.EOF)
		}
		close(l.lost)
	})
}

// IsLost reports whether the connection has ended.
func (l *Link) IsLost() bool {
	select {
	case <-l.lost:
		return true
	default:
		return false
	}
}

// publisher hands packets to Paho one by one. When the connection goes down at that moment, Paho blocks
// for the write time-out; neither callers nor the next connection wait for it.
func (l *Link) publisher() {
	for {
		select {
		case <-l.lost:
			return
		case j := <-l.jobs:
			j.token <- j.do()
		}
	}
}

// roundTrip sends one packet and waits for its acknowledgement. It returns ErrLost when the connection
// went away first, or was cut because the acknowledgement took too long; the packet may have arrived all the same.
func (l *Link) roundTrip(ctx context.Context, acknowledgement string, do func() mqtt.Token) (mqtt.Token, error) {
	j := job{do: do, token: make(chan mqtt.Token, 1)}
	select {
	case l.jobs <- j:
	case <-l.lost:
		return nil, ErrLost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var token mqtt.Token
	select {
	case token = <-j.token:
	case <-l.lost:
		return nil, ErrLost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-token.Done():
	case <-l.lost:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.cfg.Timing.After(l.cfg.Timing.Acknowledge):
		l.cut(&clientkit.AckError{Missing: acknowledgement, After: l.cfg.Timing.Acknowledge})
	}
	select {
	case <-token.Done():
		if token.Error() == nil {
			return token, nil
		}
		l.cut(token.Error())
	default:
	}
	return nil, ErrLost
}

// cut ends a connection that is of no use any more. Paho may tell so later only; until then it would be taken for
// a live one.
func (l *Link) cut(cause error) {
	l.conn.abort(cause)
	l.end(cause)
}

// Publish sends a message with QoS 1 and returns after its PUBACK.
func (l *Link) Publish(ctx context.Context, topic string, payload []byte) error {
	l.sent(clientkit.Packet{Name: "PUBLISH", Topic: topic, Payload: payload})
	_, err := l.roundTrip(ctx, "PUBACK", func() mqtt.Token { return l.client.Publish(topic, 1, false, payload) })
	if err == nil {
		l.received(clientkit.Packet{Name: "PUBACK"})
	}
	return err
}

// Subscribe asks for QoS 1 and returns after the SUBACK.
func (l *Link) Subscribe(ctx context.Context, filter string) error {
	l.sent(clientkit.Packet{Name: "SUBSCRIBE", Topic: filter})
	token, err := l.roundTrip(ctx, "SUBACK", func() mqtt.Token { return l.client.Subscribe(filter, 1, nil) })
	if err != nil {
		return err
	}
	if granted := token.(*mqtt.SubscribeToken).Result()[filter]; granted > 1 {
		return &clientkit.SubscribeError{Filter: filter, Code: granted}
	}
	l.received(clientkit.Packet{Name: "SUBACK"})
	return nil
}

// Close sends DISCONNECT if the connection is up, and ends Paho's goroutines.
func (l *Link) Close() {
	force := time.AfterFunc(closeTimeout, func() { l.conn.abort(net.ErrClosed) })
	if !l.IsLost() {
		l.sent(clientkit.Packet{Name: "DISCONNECT"})
	}
	l.client.Disconnect(uint(2 * closeTimeout / time.Millisecond))
	force.Stop()
	l.end(net.ErrClosed)
}

// Lost is closed when the connection has ended, for whatever reason.
func (l *Link) Lost() <-chan struct{} { return l.lost }

// Cause says why the connection has ended, once Lost is closed.
func (l *Link) Cause() error { return l.cause }

// Release ends what Session.Acquire and Session.Hold began.
func (l *Link) Release() { l.users.Done() }

func (l *Link) sent(p clientkit.Packet) {
	if l.cfg.Trace != nil {
		p.Sent = true
		l.cfg.Trace(p)
	}
}

func (l *Link) received(p clientkit.Packet) {
	if l.cfg.Trace != nil {
		l.cfg.Trace(p)
	}
}

// ErrLost ends what waits on a connection that has gone.
var ErrLost = errors.New("connection lost")
