package e2e

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/clientkit/iotda"
	"github.com/fakecloud/fakecloud/clientkit/mindsphere"
)

// An hour of a device's life in a bubble, whose clock moves when everybody waits: provisioning over TLS, a
// connection whose token is renewed before it runs out, telemetry, a method, and nothing left in the end:
// synctest.Test waits for every goroutine.
func TestInMemoryAnHourInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		cloud := fakecloud.Start(t, fakecloud.WithInMemory(), fakecloud.WithSeed(1))
		ports := cloud.Ports()
		require.Equal(t, fakecloud.Ports{MQTTS: 8883, MQTT: 1883, HTTPS: []int{443}, Edge: 8884, Proxy: 8485}, ports)
		key, err := cloud.Enroll("fakecloud-dps", "pump-7")
		require.NoError(t, err)
		credential, err := azure.SymmetricKey(key)
		require.NoError(t, err)
		assigned, err := azure.Provision(t.Context(), azure.ProvisionConfig{IDScope: idScope, RegistrationID: "pump-7",
			Credential: credential, TLS: cloud.TLSConfig(), Dial: cloud.DialContext})
		require.NoError(t, err)
		device, err := azure.Dial(t.Context(), azure.HubConfig{Host: assigned.Hub, DeviceID: assigned.DeviceID, Credential: credential,
			TLS: cloud.TLSConfig(), Dial: cloud.DialContext})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, device.Close(context.Background())) })
		require.NoError(t, device.Send(t.Context(), azure.Message{Body: []byte(`{"hour":0}`)}))

		since := lastOf(cloud)
		time.Sleep(time.Hour)
		renewed := cloud.Events(fakecloud.Filter{Platform: "iothub", Kind: "connack", Device: "pump-7", Since: since})
		require.NotEmpty(t, renewed, "the token has not been renewed")
		for _, e := range renewed {
			require.Zero(t, *e.Code)
		}
		require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "refused"}))
		require.NoError(t, device.Send(t.Context(), azure.Message{Body: []byte(`{"hour":1}`)}))
		messages := telemetry(t, cloud, "pump-7", 2)
		require.GreaterOrEqual(t, messages[1].Time.Sub(messages[0].Time), time.Hour)
		require.GreaterOrEqual(t, time.Since(began), time.Hour)
	})
}

// memoryWorld lets the group demo-symmetric ask a webhook within the instance.
func memoryWorld() string { return custom("http://127.0.0.1:9000/allocate") }

// Every platform can be reached in memory: by MQTT with and without TLS, by WebSocket, HTTPS and the proxy port, and
// it reaches what listens inside.
func TestInMemoryEveryPlatform(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := fakecloud.Start(t, fakecloud.WithInMemory(), fakecloud.WithWorld(memoryWorld()))
		ctx := t.Context()
		key, err := azure.SymmetricKey(demoKey)
		require.NoError(t, err)
		for _, webSocket := range []bool{false, true} {
			hub, err := azure.Dial(ctx, azure.HubConfig{Host: demoHub, DeviceID: "demo-sas", Credential: key, WebSocket: webSocket,
				TLS: cloud.TLSConfig(), Dial: cloud.DialContext})
			require.NoError(t, err)
			require.NoError(t, hub.Send(ctx, azure.Message{Body: make([]byte, 200<<10)})) // more than the buffers hold
			require.NoError(t, hub.Close(ctx))
		}

		roots, err := cloud.EdgeRootPEM()
		require.NoError(t, err)
		trust := cloud.TLSConfig()
		require.True(t, trust.RootCAs.AppendCertsFromPEM(roots))
		behind, err := azure.Dial(ctx, azure.HubConfig{Host: demoHub, GatewayHost: edgeGateway, DeviceID: "demo-leaf", Credential: key,
			TLS: trust, Dial: cloud.DialContext})
		require.NoError(t, err)
		require.NoError(t, behind.Send(ctx, azure.Message{Body: []byte("through the gateway")}))
		require.NoError(t, behind.Close(ctx))
		telemetry(t, cloud, "demo-leaf", 1)

		issued, err := cloud.IssueDevice("pump-9")
		require.NoError(t, err)
		agent, err := mindsphere.Dial(ctx, mindsphere.Config{Region: mindsphere.EU1, Tenant: "demo", Certificate: issued.TLS(),
			TLS: cloud.TLSConfig(), Dial: cloud.DialContext})
		require.NoError(t, err)
		require.NoError(t, agent.Close(ctx))

		for _, plain := range []bool{false, true} {
			config := iotda.Config{Host: iotdaMQTT, DeviceID: node1, Credential: iotda.Secret("12345678"), Dial: cloud.DialContext, Plain: plain}
			if !plain {
				config.TLS = cloud.TLSConfig()
			}
			reporter, err := iotda.Dial(ctx, config)
			require.NoError(t, err)
			require.NoError(t, reporter.Report(ctx, iotda.Service{ID: "Battery", Properties: map[string]any{"batteryLevel": 80}}))
			require.NoError(t, reporter.Close(ctx))
		}

		inMemoryHTTP(t, cloud)
	})
}

