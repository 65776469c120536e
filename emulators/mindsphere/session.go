package mindsphere

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// MaxPayload is the largest message of an agent in bytes ("MindConnect Async API": 128 KB).
const MaxPayload = 128 << 10

// Message is one application message, whatever carries it.
type Message struct {
	Channel mindsphere.Channel
	Payload []byte // may be kept, must not be changed
	// Shown is what the journal may show for Payload, nil where that is no secret.
	Shown []byte
}

// Delivery is what became of a message to an agent.
type Delivery byte

// The fates of a message.
const (
	Lost      Delivery = iota // the agent is away, or has not subscribed
	Waiting                   // kept for the agent's next connection
	Delivered                 // on its way
)

// Carrier takes messages to the agents of a region. Deliver must not block.
type Carrier interface {
	Deliver(to Identity, m Message) Delivery
}

// Carry makes c the carrier of a region's messages.
func (s *Service) Carry(r Region, c Carrier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.carriers[r] = c
}

// Deliver sends a message to an agent. It returns ErrNotFound for an unknown or unprovisioned agent.
func (s *Service) Deliver(clientID string, m Message) (Delivery, error) {
	a, ok := s.agents.Get(clientID)
	t, known := s.Tenant(a.Tenant)
	if !ok || !known || a.Status != Ready {
		return Lost, fmt.Errorf("agent %q: %w", clip(clientID), ErrNotFound)
	}
	s.mu.Lock()
	c := s.carriers[t.Region]
	s.mu.Unlock()
	if c == nil {
		return Lost, nil
	}
	return c.Deliver(Identity{Tenant: t.Name, Region: t.Region, ClientID: clientID, AgentID: a.AgentID}, m), nil
}

// Downlink is what the core needs of a live connection.
type Downlink interface {
	// Close ends the connection without a word to the client. It must not block, and closing twice is no error.
	Close(cause error)
}

// Origin says where a connection comes from, for the journal.
type Origin struct {
	Conn    uint64
	Address string
}

// Session is one live connection of an agent. Its methods may be called concurrently.
type Session struct {
	svc    *Service
	id     Identity
	origin Origin
	down   Downlink
	ended  atomic.Bool
}

// Causes of an end from our side.
var (
	errDeleted      = errors.New("the agent was deleted")
	errDisconnected = errors.New("disconnected by the tester")
)

// Open makes a connection of id the live one. An agent that has gone since Authenticate is closed at once.
// The caller calls Close when the connection has ended, whoever ended it.
func (s *Service) Open(id Identity, o Origin, d Downlink) *Session {
	c := &Session{svc: s, id: id, origin: o, down: d}
	s.mu.Lock()
	s.live[id.ClientID] = c
	s.mu.Unlock()
	if a, ok := s.agents.Get(id.ClientID); !ok || a.AgentID != id.AgentID {
		c.cut(errDeleted)
	}
	s.log.Info("connected", "endpoint", id.Tenant, "device", id.ClientID, "conn", o.Conn)
	return c
}

// Close tells that the connection has ended. Further calls do nothing.
func (c *Session) Close() {
	c.ended.Store(true)
	c.svc.mu.Lock()
	defer c.svc.mu.Unlock()
	if c.svc.live[c.id.ClientID] == c {
		delete(c.svc.live, c.id.ClientID)
	}
}

func (c *Session) cut(cause error) {
	c.ended.Store(true)
	c.down.Close(cause)
}

// Ended reports whether the connection was closed or cut.
func (c *Session) Ended() bool { return c.ended.Load() }

// Event returns the journal event that all of the session's events start from.
func (c *Session) Event(k journal.Kind) journal.Event {
	return journal.Event{Platform: Platform, Endpoint: c.id.Tenant, Conn: c.origin.Conn, Address: c.origin.Address,
		Device: c.id.ClientID, Kind: k, Dir: journal.In}
}

// Outcome is what an agent's message led to.
type Outcome struct {
	// Refusal says why nothing, or not all, was done; the agent learns of it only where Close is set, or by
	// an answer.
	Refusal *rule.Refusal
	// Close is whether the connection ends over it.
	Close bool
	// Answers go to the agent after its message was acknowledged, in order.
	Answers []Message
}

// Publish takes a message of the agent on one of the outbound channels.
func (c *Session) Publish(_ context.Context, ch mindsphere.Channel, payload []byte) Outcome {
	return c.svc.receive(sender{c.id, c.Event("")}, ch, payload)
}

// cut closes the live connection of an agent and reports whether there was one.
func (s *Service) cut(clientID string, cause error) bool {
	s.mu.Lock()
	c := s.live[clientID]
	s.mu.Unlock()
	if c == nil {
		return false
	}
	c.cut(cause)
	return true
}

// Disconnect closes the connection of an agent, as a network failure would, and reports whether it had one.
func (s *Service) Disconnect(clientID string) bool { return s.cut(clientID, errDisconnected) }

// Connection returns the connection number of an agent's live connection.
func (s *Service) Connection(clientID string) (conn uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.live[clientID]
	if c == nil || c.Ended() {
		return 0, false
	}
	return c.origin.Conn, true
}

// Reset closes every connection; the store is emptied by its owner.
func (s *Service) Reset(cause error) {
	s.mu.Lock()
	sessions := make([]*Session, 0, len(s.live))
	for _, c := range s.live {
		sessions = append(sessions, c)
	}
	s.mu.Unlock()
	for _, c := range sessions {
		c.cut(cause)
	}
}
