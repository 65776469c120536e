package azure

import (
	"bytes"
	"context"
	"errors"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/internal/session"
)

// State is the state of a hub connection.
type State = clientkit.State

// The states. Disconnected is passing: the kit tries again after a delay. Closed is the end.
const (
	Connecting   = clientkit.Connecting
	Connected    = clientkit.Connected
	Disconnected = clientkit.Disconnected
	Closed       = clientkit.Closed
)

// Hub is a device's connection to IoT Hub. It reconnects by itself; its methods may be called from
// several goroutines.
type Hub struct {
	cfg     HubConfig
	session *session.Session
	in      inbound
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
	h := &Hub{cfg: cfg, in: newInbound()}
	h.session = session.New(h.cfg.session(h.dispatch, h.linked))
	if err := h.session.Dial(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// refused is what ends a hub that was connected before. An untrusted server is not: a device that moves
// may stand behind a captive portal for a while.
func refused(err error) bool {
	var e *ConnectError
	return errors.As(err, &e) && e.Final()
}

// Send publishes one message with QoS 1 and returns once the hub has acknowledged it. While there is no
// connection it waits for one; when the connection is lost before the acknowledgement, or cut because that did
// not come within Timing.Acknowledge, the message is sent again on the next, so the hub may see it twice.
// Concurrent calls may change places then.
//
// Errors: ErrTooLarge before anything was sent; ErrClosed, also wrapping the *ConnectError of a hub that
// refused a reconnect; the end of ctx, after which the message may still have arrived; or that the
// connection was lost five times under this message, wrapping the last cause, e.g. *clientkit.AckError.
func (h *Hub) Send(ctx context.Context, m Message) error {
	topic, err := h.cfg.topicOf(m)
	if err != nil {
		return err
	}
	body := bytes.Clone(m.Body) // may still be read after ctx has ended
	return h.session.Publish(ctx, topic, body)
}

// Done is closed when the hub is closed, by Close or by a refusal; Err tells which.
func (h *Hub) Done() <-chan struct{} { return h.session.Done() }

// Err returns nil while the hub is in use, ErrClosed after Close, and an error wrapping ErrClosed and the
// *ConnectError when a reconnect was refused.
func (h *Hub) Err() error { return h.session.Err() }

// Close waits for the acknowledgement of messages under way, ten seconds at most, sends DISCONNECT and
// returns when nothing of the hub runs any more, handlers included. When ctx ends first it cuts the connection and returns
// ctx's error; the Sends under way report that they were not acknowledged. Closing twice is allowed.
func (h *Hub) Close(ctx context.Context) error { return h.session.Close(ctx) }
