package clientkit

import (
	"context"
	"math/rand/v2"
	"time"
)

// Timing is where the kit takes time and chance from. The zero value is the real clock and a random
// jitter; tests put in their own.
type Timing struct {
	// Now is the clock that dates tokens, stamps and messages.
	Now func() time.Time
	// After delivers once after d, as time.After does. It paces back-off, retry-after and token renewal, and limits
	// the wait for acknowledgements and answers.
	After func(d time.Duration) <-chan time.Time
	// Jitter returns a number in [0, 1).
	Jitter func() float64
	// Acknowledge is how long a PUBLISH or SUBSCRIBE may be without its acknowledgement, from when it
	// begins to leave; then the connection is cut (*AckError) and the packet sent again on the next one. Default
	// DefaultAcknowledge; on a line so slow that a large message needs more, set more.
	Acknowledge time.Duration
}

// DefaultAcknowledge is as long as the kits wait for a CONNACK or an answer: no cloud takes that long, and who limits
// a call to a minute sees the message sent again within it.
const DefaultAcknowledge = 30 * time.Second

// WithDefaults returns t with what is missing filled in.
func (t Timing) WithDefaults() Timing {
	if t.Now == nil {
		t.Now = time.Now
	}
	if t.After == nil {
		t.After = time.After
	}
	if t.Jitter == nil {
		t.Jitter = rand.Float64
	}
	if t.Acknowledge <= 0 {
		t.Acknowledge = DefaultAcknowledge
	}
	return t
}

// Wait returns nil after d, or the context's end.
func (t Timing) Wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.After(d):
		return nil
	}
}

// Pauses between attempts: 1 s, doubled each time, 1 minute at most, of which the upper half is left
// to chance so that a fleet does not come back in step.
const (
	backoffBase = time.Second
	backoffMax  = time.Minute
)

// Backoff returns the delay before the nth retry, counted from 1.
func (t Timing) Backoff(n int) time.Duration {
	d := backoffMax
	if n < 7 { // 1 s << 6 is beyond the maximum
		d = min(backoffBase<<max(n-1, 0), backoffMax)
	}
	return d/2 + time.Duration(t.Jitter()*float64(d/2))
}
