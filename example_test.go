package fakecloud_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fakecloud/fakecloud"
)

// A client that is refused sees what the cloud would answer, and the journal has the rule.
func Example() {
	ctx := context.Background()
	cloud, err := fakecloud.New(ctx, fakecloud.WithInMemory())
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()

	client := &http.Client{Transport: cloud.Transport()}
	defer client.CloseIdleConnections()
	response, err := client.Get("https://fakecloud-hub.azure-devices.net/devices/demo-sas/messages/devicebound?api-version=2020-03-13")
	if err != nil {
		log.Fatal(err)
	}
	response.Body.Close()
	refused, err := cloud.Await(ctx, fakecloud.Filter{Kind: "refused"}, 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Status)
	fmt.Println(refused[0].Rule, refused[0].Device)
	// Output:
	// 401 Unauthorized
	// HUB-60/authorization demo-sas
}

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
