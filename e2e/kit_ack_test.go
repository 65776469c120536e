package e2e

import (
	"context"
	"crypto/tls"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/clientkit/iotda"
	"github.com/fakecloud/fakecloud/clientkit/mindsphere"
)

// kitSenders connect a kit as the device with this id, in a bubble, and return how it sends.
var kitSenders = map[string]func(t *testing.T, cloud *fakecloud.Cloud, id string) func(context.Context) error{
	"iothub": func(t *testing.T, cloud *fakecloud.Cloud, id string) func(context.Context) error {
		credential := azure.X509(*device(t, cloud, id))
		assigned, err := azure.Provision(t.Context(), azure.ProvisionConfig{IDScope: idScope, Credential: credential,
			TLS: cloud.TLSConfig(), Dial: cloud.DialContext})
		require.NoError(t, err)
		hub := kitHub(t.Context(), t, azure.HubConfig{Host: assigned.Hub, DeviceID: id, Credential: credential,
			TLS: cloud.TLSConfig(), Dial: cloud.DialContext})
		return func(ctx context.Context) error { return hub.Send(ctx, azure.Message{Body: []byte("21.5")}) }
	},
	"edge": func(t *testing.T, cloud *fakecloud.Cloud, id string) func(context.Context) error {
		key, err := azure.SymmetricKey(demoKey)
		require.NoError(t, err)
		hub := kitHub(t.Context(), t, azure.HubConfig{Host: demoHub, GatewayHost: edgeGateway, DeviceID: id, Credential: key,
			TLS: &tls.Config{RootCAs: edgeRoots(t, cloud)}, Dial: cloud.DialContext})
		return func(ctx context.Context) error { return hub.Send(ctx, azure.Message{Body: []byte("21.5")}) }
	},
	"mindsphere": func(t *testing.T, cloud *fakecloud.Cloud, id string) func(context.Context) error {
		cfg := mindConfig(t, cloud, id)
		cfg.Timing = mindsphere.Timing{}
		agent, err := mindsphere.Dial(t.Context(), cfg)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, agent.Close(context.Background())) })
		return func(ctx context.Context) error {
			return agent.SendEvents(ctx, mindsphere.Event{Type: "demo.Event", Description: "hot"})
		}
	},
	"iotda": func(t *testing.T, cloud *fakecloud.Cloud, id string) func(context.Context) error {
		cfg := kitNode(t, cloud)
		cfg.DeviceID = "demo_" + id
		d := node(t, t.Context(), cfg)
		return func(ctx context.Context) error {
			return d.Report(ctx, iotda.Service{ID: "Battery", Properties: map[string]any{"batteryLevel": 80}})
		}
	},
}

// wantTaken sees that the device's messages came n times.
func wantTaken(d *scenarioDevice, n int) {
	d.Helper()
	platform := d.platform
	if platform == "edge" {
		platform = "iothub" // the gateway passes it on
	}
	taken := fakecloud.Filter{Kind: "telemetry", Platform: platform, Device: d.name()}
	if platform == "iotda" {
		taken.Kind = "property"
	}
	ctx, cancel := context.WithTimeout(d.Context(), time.Minute)
	defer cancel()
	_, err := d.cloud.Await(ctx, taken, n)
	require.NoError(d, err)
	require.Len(d, d.cloud.Events(taken), n)
}

// The first PUBACK to a device is lost, at DPS also that of the register request: the kit waits for
// its limit, cuts the connection and sends the message again.
func TestKitsSendAgainAfterLostPuback(t *testing.T) {
	t.Parallel()
	for platform, dial := range kitSenders {
		t.Run(platform, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cloud := fakecloud.Start(t, fakecloud.WithInMemory(), fakecloud.WithSeed(1))
				d := &scenarioDevice{T: t, cloud: cloud, platform: platform, id: "scenario-lost-puback"}
				send := dial(t, cloud, d.id)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				require.NoError(t, send(ctx))
				require.GreaterOrEqual(t, time.Since(start), clientkit.DefaultAcknowledge)
				wantTaken(d, 2)
				d.fired("lost-puback", 1)
				start = time.Now()
				require.NoError(t, send(ctx))
				require.Less(t, time.Since(start), time.Second)
			})
		})
	}
}

// An acknowledgement that is late, but in time, costs no connection, and no message comes twice.
func TestKitsWaitForALatePuback(t *testing.T) {
	t.Parallel()
	for platform, dial := range kitSenders {
		t.Run(platform, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cloud := fakecloud.Start(t, fakecloud.WithInMemory(), fakecloud.WithSeed(1))
				d := &scenarioDevice{T: t, cloud: cloud, platform: platform, id: "scenario-twice"}
				send := dial(t, cloud, d.id)
				late := fakecloud.FaultDuration(clientkit.DefaultAcknowledge - time.Second)
				_, err := cloud.Inject(fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "puback"}, Action: fakecloud.FaultAction{Delay: &late}})
				require.NoError(t, err)
				since := lastOf(cloud)
				for range 3 {
					start := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					require.NoError(t, send(ctx))
					cancel()
					require.GreaterOrEqual(t, time.Since(start), time.Duration(late))
				}
				wantTaken(d, 3)
				require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "connect", Device: d.name(), Since: since}))
			})
		})
	}
}
