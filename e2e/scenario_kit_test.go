package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/clientkit/iotda"
	"github.com/fakecloud/fakecloud/clientkit/mindsphere"
)

// The client kit copes with what happens to scenario devices on their way from DPS to their first message.
func TestAzureKitCopesWithScenarios(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	for _, name := range []string{"three-polls", "throttled", "polls-throttled", "server-error", "twin-throttled", "unavailable", "no-connack",
		"dropped-twice", "cut-off", "twice"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, id := patience(t), "scenario-"+name+"-kit"
			credential := azure.X509(*device(t, cloud, id))
			assigned, err := azure.Provision(ctx, azure.ProvisionConfig{IDScope: idScope, Credential: credential,
				TLS: trusting(t, cloud), Dial: cloud.DialContext, Timing: hasty()})
			require.NoError(t, err)
			hub := kitHub(ctx, t, azure.HubConfig{Host: assigned.Hub, DeviceID: id, Credential: credential,
				TLS: trusting(t, cloud), Dial: cloud.DialContext, Timing: hasty()})
			require.NoError(t, hub.Send(ctx, azure.Message{Body: []byte("21.5")}))
			require.Equal(t, "21.5", string(telemetry(t, cloud, id, 1)[0].Payload))
			if name == "twin-throttled" || name == "server-error" {
				require.NoError(t, reportPatiently(ctx, hub))
			}
			require.NotEmpty(t, cloud.Events(fakecloud.Filter{Kind: "fault", Device: id}))
		})
	}
}

// kitHub connects to a hub and closes the connection with the test.
func kitHub(ctx context.Context, t *testing.T, cfg azure.HubConfig) *azure.Hub {
	t.Helper()
	hub, err := azure.Dial(ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hub.Close(context.Background())) })
	return hub
}

// A token that ends after five seconds costs a connection, and no message.
func TestAzureKitCopesWithShortTokens(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	key, err := azure.SymmetricKey(demoKey)
	require.NoError(t, err)
	hub := kitHub(ctx, t, azure.HubConfig{Host: demoHub, DeviceID: "scenario-expires-5s", Credential: key,
		TLS: trusting(t, cloud), Dial: cloud.DialContext, Timing: hasty()})
	for n := range 3 {
		require.NoError(t, hub.Send(ctx, azure.Message{Body: []byte("21.5")}))
		require.NoError(t, cloud.Advance(5*time.Second))
		_, err := cloud.Await(ctx, fakecloud.Filter{Rule: "HUB-24/expired", Device: "scenario-expires-5s"}, n+1)
		require.NoError(t, err)
	}
	require.NoError(t, hub.Send(ctx, azure.Message{Body: []byte("21.5")}))
	telemetry(t, cloud, "scenario-expires-5s", 4)
}

// A child of a gateway.
func TestEdgeKitCopesWithScenarios(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	key, err := azure.SymmetricKey(demoKey)
	require.NoError(t, err)
	for _, name := range []string{"unavailable", "no-connack", "dropped-twice", "cut-off", "twice"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, id := patience(t), "scenario-"+name+"-kit"
			hub := kitHub(ctx, t, azure.HubConfig{Host: demoHub, GatewayHost: edgeGateway, DeviceID: id, Credential: key,
				TLS: &tls.Config{RootCAs: edgeRoots(t, cloud)}, Dial: cloud.DialContext, Timing: hasty()})
			require.NoError(t, hub.Send(ctx, azure.Message{Body: []byte("21.5")}))
			require.Equal(t, "21.5", string(atHub(t, cloud, id, 1)[0].Body))
		})
	}
}

// An agent, whose first connection is dropped as well.
func TestMindSphereKitCopesWithScenarios(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"no-connack", "dropped-twice", "cut-off", "twice"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			ctx := patience(t)
			agent, err := mindsphere.Dial(ctx, mindConfig(t, cloud, "scenario-"+name))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, agent.Close(context.Background())) })
			require.NoError(t, agent.SendEvents(ctx, mindsphere.Event{Type: "demo.Event", Description: "hot"}))
			telemetryAt(t, cloud, "mindsphere", "demo_scenario-"+name, 1)
			token, err := agent.Token(ctx)
			require.NoError(t, err)
			require.NotEmpty(t, token.AccessToken)
		})
	}
}

// A device of IoTDA, whose product's properties are reported.
func TestIoTDAKitCopesWithScenarios(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	for _, name := range []string{"unavailable", "no-connack", "dropped-twice", "cut-off", "twice"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cfg := patience(t), kitNode(t, cloud)
			cfg.DeviceID, cfg.Timing = "demo_scenario-"+name, hasty()
			d := node(t, ctx, cfg)
			require.NoError(t, d.Report(ctx, iotda.Service{ID: "Battery", Properties: map[string]any{"batteryLevel": 80}}))
			require.EqualValues(t, 80, reported(t, cloud, cfg.DeviceID, "Battery")["batteryLevel"])
		})
	}
}

// reportPatiently reports a property again as long as the hub says that it cannot be served now.
func reportPatiently(ctx context.Context, hub *azure.Hub) error {
	for {
		_, err := hub.UpdateReported(ctx, map[string]any{"round": 1})
		var refused *azure.TwinError
		if !errors.As(err, &refused) || refused.Status != 429 && refused.Status < 500 {
			return err
		}
	}
}
