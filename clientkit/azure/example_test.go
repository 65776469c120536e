package azure_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/fakecloud/fakecloud/clientkit/azure"
)

// A device with a certificate asks DPS for its hub and sends telemetry there.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cert, err := tls.LoadX509KeyPair("device.pem", "device.key")
	if err != nil {
		log.Print(err)
		return
	}
	credential := azure.X509(cert)
	assignment, err := azure.Provision(ctx, azure.ProvisionConfig{IDScope: "0ne00FAKE01", Credential: credential})
	var refused *azure.ProvisionError
	if errors.As(err, &refused) {
		log.Printf("DPS said %d: %s", refused.ErrorCode, refused.Message)
	}
	if err != nil {
		log.Print(err)
		return
	}
	hub, err := azure.Dial(ctx, azure.HubConfig{
		Host: assignment.Hub, DeviceID: assignment.DeviceID, Credential: credential,
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer hub.Close(ctx)
	err = hub.Send(ctx, azure.Message{
		Body: []byte(`{"temperature":21.5}`), ContentType: "application/json", ContentEncoding: "utf-8",
		Properties: map[string]string{"alert": "false"},
	})
	if err != nil {
		log.Print(err)
	}
}

// A device follows its desired properties and says what it made of them.
func ExampleHub_OnDesired() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	hub, err := dial(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	defer hub.Close(ctx)
	err = hub.OnDesired(ctx, func(ctx context.Context, c azure.DesiredChange) {
		var desired struct{ Period *int }
		if json.Unmarshal(c.Properties, &desired) != nil || desired.Period == nil {
			return
		}
		if _, err := hub.UpdateReported(ctx, map[string]any{"period": *desired.Period}); err != nil {
			log.Print(err)
		}
	})
	if err != nil {
		log.Print(err)
	}
}

// One method has a handler of its own, all others share one.
func ExampleHub_HandleMethod() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	hub, err := dial(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	defer hub.Close(ctx)
	reboot := func(context.Context, azure.MethodCall) (int, json.RawMessage) {
		return 202, json.RawMessage(`{"in":"5s"}`)
	}
	unknown := func(_ context.Context, m azure.MethodCall) (int, json.RawMessage) {
		log.Printf("method %s with %s", m.Name, m.Payload)
		return 404, nil
	}
	if err := errors.Join(hub.HandleMethod(ctx, "reboot", reboot), hub.HandleMethod(ctx, azure.AnyMethod, unknown)); err != nil {
		log.Print(err)
	}
}

// A message leaves the hub's queue when the handler returns.
func ExampleHub_OnMessage() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	hub, err := dial(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	defer hub.Close(ctx)
	err = hub.OnMessage(ctx, func(_ context.Context, m azure.Received) {
		log.Printf("%s: %s %v", m.ID, m.Body, m.Properties)
	})
	if err != nil {
		log.Print(err)
	}
}

// A log of any length goes to the hub's storage account; no more than a block of it is in memory.
func ExampleHub_Upload() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	hub, err := dial(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	defer hub.Close(ctx)
	file, err := os.Open("today.log")
	if err != nil {
		log.Print(err)
		return
	}
	defer file.Close()
	uploaded, err := hub.Upload(ctx, azure.File{Name: "logs/today.log", Content: file, ContentType: "text/plain"})
	var refused *azure.UploadError
	if errors.As(err, &refused) {
		log.Printf("%s: %d %s", refused.Step, refused.Status, refused.Code)
	}
	if err != nil {
		log.Print(err)
		return
	}
	log.Printf("%d bytes in %s/%s", uploaded.Size, uploaded.Container, uploaded.Blob)
}

// dial connects the demo device of a fakecloud on this machine.
func dial(ctx context.Context) (*azure.Hub, error) {
	credential, err := azure.SymmetricKey("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	if err != nil {
		return nil, err
	}
	return azure.Dial(ctx, azure.HubConfig{
		Host: "fakecloud-hub.azure-devices.net", GatewayHost: "127.0.0.1", DeviceID: "demo-sas", Credential: credential,
	})
}

func ExampleDeriveDeviceKey() {
	key, err := azure.DeriveDeviceKey(
		"ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAxLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg==", "device-001")
	fmt.Println(key, err)
	// Output: d+XLGuS2T7b8v7TXsSf+PtIWVOUvarQCXwIBe1g9yNU= <nil>
}

func ExampleParseConnectionString() {
	s, err := azure.ParseConnectionString("HostName=fakecloud-hub.azure-devices.net;DeviceId=demo-sas;" +
		"SharedAccessKey=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=;GatewayHostName=127.0.0.1")
	fmt.Println(s.HostName, s.DeviceID, s.GatewayHost, err)
	_, err = azure.ParseConnectionString("HostName=fakecloud-hub.azure-devices.net;DeviceId=demo-sas")
	fmt.Println(err)
	// Output:
	// fakecloud-hub.azure-devices.net demo-sas 127.0.0.1 <nil>
	// azure: connection string: no credential: SharedAccessKey, SharedAccessSignature or x509=true is missing
}
