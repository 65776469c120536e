package mindsphere

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	own    = "tc/camexia/camexia_pump-7/"
	answer = `","correlationId":"01GWK7X4NKHJ0H0VWHHSRMPJ6H","id":"01GWK7X4NKHJ0H0VWHHSRMPJ6J","data":`
)

// eu1 is agent pump-7 of tenant camexia at c.
func eu1(c *kittest.Cloud) Config {
	cert, _ := kittest.SelfSigned(c.TB, "pump-7")
	return Config{
		Region: EU1, Tenant: "camexia", Certificate: cert, TLS: c.TLS(), Dial: c.Dial,
		Timing: Timing{Jitter: func() float64 { return 0 }},
	}
}

type dialled struct {
	agent *Agent
	err   error
}

func dialling(t *testing.T, cfg Config) <-chan dialled {
	done := make(chan dialled, 1)
	go func() {
		a, err := Dial(t.Context(), cfg)
		done <- dialled{a, err}
	}()
	return done
}

// up connects an agent of eu1 whose ids are id1, id1, …
func up(t *testing.T) (*Agent, *kittest.Peer, *kittest.Cloud) {
	t.Helper()
	c := kittest.NewCloud(t, DefaultHostEU1)
	cfg := eu1(c)
	done := dialling(t, cfg)
	p, _ := c.Accept(kittest.Accepted)
	got := <-done
	require.NoError(t, got.err)
	got.agent.ids = func() string { return "id1" }
	t.Cleanup(func() { _ = got.agent.Close(context.Background()) })
	return got.agent, p, c
}

// running runs f beside the test.
func running(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// inform sends a message to the agent with QoS 1 and takes its PUBACK.
func inform(p *kittest.Peer, channel, body string) {
	p.TB.Helper()
	p.Send(kittest.Publish("\x32", own+"i/"+channel, "\x00\x07", body))
	p.Expect("\x40\x02\x00\x07")
}

// states notes the states that a device goes through.
type states struct {
	mu   sync.Mutex
	seen []string
}

func (s *states) note(state State, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, state.String())
}

func (s *states) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.seen, " ")
}

func second(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
