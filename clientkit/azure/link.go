package azure

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// DialFunc opens a network connection, as net.Dialer.DialContext does. TLS is laid over it by the kit.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Time limits of one connection.
const (
	connectTimeout = 30 * time.Second // TCP, TLS and CONNACK
	writeTimeout   = 10 * time.Second // one packet
	closeTimeout   = 2 * time.Second  // DISCONNECT
)

// linkConfig is what one MQTT connection needs.
type linkConfig struct {
	host, address string
	tls           *tls.Config
	dial          DialFunc
	clientID      string
	username      string
	password      string
	cleanSession  bool
	keepAlive     time.Duration
	onPublish     func(arrival) // must not block
	trace         tracer
	running       *sync.WaitGroup // the links' goroutines; waited for by their owner at its end
}

// link is one MQTT connection on a Paho client of its own: Paho's own reconnect completes the tokens of
// unacknowledged messages without an error, so the kit reconnects itself.
type link struct {
	cfg    linkConfig
	client mqtt.Client
	conn   *conn
	jobs   chan job
	lost   chan struct{}  // closed when the connection has ended, for whatever reason
	users  sync.WaitGroup // Sends and handlers that hold the link

	retired     bool            // Hub.mu guards it: the hub uses the link no more
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

// connect opens TCP, TLS and MQTT. The caller closes the link.
func connect(ctx context.Context, cfg linkConfig) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	secured, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("azure: connect to %s: %w", cfg.address, err)
	}
	l := &link{
		cfg: cfg, conn: &conn{Conn: secured, socket: secured.NetConn()},
		jobs: make(chan job), lost: make(chan struct{}),
		subscribing: make(chan struct{}, 1), subscribed: map[string]bool{},
	}
	l.client = mqtt.NewClient(l.options())
	unwatch := context.AfterFunc(ctx, func() { l.conn.abort(ctx.Err()) })
	cfg.trace.sent(Packet{Name: "CONNECT", ClientID: cfg.clientID, Username: cfg.username, HasPassword: cfg.password != ""})
	token := l.client.Connect()
	<-token.Done()
	inTime := unwatch()
	if err := token.Error(); err != nil {
		_ = secured.Close()
		return nil, l.connectError(ctx, err)
	}
	cfg.running.Go(l.publisher)
	if !inTime {
		l.close()
		return nil, fmt.Errorf("azure: connect to %s: %w", cfg.address, ctx.Err())
	}
	cfg.trace.received(Packet{Name: "CONNACK"})
	return l, nil
}

func open(ctx context.Context, cfg linkConfig) (*tls.Conn, error) {
	dial := cfg.dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	raw, err := dial(ctx, "tcp", cfg.address)
	if err != nil {
		return nil, err
	}
	secured := tls.Client(raw, cfg.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secured, nil
}

func (l *link) options() *mqtt.ClientOptions {
	o := mqtt.NewClientOptions()
	o.AddBroker("mqtts://" + l.cfg.address)
	o.SetClientID(l.cfg.clientID).SetUsername(l.cfg.username).SetPassword(l.cfg.password)
	o.SetProtocolVersion(4) // otherwise a refusal is followed by a second CONNECT with MQTT 3.1
	o.SetCleanSession(l.cfg.cleanSession)
	o.SetKeepAlive(l.cfg.keepAlive)
	o.SetConnectTimeout(connectTimeout)
	o.SetWriteTimeout(writeTimeout)
	o.SetAutoReconnect(false)
	o.SetConnectRetry(false)
	o.SetOrderMatters(true) // the handler below never blocks
	o.SetAutoAckDisabled(true)
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return l.conn, nil })
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { l.end(err) })
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		l.cfg.trace.received(Packet{Name: "PUBLISH", Topic: m.Topic(), Payload: m.Payload()})
		l.cfg.onPublish(arrival{link: l, topic: m.Topic(), payload: m.Payload(), ack: m.Ack})
	})
	return o
}

func (l *link) connectError(ctx context.Context, err error) error {
	if code, refused := l.conn.refusal(); refused {
		l.cfg.trace.received(Packet{Name: "CONNACK", ReturnCode: code})
		return &ConnectError{Host: l.cfg.host, ReturnCode: code}
	}
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("no CONNACK in time: %w", ctx.Err())
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("the server closed the connection without a CONNACK: %w", io.EOF)
	}
	return fmt.Errorf("azure: connect to %s: %w", l.cfg.address, err)
}

// end marks the link as lost.
func (l *link) end(cause error) {
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

func (l *link) isLost() bool {
	select {
	case <-l.lost:
		return true
	default:
		return false
	}
}

// publisher hands packets to Paho one by one. When the connection goes down at that moment, Paho blocks
// for the write time-out; neither callers nor the next connection wait for it.
func (l *link) publisher() {
	for {
		select {
		case <-l.lost:
			return
		case j := <-l.jobs:
			j.token <- j.do()
		}
	}
}

// roundTrip sends one packet and waits for its acknowledgement. It returns errLost when the connection
// went away first; the packet may have arrived all the same.
func (l *link) roundTrip(ctx context.Context, do func() mqtt.Token) (mqtt.Token, error) {
	j := job{do: do, token: make(chan mqtt.Token, 1)}
	select {
	case l.jobs <- j:
	case <-l.lost:
		return nil, errLost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var token mqtt.Token
	select {
	case token = <-j.token:
	case <-l.lost:
		return nil, errLost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-token.Done():
	case <-l.lost:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-token.Done():
		if token.Error() == nil {
			return token, nil
		}
		// The connection is of no use any more. Paho may tell so later only; until then it would be
		// taken for a live one.
		l.conn.abort(token.Error())
		l.end(token.Error())
	default:
	}
	return nil, errLost
}

// publish sends a message with QoS 1 and returns after its PUBACK.
func (l *link) publish(ctx context.Context, topic string, payload []byte) error {
	l.cfg.trace.sent(Packet{Name: "PUBLISH", Topic: topic, Payload: payload})
	_, err := l.roundTrip(ctx, func() mqtt.Token { return l.client.Publish(topic, 1, false, payload) })
	if err == nil {
		l.cfg.trace.received(Packet{Name: "PUBACK"})
	}
	return err
}

// subscribe asks for QoS 1 and returns after the SUBACK.
func (l *link) subscribe(ctx context.Context, filter string) error {
	l.cfg.trace.sent(Packet{Name: "SUBSCRIBE", Topic: filter})
	token, err := l.roundTrip(ctx, func() mqtt.Token { return l.client.Subscribe(filter, 1, nil) })
	if err != nil {
		return err
	}
	if granted := token.(*mqtt.SubscribeToken).Result()[filter]; granted > 1 {
		return fmt.Errorf("%w: subscription to %s refused with 0x%02x", errProtocol, filter, granted)
	}
	l.cfg.trace.received(Packet{Name: "SUBACK"})
	return nil
}

// close sends DISCONNECT if the connection is up, and ends Paho's goroutines.
func (l *link) close() {
	force := time.AfterFunc(closeTimeout, func() { l.conn.abort(net.ErrClosed) })
	if !l.isLost() {
		l.cfg.trace.sent(Packet{Name: "DISCONNECT"})
	}
	l.client.Disconnect(uint(2 * closeTimeout / time.Millisecond))
	force.Stop()
	l.end(net.ErrClosed)
}

func hostPort(host string, port int) string {
	if port == 0 {
		port = defaultPort
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// defaultPort is MQTT over TLS.
const defaultPort = 8883
