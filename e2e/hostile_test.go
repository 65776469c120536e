package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/e2e/hostile"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// hasty makes the pauses of the client kit short: not its time for an answer, nor the renewal of its token.
func hasty() azure.Timing {
	return azure.Timing{Jitter: func() float64 { return 0.25 }, After: func(d time.Duration) <-chan time.Time {
		const answerTime = 30 * time.Second // no pause is as long: jitter sees to it
		if d != answerTime && d <= time.Minute {
			d = time.Millisecond
		}
		return time.After(d)
	}}
}

// How much a brave device does: enough that each of the profile's faults meets it.
const (
	braveDevices  = 20
	braveMessages = 200
	braveRounds   = 60
)

// Under the hostile profile the client kit is provisioned, every message that it was told is acknowledged
// is there, its twin says what was reported last, every method is answered once it is called again, and every
// message to it comes. Each fault of the profile happens.
func TestHostileProfileLosesNothing(t *testing.T) {
	t.Parallel()
	for _, webSocket := range []bool{false, true} {
		t.Run(fmt.Sprintf("websocket=%t", webSocket), func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t, fakecloud.WithProfile("hostile"), fakecloud.WithSeed(11))
			ctx, cancel := context.WithTimeout(t.Context(), 6*rawmqtt.Patience)
			defer cancel()
			var hub *azure.Hub
			for i := range braveDevices {
				if hub != nil {
					require.NoError(t, hub.Close(ctx))
				}
				hub = brave(ctx, t, cloud, fmt.Sprintf("brave-%d", i), webSocket)
			}
			device := fmt.Sprintf("brave-%d", braveDevices-1)
			for i := range braveMessages {
				require.NoError(t, hub.Send(ctx, azure.Message{Body: fmt.Appendf(nil, "m-%d", i)}))
			}
			twinRounds(ctx, t, hub)
			methodRounds(ctx, t, cloud, hub, device)
			messageRounds(ctx, t, cloud, hub, device)
			require.NoError(t, hub.Close(ctx))

			require.Len(t, hostile.Taken(cloud, demoHub, device), braveMessages, "what was acknowledged is there")
			document, err := cloud.Twin(demoHub, device)
			require.NoError(t, err)
			require.Contains(t, string(document), fmt.Sprintf(`"round":%d`, braveRounds-1))
			fired := hostile.Fired(cloud)
			for _, f := range cloud.Faults() {
				require.NotZero(t, fired[f.ID], "%s: %v", f.ID, fired)
			}
		})
	}
}

// brave provisions a device and connects it.
func brave(ctx context.Context, t *testing.T, cloud *fakecloud.Cloud, id string, webSocket bool) *azure.Hub {
	t.Helper()
	credential := azure.X509(*device(t, cloud, id))
	assigned, err := azure.Provision(ctx, azure.ProvisionConfig{IDScope: idScope, Credential: credential, WebSocket: webSocket,
		TLS: cloud.TLSConfig(), Dial: cloud.DialContext, Timing: hasty()})
	require.NoError(t, err)
	require.Equal(t, demoHub, assigned.Hub)
	hub, err := azure.Dial(ctx, azure.HubConfig{Host: assigned.Hub, DeviceID: assigned.DeviceID, Credential: credential, WebSocket: webSocket,
		TLS: cloud.TLSConfig(), Dial: cloud.DialContext, Timing: hasty()})
	require.NoError(t, err)
	return hub
}

// twinRounds sets a reported property and reads it back, each until the hub has done it.
func twinRounds(ctx context.Context, t *testing.T, hub *azure.Hub) {
	t.Helper()
	for i := range braveRounds {
		untilTaken(t, func() error {
			_, err := hub.UpdateReported(ctx, map[string]any{"round": i})
			return err
		})
		untilTaken(t, func() error {
			twin, err := hub.GetTwin(ctx)
			if err == nil {
				require.Contains(t, string(twin.Reported), fmt.Sprintf(`"round":%d`, i))
			}
			return err
		})
	}
}

// untilTaken does it again as long as the hub answers 429.
func untilTaken(t *testing.T, do func() error) {
	t.Helper()
	for {
		err := do()
		var answer *azure.TwinError
		if !errors.As(err, &answer) || answer.Status != 429 {
			require.NoError(t, err)
			return
		}
	}
}

// methodRounds calls methods until each is answered.
func methodRounds(ctx context.Context, t *testing.T, cloud *fakecloud.Cloud, hub *azure.Hub, device string) {
	t.Helper()
	require.NoError(t, hub.HandleMethod(ctx, "echo", func(_ context.Context, c azure.MethodCall) (int, json.RawMessage) { return 200, c.Payload }))
	for i := range braveRounds {
		payload := fmt.Sprintf(`{"round":%d}`, i)
		result, err := hostile.Call(ctx, cloud, demoHub, device, "echo", []byte(payload))
		require.NoError(t, err)
		require.Equal(t, 200, result.Status)
		require.JSONEq(t, payload, string(result.Payload))
	}
}

// messageRounds sends messages to the device and waits until each has come.
func messageRounds(ctx context.Context, t *testing.T, cloud *fakecloud.Cloud, hub *azure.Hub, device string) {
	t.Helper()
	came := make(chan string, 2*braveRounds)
	require.NoError(t, hub.OnMessage(ctx, func(_ context.Context, m azure.Received) { came <- string(m.Body) }))
	var seen []string
	for i := range braveRounds {
		body := fmt.Sprintf("c-%d", i)
		require.NoError(t, cloud.SendC2D(demoHub, device, fakecloud.C2D{Body: []byte(body)}))
		for !slices.Contains(seen, body) {
			seen = append(seen, next(t, ctx, came))
		}
		// Its acknowledgement comes after it, or the queue would fill.
		_, err := cloud.Await(ctx, fakecloud.Filter{Kind: "c2d", Device: device, Match: func(e *fakecloud.Event) bool { return e.Properties["outcome"] == "Success" }}, i+1)
		require.NoError(t, err)
	}
}
