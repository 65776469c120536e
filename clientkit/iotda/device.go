package iotda

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/clientkit/internal/session"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// Limits of what waits for a handler.
const (
	maxCalls    = 100 // commands and requests for properties that run at the same time
	maxMessages = 64
	maxEvents   = 64
)

// Device is a device's connection to IoTDA. It reconnects by itself; its methods may be called from several
// goroutines.
type Device struct {
	cfg     Config
	session *session.Session
	ids     func() string

	mu       sync.Mutex
	command  CommandHandler
	set      SetHandler
	get      GetHandler
	message  bool
	handlers map[string]eventHandler // by service id
	early    []Event                 // of services that have no handler yet
	shadows  map[string]chan []byte  // requests under way, by request id
	asks     map[string]*ask         // events that wait for their answer, by event id
	topics   map[string]topicHandler // by filter

	calls    chan struct{} // one slot per running call
	messages chan Message
	events   chan func()
	pumping  bool // the events goroutine runs
}

// Dial connects the device. It returns once the platform has accepted it. What may pass (no network, CONNACK 3,
// a closed socket) is retried with growing, jittered delays until ctx ends; a refusal (*ConnectError,
// *CertificateError) and a server that cannot be trusted (*tls.CertificateVerificationError) are returned at
// once. ctx bounds this call only; the connection lives until Close.
func Dial(ctx context.Context, cfg Config) (*Device, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Device{
		command: cfg.OnCommand, set: cfg.OnSet, get: cfg.OnGet,
		cfg: cfg, ids: randomID, handlers: map[string]eventHandler{}, shadows: map[string]chan []byte{}, asks: map[string]*ask{},
		topics: map[string]topicHandler{}, calls: make(chan struct{}, maxCalls), messages: make(chan Message, maxMessages),
		events: make(chan func(), maxEvents),
	}
	d.session = session.New(cfg.session(d.dispatch))
	if err := d.session.Dial(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// ID returns the device id.
func (d *Device) ID() string { return d.cfg.DeviceID }

// Done is closed when the device is closed, by Close or by a refusal; Err tells which.
func (d *Device) Done() <-chan struct{} { return d.session.Done() }

// Err returns nil while the device is in use, ErrClosed after Close, and an error wrapping ErrClosed and the
// *ConnectError when a reconnect was refused.
func (d *Device) Err() error { return d.session.Err() }

// Close waits for the acknowledgement of messages under way, ten seconds at most, sends DISCONNECT and returns
// when nothing of the device runs any more, handlers included. When ctx ends first it cuts the connection and
// returns ctx's error. Closing twice is allowed.
func (d *Device) Close(ctx context.Context) error { return d.session.Close(ctx) }

// errTaken is returned where only one handler can be, errNilHandler where there is none.
var (
	errTaken      = errors.New("iotda: a handler is set already")
	errNilHandler = errors.New("iotda: the handler is nil")
)

// own is one of the device's topics.
func (d *Device) own(kind wire.Kind) wire.Topic {
	return wire.Topic{Kind: kind, DeviceID: d.cfg.DeviceID}
}

// publish sends a message with QoS 1 and returns after its PUBACK.
func (d *Device) publish(ctx context.Context, topic string, body []byte) error {
	if len(body) > MaxMessage {
		return fmt.Errorf("%w: %d bytes, IoTDA takes %d", ErrTooLarge, len(body), MaxMessage)
	}
	return d.session.Publish(ctx, topic, body)
}

// report sends a report, compressed where that is wanted.
func (d *Device) report(ctx context.Context, kind wire.Kind, body []byte) error {
	topic := d.own(kind)
	if d.cfg.Gzip {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write(body) // to memory
		_ = w.Close()
		topic.Gzip, body = true, packed.Bytes()
	}
	return d.publish(ctx, topic.Format(), body)
}

// dispatch runs on Paho's goroutine and never blocks.
func (d *Device) dispatch(in session.Arrival) {
	t, err := wire.ParseTopic(in.Topic)
	if err != nil || (t.Kind.IsSystem() && t.DeviceID != d.cfg.DeviceID) {
		d.cfg.Log.Debug("message not taken", "device", d.cfg.DeviceID, "topic", in.Topic)
		in.Ack()
		return
	}
	switch t.Kind {
	case wire.MessagesDown:
		d.messageArrived(in)
	case wire.Command:
		in.Ack()
		d.call(in.Link, wire.CommandAnswer, t.RequestID, func(ctx context.Context) any { return d.runCommand(ctx, in.Payload) })
	case wire.Set:
		in.Ack()
		d.call(in.Link, wire.SetResponse, t.RequestID, func(ctx context.Context) any { return d.runSet(ctx, in.Payload) })
	case wire.Get:
		in.Ack()
		d.call(in.Link, wire.GetResponse, t.RequestID, func(ctx context.Context) any { return d.runGet(ctx, in.Payload) })
	case wire.ShadowResponse:
		in.Ack()
		d.shadowArrived(t.RequestID, in.Payload)
	case wire.EventsDown:
		in.Ack()
		d.eventsArrived(in.Payload)
	default:
		d.topicArrived(in)
	}
}

// call runs what the application waits for, and answers it.
func (d *Device) call(l *session.Link, answer wire.Kind, requestID string, run func(context.Context) any) {
	select {
	case d.calls <- struct{}{}:
	default:
		d.cfg.Log.Warn("too many calls run, this one is not answered", "device", d.cfg.DeviceID, "request", requestID)
		return
	}
	running := func() {
		defer func() { <-d.calls }()
		d.runCall(l, answer, requestID, run)
	}
	if !d.session.Spawn(running) {
		<-d.calls
	}
}

func (d *Device) runCall(l *session.Link, answer wire.Kind, requestID string, run func(context.Context) any) {
	if !d.session.Hold(l) {
		return
	}
	body := wire.Encode(run(d.session.Context()))
	topic := d.own(answer)
	topic.RequestID = requestID
	ctx, cancel := context.WithTimeout(d.session.Hard(), answerTimeout)
	defer cancel()
	err := l.Publish(ctx, topic.Format(), body)
	l.Release()
	if errors.Is(err, session.ErrLost) { // the application waits for the device, not for the connection
		if l, err = d.session.Acquire(d.session.Context()); err == nil {
			err = l.Publish(ctx, topic.Format(), body)
			l.Release()
		}
	}
	if err != nil {
		d.cfg.Log.Warn("call not answered", "device", d.cfg.DeviceID, "topic", topic.Format(), "cause", err)
	}
}

// stamp returns the form of event_time with milliseconds; the zero time is now.
func (d *Device) stamp(t time.Time) string {
	if t.IsZero() {
		t = d.cfg.Timing.Now()
	}
	return t.UTC().Format(wire.MillisLayout)
}