// inMemoryHTTP asks the hub's HTTPS API, through the proxy port too, and lets DPS ask a webhook.
func inMemoryHTTP(t *testing.T, cloud *fakecloud.Cloud) {
	t.Helper()
	proxy, err := url.Parse("http://127.0.0.1:8485")
	require.NoError(t, err)
	direct, proxied := cloud.Transport(), cloud.Transport()
	proxied.Proxy = http.ProxyURL(proxy)
	for _, transport := range []*http.Transport{direct, proxied} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+demoHub+"/devices/demo-sas/messages/events?api-version=2021-04-12", strings.NewReader("by HTTPS"))
		require.NoError(t, err)
		request.Header.Set("Authorization", sign(demoHub+"/devices/demo-sas", demoKey, later, ""))
		answer, err := (&http.Client{Transport: transport}).Do(request)
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, answer.StatusCode)
		require.NoError(t, answer.Body.Close())
		transport.CloseIdleConnections()
	}

	hook, err := cloud.Listen("tcp", "127.0.0.1:9000")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"iotHubHostName":"`+demoHub+`"}`)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(hook) }()
	credential, err := azure.SymmetricKey(hmacKey(t, groupKey, "hooked"))
	require.NoError(t, err)
	assigned, err := azure.Provision(t.Context(), azure.ProvisionConfig{IDScope: idScope, RegistrationID: "hooked", Credential: credential,
		TLS: cloud.TLSConfig(), Dial: cloud.DialContext})
	require.NoError(t, err)
	require.Equal(t, demoHub, assigned.Hub)
	require.NoError(t, server.Close())
	require.ErrorIs(t, <-served, http.ErrServerClosed)
}

// What an instance in memory cannot do it says.
func TestInMemoryLimits(t *testing.T) {
	t.Parallel()
	_, err := fakecloud.New(t.Context(), fakecloud.WithInMemory(), fakecloud.WithDataDir(t.TempDir()))
	require.ErrorContains(t, err, "touches no files")
	cloud := fakecloud.Start(t, fakecloud.WithInMemory(), fakecloud.WithAdvertise("cloud.test"),
		fakecloud.WithPorts(fakecloud.Ports{MQTTS: 9883, Proxy: fakecloud.Off}))
	require.Equal(t, 9883, cloud.Ports().MQTTS)
	require.Zero(t, cloud.Ports().Proxy)
	for _, address := range []string{"cloud.test:9883", cloud.MQTTSAddr(), "[::1]:9883", demoHub + ":8883"} {
		conn, err := cloud.DialContext(t.Context(), "tcp", address)
		require.NoError(t, err, address)
		require.NoError(t, conn.Close())
	}
	_, err = cloud.DialContext(t.Context(), "tcp", "127.0.0.1:8485")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = cloud.DialContext(t.Context(), "tcp", "example.com:8883")
	require.ErrorContains(t, err, "not an emulated host")
	_, err = cloud.Env(t.TempDir())
	require.ErrorContains(t, err, "another process")
	_, err = fakecloud.Start(t).Listen("tcp", "127.0.0.1:0")
	require.ErrorContains(t, err, "net.Listen")
}

// lastOf is the number of the newest event.
func lastOf(cloud *fakecloud.Cloud) uint64 {
	events := cloud.Events(fakecloud.Filter{})
	return events[len(events)-1].Seq
}
