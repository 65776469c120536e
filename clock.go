package fakecloud

import (
	"fmt"
	"time"
)

// The instance has two readings of time. The timers reading makes things become due: time to live, locks,
// provisioning rounds, expiry of credentials on live connections. The wall reading judges credentials that
// are presented now and stamps times. Keep-alive limits follow real time: they are deadlines of sockets.

// Advance moves the timers reading on by d and returns when everything that became due by it has been
// started: connections whose token has run out are being closed. A negative d is an error and changes nothing.
func (c *Cloud) Advance(d time.Duration) error {
	if err := c.clock.Advance(d); err != nil {
		return fmt.Errorf("advance by %s: %w; Skew moves the wall reading either way", d, err)
	}
	return nil
}

// Skew sets how far the wall reading stands from real time, negative for behind: a token that is valid for
// an hour has expired for an instance that is skewed by two.
func (c *Cloud) Skew(by time.Duration) { c.clock.Skew(by) }
