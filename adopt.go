package fakecloud

import (
	"context"
	"errors"
	"fmt"

	"github.com/fakecloud/fakecloud/internal/adopt"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/world"
)

// Adoption is what Adopt has added to the world, and for whom.
type Adoption = plane.Adoption

// Adopt makes the world accept the last refused client: its hub, its ID scope, its CA, its thumbprint.
// device (globs allowed) and address (with or without port) choose whose last refusal is meant; both may
// be empty. It is an error that no such client was refused, or that it cannot be adopted: it is wrong
// itself, or signs with a key that nobody has seen. Nothing is changed then.
func (c *Cloud) Adopt(ctx context.Context, device, address string) (Adoption, error) {
	events := c.Events(Filter{Kind: journal.Refused, Device: device, Address: address})
	var err error
	for i := len(events) - 1; i >= 0 && err == nil; i-- {
		var a Adoption
		var seen bool
		if a, seen, err = c.adopt(ctx, &events[i]); seen {
			return a, err
		}
	}
	return Adoption{}, errors.Join(err, plane.ErrNoAttempt)
}

// adopt lets the client of one refusal in; seen is false where what it said is no longer known.
func (c *Cloud) adopt(ctx context.Context, e *Event) (a Adoption, seen bool, err error) {
	hello, ok := c.door.HelloOf(e.Conn)
	if !ok {
		return a, false, nil
	}
	attempt := adopt.Attempt{Rule: e.Rule, Platform: e.Platform, Endpoint: e.Endpoint, ClientID: hello.ClientID,
		Username: hello.Username, Certificates: hello.Certificates}
	w, err := c.gen().exportWorld()
	if err != nil {
		return a, true, err
	}
	change, err := adopt.Plan(w, attempt)
	if err != nil {
		return a, true, fmt.Errorf("%w: %s at %s: %w", plane.ErrNotAdopted, orUnnamed(e.Device), e.Address, err)
	}
	document := world.Format(change)
	if err := (worldControl{c}).Patch(ctx, document); err != nil {
		return a, true, fmt.Errorf("%w: %w", plane.ErrNotAdopted, err)
	}
	return Adoption{Device: e.Device, Address: e.Address, Rule: e.Rule, Event: e.Seq, Added: string(document)}, true, nil
}

func orUnnamed(device string) string {
	if device == "" {
		return "a client"
	}
	return device
}
