package mindsphere

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/fakecloud/fakecloud/clientkit/azure"
	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// hubTransport is region eu2: DPS, and an IoT Hub whose messages name the channel in one property.
type hubTransport struct {
	cfg     Config
	hub     *azure.Hub
	arrived func(wire.Channel, []byte, func())

	asking    sync.Mutex // held while subscribing
	listening bool

	mu      sync.Mutex // guards the start of running against close
	running sync.WaitGroup
	ctx     context.Context
	stop    context.CancelFunc
}

var _ transport = (*hubTransport)(nil)

func (t *hubTransport) dial(ctx context.Context) error {
	c := t.cfg
	credential := azure.X509(c.Certificate)
	host := c.Hub
	if host == "" {
		assignment, err := azure.Provision(ctx, azure.ProvisionConfig{
			Host: c.Host, Port: c.Port, IDScope: c.IDScope, RegistrationID: c.clientID(), Credential: credential,
			TLS: c.TLS, Dial: c.Dial, Timing: c.Timing, Trace: c.Trace, Log: c.Log,
		})
		if err != nil {
			return err
		}
		host = assignment.Hub
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	var err error
	t.hub, err = azure.Dial(ctx, azure.HubConfig{
		Host: host, Port: c.Port, DeviceID: c.clientID(), Credential: credential, APIVersion: hubAPIVersion,
		KeepAlive: c.KeepAlive, CleanSession: c.CleanSession, TLS: c.TLS, Dial: c.Dial, Timing: c.Timing,
		OnState: c.OnState, Trace: c.Trace, Log: c.Log,
	})
	if err != nil {
		t.stop()
	}
	return err
}

func (t *hubTransport) publish(ctx context.Context, ch wire.Channel, body []byte) error {
	name, value := ch.Property()
	return closedHub(t.hub.Send(ctx, azure.Message{Body: body, Properties: map[string]string{name: value}}))
}

// listen subscribes to the one topic of all answers.
func (t *hubTransport) listen(ctx context.Context, ch wire.Channel) error {
	t.asking.Lock()
	defer t.asking.Unlock()
	if t.listening {
		return nil
	}
	if err := t.hub.OnMessage(ctx, t.received); err != nil {
		return fmt.Errorf("mindsphere: %s: %w", ch, closedHub(err))
	}
	t.listening = true
	return nil
}

// received takes a message, which has left the hub's queue when it returns.
func (t *hubTransport) received(_ context.Context, m azure.Received) {
	for _, ch := range wire.Channels(wire.Inbound) {
		if name, value := ch.Property(); m.Properties[name] == value {
			t.arrived(ch, m.Body, func() {})
			return
		}
	}
	// No source says which property names the channel of an answer. A command has a job id; all others
	// name their request.
	var form struct {
		Data struct {
			JobID string `json:"jobId"`
		} `json:"data"`
	}
	ch := wire.Channel{}
	if json.Unmarshal(m.Body, &form) == nil && form.Data.JobID != "" {
		ch = wire.Command
	}
	t.arrived(ch, m.Body, func() {})
}

// spawn runs f until close, which waits for it.
func (t *hubTransport) spawn(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil || t.hub.Err() != nil {
		return false
	}
	t.running.Go(f)
	return true
}

func (t *hubTransport) context() context.Context { return t.ctx }
func (t *hubTransport) done() <-chan struct{}    { return t.hub.Done() }
func (t *hubTransport) err() error               { return closedHub(t.hub.Err()) }

func (t *hubTransport) close(ctx context.Context) error {
	t.mu.Lock()
	t.stop()
	t.mu.Unlock()
	err := t.hub.Close(ctx)
	t.running.Wait()
	return err
}
