package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// hasty makes every pause of the client kit short but for the renewal of its token.
func hasty() azure.Timing {
	return azure.Timing{Jitter: func() float64 { return 0 }, After: func(d time.Duration) <-chan time.Time {
		if d <= time.Minute {
			d = time.Millisecond
		}
		return time.After(d)
	}}
}

// Under the hostile profile the client kit is provisioned, every message that it was told is acknowledged
// is there, and its twin says what was reported last.
func TestHostileProfileLosesNothing(t *testing.T) {
	t.Parallel()
	const messages = 200
	cloud := fakecloud.Start(t, fakecloud.WithProfile("hostile"), fakecloud.WithSeed(11))
	ctx, cancel := context.WithTimeout(t.Context(), 6*rawmqtt.Patience)
	defer cancel()
	credential := azure.X509(*device(t, cloud, "brave"))
	assigned, err := azure.Provision(ctx, azure.ProvisionConfig{IDScope: idScope, Credential: credential,
		TLS: cloud.TLSConfig(), Dial: cloud.DialContext, Timing: hasty()})
	require.NoError(t, err)
	hub, err := azure.Dial(ctx, azure.HubConfig{Host: assigned.Hub, DeviceID: assigned.DeviceID, Credential: credential,
		TLS: cloud.TLSConfig(), Dial: cloud.DialContext, Timing: hasty()})
	require.NoError(t, err)
	for i := range messages {
		require.NoError(t, hub.Send(ctx, azure.Message{Body: fmt.Appendf(nil, "m-%d", i)}))
	}
	reportRounds(ctx, t, hub, 20)
	require.NoError(t, hub.Close(ctx))

	seen := map[string]int{}
	for _, e := range cloud.Events(fakecloud.Filter{Kind: "telemetry", Device: "brave"}) {
		seen[string(e.Payload)]++
	}
	require.Len(t, seen, messages, "what was acknowledged is there")
	document, err := cloud.Twin(assigned.Hub, "brave")
	require.NoError(t, err)
	require.Contains(t, string(document), `"round":19`)

	fired := map[string]int{}
	for _, e := range cloud.Events(fakecloud.Filter{Kind: "fault"}) {
		fired[strings.Fields(e.Detail)[1]]++
	}
	for _, id := range []string{"hostile-publish-close", "hostile-publish-delay", "hostile-publish-duplicate", "hostile-puback-close", "hostile-connect-close"} {
		require.NotZero(t, fired[id], "%v", fired)
	}
}

// reportRounds sets a reported property so many times, each until the hub has taken it.
func reportRounds(ctx context.Context, t *testing.T, hub *azure.Hub, rounds int) {
	t.Helper()
	for i := range rounds {
		for {
			_, err := hub.UpdateReported(ctx, map[string]any{"round": i})
			var throttled *azure.TwinError
			if errors.As(err, &throttled) && throttled.Status == 429 {
				continue
			}
			require.NoError(t, err)
			break
		}
	}
}

// Strict has the limits of the clouds on from the start, hostile its faults, also after a reset; a name
// that is none is refused.
func TestProfilesShapeTheWorld(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithProfile("strict"))
	text, err := cloud.Plane().World.Current()
	require.NoError(t, err)
	require.Contains(t, string(text), "throttle: S1")
	require.Contains(t, string(text), "pollLimit: true")

	hostile := fakecloud.Start(t, fakecloud.WithProfile("hostile"), fakecloud.WithSeed(3))
	faults := hostile.Faults()
	require.NotEmpty(t, faults)
	hostile.ClearFaults()
	require.NoError(t, hostile.Reset())
	require.Equal(t, faults, hostile.Faults())

	_, err = fakecloud.New(t.Context(), fakecloud.WithProfile("hostil"))
	require.ErrorContains(t, err, `profile "hostil": it is one of default, ci, strict, hostile, classroom; did you mean hostile?`)
}
