package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"testing/iotest"
	"time"

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

// A long file goes up in blocks, a short one in one request; a torn one is reported.
func TestAzureKitUpload(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	key, err := azure.SymmetricKey(demoKey)
	require.NoError(t, err)
	for id, credential := range map[string]azure.Credential{"upload-cert": azure.X509(*device(t, cloud, "upload-cert")), "demo-sas": key} {
		if id != "demo-sas" {
			_, err := azure.Provision(ctx, azure.ProvisionConfig{
				IDScope: "0ne00FAKE01", Credential: credential, TLS: trusting(t, cloud), Dial: cloud.DialContext,
			})
			require.NoError(t, err)
		}
		hub, err := azure.Dial(ctx, azure.HubConfig{
			Host: demoHub, DeviceID: id, Credential: credential, TLS: trusting(t, cloud), Dial: cloud.DialContext,
		})
		require.NoError(t, err, id)
		t.Cleanup(func() { require.NoError(t, hub.Close(context.Background())) })

		long := bytes.Repeat([]byte("0123456789abcdef"), 5<<16|1)
		for name, content := range map[string][]byte{"logs/ä long.bin": long, "short.txt": []byte("hello"), "empty": {}} {
			got, err := hub.Upload(ctx, azure.File{Name: name, Content: bytes.NewReader(content), ContentType: "text/x-log", BlockSize: 1 << 20})
			require.NoError(t, err, name)
			require.EqualValues(t, len(content), got.Size)
			require.Equal(t, id+"/"+name, got.Blob)
			uploadedAs(t, cloud, got.Blob, content)
		}
		var steps []string
		for _, e := range cloud.Events(fakecloud.Filter{Kind: "file", Device: id}) {
			if e.Detail == "upload done" {
				steps = append(steps, e.Detail)
			}
		}
		require.Len(t, steps, 3)

		torn := errors.New("torn")
		_, err = hub.Upload(ctx, azure.File{Name: "torn", Content: iotest.ErrReader(torn)})
		require.ErrorIs(t, err, torn)
		_, err = cloud.Await(ctx, fakecloud.Filter{Kind: "file", Device: id, Match: func(e *fakecloud.Event) bool {
			return e.Detail == "upload failed, as the device says"
		}}, 1)
		require.NoError(t, err)
	}
}

// uploadedAs reads a file of the hub's storage.
func uploadedAs(t *testing.T, cloud *fakecloud.Cloud, blob string, content []byte) {
	t.Helper()
	container, err := cloud.BlobContainer(demoHub, "device-uploads", time.Hour)
	require.NoError(t, err)
	address, err := url.Parse(container)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DialContext: cloud.DialContext, TLSClientConfig: trusting(t, cloud), DisableKeepAlives: true}}
	address = &url.URL{Scheme: "https", Host: demoHub, Path: address.Path + "/" + blob, RawQuery: address.RawQuery}
	answer, err := client.Get(address.String())
	require.NoError(t, err)
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode, string(got[:min(len(got), 1000)]))
	require.True(t, bytes.Equal(content, got), "%d bytes, expected %d", len(got), len(content))
	require.Equal(t, "text/x-log", answer.Header.Get("Content-Type"))
}

// What hub and storage refuse comes as a typed error.
func TestAzureKitUploadRefused(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	key, err := azure.SymmetricKey(demoKey)
	require.NoError(t, err)
	hub, err := azure.Dial(ctx, azure.HubConfig{
		Host: demoHub, DeviceID: "demo-sas", Credential: key, TLS: trusting(t, cloud), Dial: cloud.DialContext,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hub.Close(context.Background())) })
	var refused *azure.UploadError
	_, err = hub.Upload(ctx, azure.File{Name: "a\x01b", Content: http.NoBody})
	require.ErrorAs(t, err, &refused)
	require.Equal(t, azure.UploadBegin, refused.Step)
	require.Equal(t, "400 ArgumentInvalid", fmt.Sprint(refused.Status, " ", refused.Code))

	// Each upload begins the next one while it reads; the hub lets ten be open.
	depth := 0
	var begin func() error
	begin = func() error {
		depth++
		_, err := hub.Upload(ctx, azure.File{Name: fmt.Sprint("nested-", depth), Content: readFunc(func([]byte) (int, error) {
			if err := begin(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		})})
		return err
	}
	refused = nil
	require.ErrorAs(t, begin(), &refused)
	require.Equal(t, 11, depth)
	require.Equal(t, azure.UploadBegin, refused.Step)
	require.Equal(t, 403, refused.Status)
	require.Contains(t, refused.Message, refused.Code)

	// All ten were reported as failed, so there is room again.
	_, err = hub.Upload(ctx, azure.File{Name: "room", Content: http.NoBody})
	require.NoError(t, err)
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
