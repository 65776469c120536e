package e2e

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/e2e/hostile"
)

// What the device of TestTokensAreRenewedForever does.
const (
	renewalLife    = 10 * time.Minute // of a token; the kit renews after 8 to 8.5 minutes
	renewalTime    = 8 * time.Hour
	renewalSenders = 4
)

// A device that sends all the time renews its token again and again, over MQTT and over WebSocket: no connection
// outlives its token, no message is lost, or sent twice, at a change of connections that it was under way at, and
// as much runs in the end as after the first renewal.
func TestTokensAreRenewedForever(t *testing.T) {
	t.Parallel()
	for _, webSocket := range []bool{false, true} {
		name := fmt.Sprintf("websocket=%t", webSocket)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pprof.Do(t.Context(), pprof.Labels("renewal", name), func(ctx context.Context) { renewForever(ctx, t, name, webSocket) })
			})
		})
	}
}

func renewForever(ctx context.Context, t *testing.T, name string, webSocket bool) {
	cloud := fakecloud.Start(t, fakecloud.WithInMemory(), fakecloud.WithSeed(1))
	slow := fakecloud.FaultDuration(700 * time.Millisecond)
	_, err := cloud.Inject(fakecloud.Fault{ID: "slow", Match: fakecloud.FaultMatch{Step: "publish"}, Action: fakecloud.FaultAction{Delay: &slow}})
	require.NoError(t, err)
	key, err := azure.SymmetricKey(demoKey)
	require.NoError(t, err)
	hub, err := azure.Dial(ctx, azure.HubConfig{Host: demoHub, DeviceID: "demo-sas", Credential: key, TokenLife: renewalLife,
		WebSocket: webSocket, TLS: cloud.TLSConfig(), Dial: cloud.DialContext})
	require.NoError(t, err)
	sent := sendUntil(ctx, t, hub, time.Now().Add(renewalLife), "a")
	synctest.Wait()
	before := labelled(t, name)
	require.NotZero(t, before)
	sent += sendUntil(ctx, t, hub, time.Now().Add(renewalTime), "b")
	synctest.Wait()
	require.Equal(t, before, labelled(t, name), "goroutines")
	require.NoError(t, hub.Close(ctx))

	taken := hostile.Taken(cloud, demoHub, "demo-sas")
	require.Len(t, taken, sent, "every message is there")
	for body, times := range taken {
		require.Equal(t, 1, times, body)
	}
	require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "refused"}))
	require.NotZero(t, changesUnderWay(t, cloud), "no message was under way at any renewal")
}

// A message leaves the very moment at which the time limit of the write before it would have ended, 10 seconds on
// either side: over a WebSocket, whose deadlines are timers, too.
func TestMessagesAsFarApartAsTheLimitOfAWrite(t *testing.T) {
	t.Parallel()
	for _, webSocket := range []bool{false, true} {
		t.Run(fmt.Sprintf("websocket=%t", webSocket), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cloud := fakecloud.Start(t, fakecloud.WithInMemory(), fakecloud.WithSeed(1))
				key, err := azure.SymmetricKey(demoKey)
				require.NoError(t, err)
				hub, err := azure.Dial(t.Context(), azure.HubConfig{Host: demoHub, DeviceID: "demo-sas", Credential: key,
					TokenLife: 24 * time.Hour, WebSocket: webSocket, TLS: cloud.TLSConfig(), Dial: cloud.DialContext})
				require.NoError(t, err)
				for range 1000 {
					require.NoError(t, hub.Send(t.Context(), azure.Message{Body: []byte("{}")}))
					time.Sleep(10 * time.Second)
				}
				require.NoError(t, hub.Close(t.Context()))
				require.Len(t, cloud.Events(fakecloud.Filter{Kind: "connect"}), 1, "the connection was lost on the way")
				require.Equal(t, map[string]int{"{}": 1000}, hostile.Taken(cloud, demoHub, "demo-sas"))
			})
		})
	}
}

// sendUntil has several senders at work and returns how many messages were acknowledged.
func sendUntil(ctx context.Context, t *testing.T, hub *azure.Hub, end time.Time, prefix string) int {
	t.Helper()
	var wg sync.WaitGroup
	counts := make([]int, renewalSenders)
	for s := range counts {
		wg.Go(func() {
			for time.Now().Before(end) {
				if err := hub.Send(ctx, azure.Message{Body: fmt.Appendf(nil, "%s-%d-%d", prefix, s, counts[s])}); err != nil {
					t.Error(err)
					return
				}
				counts[s]++
				time.Sleep(time.Duration(20+s) * time.Second)
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

// changesUnderWay checks that the connections follow each other within their tokens' lives, and counts those that
// ended with the acknowledgement of a message.
func changesUnderWay(t *testing.T, cloud *fakecloud.Cloud) (underWay int) {
	t.Helper()
	connects := cloud.Events(fakecloud.Filter{Platform: "iothub", Kind: "connect", Device: "demo-sas"})
	require.Greater(t, len(connects), int(renewalTime/renewalLife))
	acks := map[time.Time]bool{}
	for _, e := range cloud.Events(fakecloud.Filter{Kind: "telemetry", Device: "demo-sas"}) {
		acks[e.Time] = true
	}
	for i, e := range connects[1:] {
		require.Less(t, e.Time.Sub(connects[i].Time), renewalLife)
		if acks[e.Time] {
			underWay++
		}
	}
	return underWay
}

// record is a line of a goroutine profile: how many share a stack.
var record = regexp.MustCompile(`(?m)^(\d+) @`)

// labelled counts the goroutines that descend from the test of a name.
func labelled(t *testing.T, name string) int {
	t.Helper()
	var profile bytes.Buffer
	require.NoError(t, pprof.Lookup("goroutine").WriteTo(&profile, 1))
	sum := 0
	for stack := range strings.SplitSeq(profile.String(), "\n\n") {
		if !strings.Contains(stack, `"renewal":"`+name+`"`) {
			continue
		}
		n, err := strconv.Atoi(record.FindStringSubmatch(stack)[1])
		require.NoError(t, err)
		sum += n
	}
	return sum
}
