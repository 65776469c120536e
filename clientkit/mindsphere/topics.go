package mindsphere

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fakecloud/fakecloud/clientkit/internal/session"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// topicTransport is region eu1 and private clouds: topics tc/{tenant}/{clientId}/{i|o}/{application}/{topic}.
type topicTransport struct {
	cfg     Config
	session *session.Session
	arrived func(wire.Channel, []byte, func())

	onboarded atomic.Bool
	drops     int       // while onboarding
	since     time.Time // when Dial began
}

var _ transport = (*topicTransport)(nil)

func newTopicTransport(cfg Config, arrived func(wire.Channel, []byte, func())) *topicTransport {
	t := &topicTransport{cfg: cfg, arrived: arrived}
	port := cfg.Port
	if port == 0 {
		port = session.DefaultMQTTS
	}
	sc := session.Config{
		Prefix: "mindsphere", Name: cfg.Host, Device: cfg.clientID(), Closed: ErrClosed,
		Address: net.JoinHostPort(cfg.Host, strconv.Itoa(port)), TLS: cfg.tlsConfig(), Dial: cfg.Dial,
		Login: cfg.login, Clean: cfg.CleanSession, KeepAlive: cfg.KeepAlive, Timing: cfg.Timing,
		OnState: cfg.OnState, Trace: cfg.Trace, Log: cfg.Log,
		Refused: func(code byte) error { return &ConnectError{Host: cfg.Host, ReturnCode: code} },
		Final:   isFinal, Ended: ended, Failed: t.failed, OnPublish: t.dispatch,
	}
	if cfg.Region == PrivateCloud {
		sc.RenewAfter = func() time.Duration {
			return cfg.TokenLife*85/100 - time.Duration(cfg.Timing.Jitter()*float64(cfg.TokenLife*5/100))
		}
	}
	t.session = session.New(sc)
	return t
}

func (c Config) tlsConfig() *tls.Config {
	cfg := &tls.Config{}
	if c.TLS != nil {
		cfg = c.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = c.Host
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	if c.ALPN {
		cfg.NextProtos = []string{alpn}
	}
	if c.Region == EU1 {
		// Not Certificates: those are withheld when the server's list of accepted CAs lacks their issuer, and
		// the broker judges the certificate after the handshake.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.Certificate, nil }
	}
	return cfg
}

func (c Config) login() (session.Login, error) {
	l := session.Login{ClientID: c.clientID()}
	if c.Region != PrivateCloud {
		return l, nil
	}
	var err error
	l.Username = wire.BearerUsername
	l.Password, err = c.token()
	return l, err
}

// failed tells the drops of onboarding from other failures. It runs on Dial's goroutine, then on the session's.
func (t *topicTransport) failed(_ int, err error) error {
	if t.onboarded.Load() {
		return nil
	}
	if !dropped(err) || t.cfg.Region != EU1 {
		return nil
	}
	now := t.cfg.Timing.Now()
	if t.drops++; t.drops == 1 {
		t.cfg.Log.Info("the broker has closed the first connection: it provisions a new agent", "device", t.cfg.clientID())
	}
	if after := now.Sub(t.since); after >= t.cfg.Onboarding {
		return &DroppedError{Host: t.cfg.Host, ClientID: t.cfg.clientID(), Attempts: t.drops, After: after}
	}
	return nil
}

func (t *topicTransport) dial(ctx context.Context) error {
	t.since = t.cfg.Timing.Now()
	if err := t.session.Dial(ctx); err != nil {
		return err
	}
	t.onboarded.Store(true)
	return nil
}

func (t *topicTransport) publish(ctx context.Context, ch wire.Channel, body []byte) error {
	return t.session.Publish(ctx, wire.Branch(t.cfg.Tenant, t.cfg.clientID(), wire.Outbound)+ch.String(), body)
}

func (t *topicTransport) listen(ctx context.Context, ch wire.Channel) error {
	if err := t.session.Want(ctx, wire.Branch(t.cfg.Tenant, t.cfg.clientID(), wire.Inbound)+ch.String()); err != nil {
		return fmt.Errorf("mindsphere: %s: %w", ch, err)
	}
	return nil
}

// dispatch runs on Paho's goroutine and never blocks.
func (t *topicTransport) dispatch(in session.Arrival) {
	rest, own := strings.CutPrefix(in.Topic, wire.Branch(t.cfg.Tenant, t.cfg.clientID(), wire.Inbound))
	app, name, _ := strings.Cut(rest, "/")
	ch := wire.Channel{App: app, Name: name}
	if !own || !wire.Known(wire.Inbound, ch) {
		t.cfg.Log.Debug("message not taken", "device", t.cfg.clientID(), "topic", in.Topic)
		in.Ack()
		return
	}
	t.arrived(ch, in.Payload, in.Ack)
}

func (t *topicTransport) spawn(f func()) bool             { return t.session.Spawn(f) }
func (t *topicTransport) context() context.Context        { return t.session.Context() }
func (t *topicTransport) done() <-chan struct{}           { return t.session.Done() }
func (t *topicTransport) err() error                      { return t.session.Err() }
func (t *topicTransport) close(ctx context.Context) error { return t.session.Close(ctx) }
