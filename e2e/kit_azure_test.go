package e2e

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/azure"
)

// A device that gets only HTTPS out finds its hub and works with it, with a certificate and with a key.
func TestAzureKitOverWebSocket(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	cert := azure.X509(*device(t, cloud, "ws-cert"))
	assignment, err := azure.Provision(ctx, azure.ProvisionConfig{
		IDScope: "0ne00FAKE01", Credential: cert, WebSocket: true, TLS: trusting(t, cloud), Dial: cloud.DialContext,
	})
	require.NoError(t, err)
	require.Equal(t, "ws-cert", assignment.DeviceID)
	key, err := azure.SymmetricKey(demoKey)
	require.NoError(t, err)

	for id, credential := range map[string]azure.Credential{"ws-cert": cert, "demo-sas": key} {
		hub, err := azure.Dial(ctx, azure.HubConfig{
			Host: assignment.Hub, DeviceID: id, Credential: credential, WebSocket: true, TLS: trusting(t, cloud), Dial: cloud.DialContext,
		})
		require.NoError(t, err, id)
		t.Cleanup(func() { require.NoError(t, hub.Close(context.Background())) })
		require.NoError(t, hub.Send(ctx, azure.Message{Body: make([]byte, 100<<10)}))
		events, err := cloud.Await(ctx, fakecloud.Filter{Kind: "telemetry", Device: id}, 1)
		require.NoError(t, err)
		require.Len(t, events[0].Payload, 100<<10)
		got := make(chan string, 1)
		require.NoError(t, hub.OnMessage(ctx, func(_ context.Context, m azure.Received) { got <- string(m.Body) }))
		require.NoError(t, cloud.SendC2D(assignment.Hub, id, fakecloud.C2D{Body: []byte("left")}))
		require.Equal(t, "left", next(t, ctx, got))
	}
}

// What fails over MQTT fails over WebSocket, in the same words.
func TestAzureKitOverWebSocketRefused(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	wrong, err := azure.SymmetricKey("d3Jvbmc=")
	require.NoError(t, err)
	cfg := azure.HubConfig{Host: demoHub, DeviceID: "demo-sas", Credential: wrong, WebSocket: true,
		TLS: trusting(t, cloud), Dial: cloud.DialContext}
	_, err = azure.Dial(ctx, cfg)
	var refused *azure.ConnectError
	require.ErrorAs(t, err, &refused)
	require.EqualValues(t, 5, refused.ReturnCode)

	cfg.TLS = &tls.Config{}
	_, err = azure.Dial(ctx, cfg)
	var untrusted *tls.CertificateVerificationError
	require.ErrorAs(t, err, &untrusted)
	var answer *clientkit.UpgradeError
	require.NotErrorAs(t, err, &answer)
}
