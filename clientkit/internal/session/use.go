package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fakecloud/fakecloud/clientkit"
)

// Acquire returns a live link, waiting for one if need be. The caller calls Link.Release.
func (s *Session) Acquire(ctx context.Context) (*Link, error) {
	for {
		s.mu.Lock()
		l, err, changed := s.link, s.err, s.changed
		if l != nil && !l.IsLost() {
			l.users.Add(1)
			s.mu.Unlock()
			return l, nil
		}
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ctx.Done():
			if err := s.Err(); err != nil {
				return nil, err
			}
			return nil, s.cfg.Closed
		}
	}
}

// Current returns the live link, or nil.
func (s *Session) Current() *Link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

// Hold keeps l from a planned end while what came over it is handled; the caller calls Link.Release. It is
// false when the connection has ended before: the server sends again what was not acknowledged.
func (s *Session) Hold(l *Link) bool {
	for {
		s.mu.Lock()
		live, changed := s.link == l && !l.IsLost(), s.changed
		if live {
			l.users.Add(1)
		}
		over := l.retired || s.err != nil
		s.mu.Unlock()
		if live || over {
			return live
		}
		select {
		case <-changed:
		case <-l.lost:
			return false
		case <-s.ctx.Done():
			return false
		}
	}
}

// Spawn runs f beside the session, which ends after it; false when the session has ended.
func (s *Session) Spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.ctx.Err() != nil {
		return false
	}
	s.running.Go(f)
	return true
}

// Again runs do on the connection there is, and on the next ones while they are lost under it. An error to
// acquire the first connection is wrapped in sent, all others in acknowledged.
func (s *Session) Again(ctx context.Context, sent, acknowledged string, do func(*Link) error) error {
	var last error
	for range MaxResends {
		l, err := s.Acquire(ctx)
		switch {
		case err != nil && last != nil: // it may have arrived on an earlier connection
			return fmt.Errorf("%s: %s: %w; the last attempt: %w", s.cfg.Prefix, acknowledged, err, last)
		case err != nil:
			return fmt.Errorf("%s: %s: %w", s.cfg.Prefix, sent, err)
		}
		err = do(l)
		l.Release()
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, ErrLost):
			return fmt.Errorf("%s: %s: %w", s.cfg.Prefix, acknowledged, err)
		}
		last = l.Cause()
	}
	return fmt.Errorf("%s: %s: %w", s.cfg.Prefix, acknowledged, tooOften(last))
}

// tooOften is the end of what lost its connection each time; last says how.
func tooOften(last error) error {
	return fmt.Errorf("%w %d times while it was under way, the last time: %w", ErrLost, MaxResends, last)
}

// Publish sends one message with QoS 1 and returns once the server has acknowledged it. It waits for a
// connection, and sends again when the connection is lost before the acknowledgement, or cut because that did not
// come. body may still be read after ctx has ended.
func (s *Session) Publish(ctx context.Context, topic string, body []byte) error {
	return s.Again(ctx, "message not sent", "message not acknowledged", func(l *Link) error {
		return l.Publish(ctx, topic, body)
	})
}

// Ensure subscribes on l unless that was done before.
func (s *Session) Ensure(ctx context.Context, l *Link, filter string) error {
	select {
	case l.subscribing <- struct{}{}:
		defer func() { <-l.subscribing }()
	case <-l.lost:
		return ErrLost
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.subscribed[filter] {
		return nil
	}
	if err := l.Subscribe(ctx, filter); err != nil {
		return err
	}
	l.subscribed[filter] = true
	return nil
}

// Want subscribes now and on every connection to come. It returns once the server has granted it. A call that fails
// leaves what others want of the same filter.
func (s *Session) Want(ctx context.Context, filter string) (err error) {
	kept := false
	defer func() {
		if kept && err != nil {
			s.keep(filter, -1)
		}
	}()
	var last error
	for range MaxResends {
		l, err := s.Acquire(ctx)
		if err != nil {
			return err
		}
		if !kept {
			kept = true
			s.keep(filter, 1)
		}
		err = s.Ensure(ctx, l, filter)
		l.Release()
		if !errors.Is(err, ErrLost) {
			return err
		}
		last = l.Cause()
	}
	return tooOften(last)
}

// keep counts who wants a filter.
func (s *Session) keep(filter string, change int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.filters[filter] += change; s.filters[filter] == 0 {
		delete(s.filters, filter)
	}
}

// wanted lists what a new connection has to subscribe to.
func (s *Session) wanted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.filters))
}

// Wants reports whether every connection subscribes to filter.
func (s *Session) Wants(filter string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.filters[filter] > 0
}

// renewSubscriptions subscribes on a new connection; false when that has ended meanwhile.
func (s *Session) renewSubscriptions(l *Link, filters []string) bool {
	for _, f := range filters {
		err := s.Ensure(s.ctx, l, f)
		var refused *clientkit.SubscribeError
		switch {
		case err == nil:
		case errors.As(err, &refused): // for good
			s.cfg.Log.Error("subscription not renewed", "device", s.cfg.Device, "cause", err)
		default: // the connection has ended, or the session
			return false
		}
	}
	return true
}

// WaitOr waits for d by the session's timing, or for the end of l or of the session, and reports which.
func (s *Session) WaitOr(l *Link, d time.Duration) bool {
	select {
	case <-s.cfg.Timing.After(d):
		return true
	case <-l.lost:
	case <-s.ctx.Done():
	}
	return false
}
