package azure_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
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
