package fakecloud

import (
	"context"
	"encoding/json"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// TB is the part of testing.TB that Start needs; the library never imports testing.
type TB interface {
	Helper()
	Name() string
	Context() context.Context
	Cleanup(func())
	Failed() bool
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// transcriptLength is how many of the last events a failed test prints.
const transcriptLength = 60

// Start runs an instance for one test: free loopback ports, a fresh CA, nothing on disk, cheap ECDSA
// server keys. It closes with the test and prints the last events when the test has failed.
func Start(t TB, options ...Option) *Cloud {
	t.Helper()
	c, err := New(t.Context(), append([]Option{WithServerKey("ecdsa")}, options...)...)
	if err != nil {
		t.Fatalf("fakecloud: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("fakecloud transcript of %s:\n%s", t.Name(), c.transcript())
		}
		if err := c.Close(); err != nil {
			t.Logf("fakecloud: close: %v", err)
		}
	})
	return c
}

func (c *Cloud) transcript() string {
	var text []byte
	last := c.journal.Last()
	for _, e := range c.Events(Filter{Since: last - min(last, transcriptLength)}) {
		line, err := json.Marshal(e)
		if err != nil {
			return err.Error()
		}
		text = append(append(text, line...), '\n')
	}
	return string(text)
}

// Event is one step in the journal.
type Event = journal.Event

// Filter chooses events; empty fields match everything.
type Filter = journal.Filter

// Events returns the journal's events that match f, oldest first.
func (c *Cloud) Events(f Filter) []Event {
	events, _ := c.journal.Select(f)
	return events
}

// Await returns as soon as count events match f. When ctx ends first it returns those that have matched
// so far and ctx's error.
func (c *Cloud) Await(ctx context.Context, f Filter, count int) ([]Event, error) {
	events, _, err := c.journal.Wait(ctx, f, count)
	return events, err
}
