//go:build vendor

package sdk

import (
	"bytes"
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The default world's public, test-only values.
const (
	idScope   = "0ne00FAKE01"
	demoHub   = "fakecloud-hub.azure-devices.net"
	demoKey   = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	groupKey  = "ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAxLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg=="
	globalDPS = "global.azure-devices-provisioning.net"
)

// trust returns the settings that make both SDKs trust the instance.
func trust(t *testing.T, cloud *fakecloud.Cloud) map[string]string {
	ca := write(t, "ca.pem", cloud.RootsPEM())
	return map[string]string{"CA_FILE": ca, "NODE_EXTRA_CA_CERTS": ca}
}

func deviceKey(t *testing.T, id string) string {
	t.Helper()
	key, err := azure.DeriveDeviceKey(groupKey, id)
	require.NoError(t, err)
	return key
}

func x509Device(t *testing.T, cloud *fakecloud.Cloud, cn string) map[string]string {
	device, err := cloud.IssueDevice(cn)
	require.NoError(t, err)
	return map[string]string{
		"CERT_FILE": write(t, "device.pem", device.ChainPEM()),
		"KEY_FILE":  write(t, "device.key", device.KeyPEM()),
	}
}

// Seed 002: group enrollment by CA or key, register, telemetry with a property.
func TestAzureSDKsProvisionAndSend(t *testing.T) {
	for _, p := range programs() {
		for _, name := range doors {
			for _, credential := range []string{"x509", "key"} {
				t.Run(p.name+"/"+name+"/"+credential, func(t *testing.T) {
					cloud, door := through(t, name)
					id := "sdk-" + p.name + "-" + credential
					env := with(trust(t, cloud), map[string]string{
						"PROVISIONING_HOST": door.dps, "PROVISIONING_IDSCOPE": idScope, "PROVISIONING_REGISTRATION_ID": id,
					})
					if credential == "x509" {
						env = with(env, x509Device(t, cloud, id))
					} else {
						env["DEVICE_KEY"] = deviceKey(t, id)
					}
					steps, code := p.run(t, env)
					require.Zero(t, code)
					require.Len(t, steps, 3)
					require.Equal(t, step{Step: "registered", Status: "assigned", Hub: door.hub, Device: id},
						step{Step: steps[0].Step, Status: steps[0].Status, Hub: steps[0].Hub, Device: steps[0].Device})
					require.Equal(t, "sent", steps[2].Step)
					expectTelemetry(t, cloud, id)
				})
			}
		}
	}
}

// doors are the ways to an instance: by the vendors' names, or by a loopback address.
var doors = []string{"vendor names", "loopback"}

// door is how DPS is reached, and what hub it assigns to who comes that way.
type door struct{ dps, hub string }

// through starts fakecloud behind a door; a loopback address is of the test alone, which runs beside others.
func through(t *testing.T, name string) (*fakecloud.Cloud, door) {
	t.Helper()
	if name == "loopback" {
		cloud, host := beside(t)
		return cloud, door{host, host}
	}
	return real(t), door{globalDPS, demoHub}
}

// expectTelemetry reads the event that the program sent from the journal.
func expectTelemetry(t *testing.T, cloud *fakecloud.Cloud, device string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	events, err := cloud.Await(ctx, fakecloud.Filter{Kind: "telemetry", Device: device}, 1)
	require.NoError(t, err)
	require.JSONEq(t, `{"temperature":31}`, string(events[0].Payload))
	expectAlert(t, events[0])
	require.Equal(t, "application/json", events[0].Properties["content-type"])
}

// expectAlert finds the program's application property; over HTTPS names come in lower case.
func expectAlert(t *testing.T, e fakecloud.Event) {
	t.Helper()
	require.Equal(t, "true", e.Properties["temperatureAlert"]+e.Properties["temperaturealert"])
}

// A connection string with GatewayHostName=127.0.0.1 reaches the hub with nothing else set.
func TestAzureSDKsReachTheHubByGatewayHostName(t *testing.T) {
	for _, p := range programs() {
		t.Run(p.name, func(t *testing.T) {
			cloud := real(t)
			steps, code := p.run(t, with(trust(t, cloud), map[string]string{
				"HUB_HOST": demoHub, "DEVICE_ID": "demo-sas", "DEVICE_KEY": demoKey, "GATEWAY_HOST": "127.0.0.1",
			}))
			require.Zero(t, code)
			require.Equal(t, "sent", steps[len(steps)-1].Step)
			expectTelemetry(t, cloud, "demo-sas")
		})
	}
}

// wrongKey is a key of nobody.
var wrongKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 32))

// Wrong credentials fail in the SDK's own words on every transport, and the journal names the rule.
func TestAzureSDKsAreRefused(t *testing.T) {
	cases := []struct {
		name string
		env  func(t *testing.T, cloud *fakecloud.Cloud, host string) map[string]string
		rule rule.ID
		fail map[string]string // the SDK's own error class
	}{
		{"dps wrong key", func(t *testing.T, cloud *fakecloud.Cloud, host string) map[string]string {
			return map[string]string{"PROVISIONING_HOST": host, "PROVISIONING_IDSCOPE": idScope,
				"PROVISIONING_REGISTRATION_ID": "sdk-bad", "DEVICE_KEY": wrongKey}
		}, "DPS-15", map[string]string{"python": "ClientError", "node": "UnauthorizedError"}},
		{"dps wrong cn", func(t *testing.T, cloud *fakecloud.Cloud, host string) map[string]string {
			return with(x509Device(t, cloud, "somebody-else"), map[string]string{"PROVISIONING_HOST": host,
				"PROVISIONING_IDSCOPE": idScope, "PROVISIONING_REGISTRATION_ID": "sdk-bad"})
		}, "DPS-21", map[string]string{"python": "ClientError", "node": "UnauthorizedError"}},
		{"hub wrong key", func(t *testing.T, cloud *fakecloud.Cloud, host string) map[string]string {
			return map[string]string{"HUB_HOST": host, "DEVICE_ID": "demo-sas", "DEVICE_KEY": wrongKey}
		}, "HUB-5", map[string]string{"python": "CredentialError", "node": "UnauthorizedError"}},
		{"hub unknown certificate", func(t *testing.T, cloud *fakecloud.Cloud, host string) map[string]string {
			return with(x509Device(t, cloud, "demo-sas"), map[string]string{"HUB_HOST": host, "DEVICE_ID": "demo-sas"})
		}, "HUB-15", map[string]string{"python": "CredentialError", "node": "UnauthorizedError"}},
	}
	for _, p := range programs() {
		for _, transport := range p.transports() {
			for _, c := range cases {
				t.Run(joined(p.name, transport, c.name), func(t *testing.T) {
					cloud, host := beside(t)
					env := with(trust(t, cloud), c.env(t, cloud, host))
					env["TRANSPORT"] = transport
					steps, code := p.run(t, env)
					require.Equal(t, 3, code)
					require.NotEmpty(t, steps)
					last := steps[len(steps)-1]
					require.Equal(t, "failed", last.Step)
					require.Equal(t, c.fail[p.name], last.Error)
					refused := cloud.Events(fakecloud.Filter{Kind: "refused", Rule: c.rule})
					require.NotEmpty(t, refused, "the journal names %s", c.rule)
					require.NotEmpty(t, refused[0].Fix)
				})
			}
		}
	}
}
