package mindsphere

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// Agent is a MindConnect MQTT agent. It reconnects by itself; its methods may be called from several
// goroutines.
type Agent struct {
	cfg  Config
	way  transport
	ids  func() string
	mu   sync.Mutex
	asks map[string]*ask // requests under way, by id

	commands chan inboundCommand
	handling bool
}

// transport carries channels over one region's topics.
type transport interface {
	dial(ctx context.Context) error
	// publish returns once the message is acknowledged.
	publish(ctx context.Context, ch wire.Channel, body []byte) error
	// listen returns once messages of the channel come in.
	listen(ctx context.Context, ch wire.Channel) error
	// spawn runs f beside the connection, which ends after it.
	spawn(f func()) bool
	context() context.Context // ends when Close begins
	done() <-chan struct{}
	err() error
	close(ctx context.Context) error
}

// Dial onboards the agent and connects it. It returns once the agent may speak to MindSphere.
//
// What may pass (no network, CONNACK 3, in eu1 a connection closed without a word) is retried with growing,
// jittered delays until ctx ends. Errors: *DroppedError when eu1 has closed connections for longer than
// Onboarding, *CertificateError, *ConnectError, in eu2 those of azure.Provision and azure.Dial,
// *tls.CertificateVerificationError for a server that cannot be trusted, the end of ctx with the last
// failure. ctx bounds this call only; the connection lives until Close.
func Dial(ctx context.Context, cfg Config) (*Agent, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, ids: randomID, asks: map[string]*ask{}, commands: make(chan inboundCommand, maxCommands)}
	if cfg.Region == EU2 {
		a.way = &hubTransport{cfg: cfg, arrived: a.arrived}
	} else {
		a.way = newTopicTransport(cfg, a.arrived)
	}
	if err := a.way.dial(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// ClientID returns the agent's client id: {tenant}_{device}.
func (a *Agent) ClientID() string { return a.cfg.clientID() }

// Done is closed when the agent is closed, by Close or by a refusal; Err tells which.
func (a *Agent) Done() <-chan struct{} { return a.way.done() }

// Err returns nil while the agent is in use, ErrClosed after Close, and an error wrapping ErrClosed and the
// refusal when a reconnect was refused.
func (a *Agent) Err() error { return a.way.err() }

// Close waits for the acknowledgement of messages under way, ten seconds at most, sends DISCONNECT and returns
// when nothing of the agent runs any more, handlers included. When ctx ends first it cuts the connection and
// returns ctx's error. Closing twice is allowed.
func (a *Agent) Close(ctx context.Context) error { return a.way.close(ctx) }

// send publishes v as JSON.
func (a *Agent) send(ctx context.Context, ch wire.Channel, v any) error {
	body, err := json.Marshal(v)
	switch {
	case err != nil:
		return fmt.Errorf("mindsphere: %s: %w", ch, err)
	case len(body) > MaxPayload:
		return fmt.Errorf("%w: %d bytes for %s, MindSphere takes %d", ErrTooLarge, len(body), ch, MaxPayload)
	}
	return a.way.publish(ctx, ch, body)
}

// arrived takes a message on a channel; it never blocks. ack is called when it is done with.
func (a *Agent) arrived(ch wire.Channel, body []byte, ack func()) {
	if ch == wire.Command {
		a.commandArrived(body, ack)
		return
	}
	ack()
	a.answered(ch, body)
}
