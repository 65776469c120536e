//go:build unix

package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fakecloud/fakecloud/clientkit/azure"
)

// The default world's public, test-only device.
const (
	demoHub = "fakecloud-hub.azure-devices.net"
	demoKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

// device connects demo-sas to the instance of the script until the script ends. It answers every method with
// 207 and what it was called with, "mum" excepted, and reports each message's body and property p.
func device(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: device")
	}
	answer, err := http.Get(ts.Getenv("ADMIN") + "/api/v1/ca.pem")
	ts.Check(err)
	defer answer.Body.Close()
	pem, err := io.ReadAll(answer.Body)
	ts.Check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	credential, err := azure.SymmetricKey(demoKey)
	ts.Check(err)
	address := net.JoinHostPort("127.0.0.1", ts.Getenv("MQTTS"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	ts.Defer(cancel)
	hub, err := azure.Dial(ctx, azure.HubConfig{Host: demoHub, DeviceID: "demo-sas", Credential: credential, TLS: &tls.Config{RootCAs: roots},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}})
	ts.Check(err)
	ts.Defer(func() {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		_ = hub.Close(gone) // the instance may have ended before
	})
	ts.Check(hub.HandleMethod(ctx, azure.AnyMethod, func(_ context.Context, call azure.MethodCall) (int, json.RawMessage) {
		payload := string(call.Payload)
		if payload == "" {
			payload = "null"
		}
		return 207, json.RawMessage(fmt.Sprintf(`{"method":%q,"payload":%s}`, call.Name, payload))
	}))
	ts.Check(hub.HandleMethod(ctx, "mum", func(ctx context.Context, _ azure.MethodCall) (int, json.RawMessage) {
		<-ctx.Done()
		return 500, nil
	}))
	ts.Check(hub.OnMessage(ctx, func(ctx context.Context, m azure.Received) {
		_, _ = hub.UpdateReported(ctx, map[string]any{"got": string(m.Body), "p": m.Properties["p"]}) // seen in the twin
	}))
}
