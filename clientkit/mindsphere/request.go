package mindsphere

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	wire "github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// ErrNoAnswer is returned when MindSphere leaves a request without an answer for a minute.
var ErrNoAnswer = errors.New("mindsphere: no answer")

// maxAnswers is how many answers to one request may wait.
const maxAnswers = 64

// ask is a request under way.
type ask struct {
	channel wire.Channel // of the answers
	answers chan envelope
}

// envelope is the form of all answers ("Creating V4 Data Model", "Acquiring an Agent Access Token").
type envelope struct {
	ID            string          `json:"id"`
	CorrelationID string          `json:"correlationId"`
	RequestID     string          `json:"requestId"`
	Data          json.RawMessage `json:"data"`
}

// request is what the agent asks.
type request struct {
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

func randomID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

// uuid is a random UUID (RFC 9562 section 5.4).
func uuid() string {
	b := make([]byte, 16)
	rand.Read(b)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	t := hex.EncodeToString(b)
	return t[:8] + "-" + t[8:12] + "-" + t[12:16] + "-" + t[16:20] + "-" + t[20:]
}

// ask sends data to out and hands the answers on in to take, until that says that it is done.
func (a *Agent) ask(ctx context.Context, out, in wire.Channel, data any, take func(json.RawMessage) (done bool, err error)) error {
	if err := a.way.listen(ctx, in); err != nil {
		return err
	}
	id := a.ids()
	q := &ask{channel: in, answers: make(chan envelope, maxAnswers)}
	a.mu.Lock()
	a.asks[id] = q
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.asks, id)
		a.mu.Unlock()
	}()
	if err := a.send(ctx, out, request{id, data}); err != nil {
		return err
	}
	for {
		late := a.cfg.Timing.After(answerTimeout)
		select {
		case e := <-q.answers:
			if done, err := take(e.Data); done || err != nil {
				return err
			}
		case <-late:
			return fmt.Errorf("%w to %s on %s within %s", ErrNoAnswer, out, in, answerTimeout)
		case <-ctx.Done():
			return fmt.Errorf("mindsphere: waiting for the answer to %s: %w", out, ctx.Err())
		case <-a.way.done():
			return a.way.err()
		}
	}
}

// answered hands an answer to its request. One that names no request belongs to the only request that waits on
// its channel: no source shows the answers of asset modeler v3 whole.
func (a *Agent) answered(ch wire.Channel, body []byte) {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		a.cfg.Log.Warn("answer cannot be read", "device", a.cfg.clientID(), "channel", ch.String(), "cause", err)
		return
	}
	a.mu.Lock()
	q := a.asks[e.RequestID]
	if e.RequestID == "" {
		q = a.onlyAsk(ch)
	}
	a.mu.Unlock()
	if q == nil {
		a.cfg.Log.Debug("answer that nobody waits for", "device", a.cfg.clientID(), "channel", ch.String())
		return
	}
	select {
	case q.answers <- e:
	default:
		a.cfg.Log.Warn("more answers than are taken", "device", a.cfg.clientID(), "channel", ch.String())
	}
}

// onlyAsk returns the request that waits on ch if it is the only one. The caller holds mu.
func (a *Agent) onlyAsk(ch wire.Channel) *ask {
	var only *ask
	for _, q := range a.asks {
		if q.channel != ch {
			continue
		}
		if only != nil {
			return nil
		}
		only = q
	}
	return only
}
