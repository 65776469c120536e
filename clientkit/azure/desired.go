package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/clientkit/internal/session"
)

// DesiredChange is news of the desired properties.
type DesiredChange struct {
	// Properties is a JSON object as the hub sent it, with its "$version": all desired properties where
	// Complete is set, else a patch, in which a null removes its key.
	Properties json.RawMessage
	Version    int64
	Complete   bool
}

// change waits for the OnDesired handler.
type change struct {
	link *session.Link
	sync bool // read the whole document
	body []byte
	// version is that of body.
	version int64
}

// OnDesired subscribes to changes of the desired properties and has handle called with each, one after the
// other. The first call has all properties; so has one after a connection during whose absence they have
// changed, as the hub does not repeat what was missed. ctx of handle ends with Close, which waits for
// handle; handle must not call Close.
//
// It returns once the hub has granted the subscription, which the kit renews on every connection. Errors:
// those of Send, a refused subscription, or that a handler is set already.
func (h *Hub) OnDesired(ctx context.Context, handle func(context.Context, DesiredChange)) error {
	if handle == nil {
		return fmt.Errorf("azure: desired properties: %w", errNoHandler)
	}
	h.in.mu.Lock()
	taken := h.in.desired
	h.in.desired = true
	h.in.mu.Unlock()
	err := errTaken
	if !taken {
		if err = h.session.Want(ctx, desiredTopic+"#"); err != nil || !h.session.Spawn(func() { h.takeChanges(handle) }) {
			if err == nil {
				err = ErrClosed
			}
			h.in.mu.Lock()
			h.in.desired = false
			h.in.mu.Unlock()
		}
	}
	if err != nil {
		return fmt.Errorf("azure: desired properties: %w", err)
	}
	if l := h.session.Current(); l != nil { // otherwise the next connection does it
		h.push(change{link: l, sync: true})
	}
	return nil
}

// desiredChanged takes $iothub/twin/PATCH/properties/desired/?$version={version}.
func (h *Hub) desiredChanged(a session.Arrival) {
	version, err := strconv.ParseInt(query(strings.TrimPrefix(a.Topic, desiredTopic), "$version"), 10, 64)
	if err != nil {
		h.cfg.Log.Warn("not a change of desired properties", "device", h.cfg.clientID(), "topic", a.Topic)
		return
	}
	h.in.mu.Lock()
	wanted := h.in.desired
	h.in.mu.Unlock()
	if wanted {
		h.push(change{link: a.Link, body: a.Payload, version: version})
	}
}

func (h *Hub) push(c change) {
	select {
	case h.in.changes <- c:
	default:
		h.in.missed.Store(true)
	}
}

// takeChanges hands over changes until the hub ends. It knows the version that the handler has: what is
// not newer is dropped, and where one is missing all properties are read.
func (h *Hub) takeChanges(handle func(context.Context, DesiredChange)) {
	var have int64
	for {
		var c change
		select {
		case <-h.session.Context().Done():
			return
		case c = <-h.in.changes:
		}
		missed := len(h.in.changes) == 0 && h.in.missed.Swap(false)
		switch {
		case c.sync || missed || c.version > have+1:
			if t, ok := h.syncDesired(c.link); ok && t.DesiredVersion != have {
				have = t.DesiredVersion
				handle(h.session.Context(), DesiredChange{Properties: t.Desired, Version: have, Complete: true})
			}
		case c.version == have+1:
			have = c.version
			handle(h.session.Context(), DesiredChange{Properties: c.body, Version: have})
		}
	}
}

// syncDesired reads the twin over l, again and again while l lives.
func (h *Hub) syncDesired(l *session.Link) (Twin, bool) {
	for attempt := 1; ; attempt++ {
		if !h.session.Hold(l) {
			return Twin{}, false
		}
		a, err := h.askOn(h.session.Context(), l, "$iothub/twin/GET/?$rid=", nil)
		l.Release()
		if err == nil && a.status != 200 {
			err = twinRefused(a)
		}
		if err == nil {
			t, bad := parseTwin(a.body)
			if bad == nil {
				return t, true
			}
			err = bad
		}
		if errors.Is(err, session.ErrLost) || h.session.Context().Err() != nil {
			return Twin{}, false
		}
		h.cfg.Log.Warn("desired properties not read", "device", h.cfg.clientID(), "cause", err)
		if !h.session.WaitOr(l, h.cfg.Timing.Backoff(attempt)) {
			return Twin{}, false
		}
	}
}
