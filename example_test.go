package fakecloud_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fakecloud/fakecloud"
)

// firmware stands for the code under test, which takes a dial function.
type firmware func(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), trust *tls.Config) error

// An hour of a device's life in no time: everything in the bubble, the instance too, lives by the bubble's clock, which
// moves on whenever all of them wait.
func ExampleWithInMemory() {
	hourly := func(t *testing.T, run firmware) {
		synctest.Test(t, func(t *testing.T) {
			cloud := fakecloud.Start(t, fakecloud.WithInMemory())
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- run(ctx, cloud.DialContext, cloud.TLSConfig()) }()
			time.Sleep(time.Hour)
			if n := len(cloud.Events(fakecloud.Filter{Kind: "telemetry"})); n != 60 {
				t.Errorf("%d messages in an hour", n)
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	_ = hourly // func TestHourly(t *testing.T) { hourly(t, pump.Run) }
}
