//go:build vendor

package sdk

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

// session is a device, or device/module, whose program runs with SESSION.
type session struct {
	*running
	cloud     *fakecloud.Cloud
	device    string
	messages  bool   // it takes cloud-to-device messages: no module's SDK does on MQTT but Java's
	since     uint64 // the journal's number before it
	connected bool   // it has twins and methods, and a connection to lose: not over HTTPS
}

// exchange uses all that a hub offers, drops the connection under the program and uses it again.
func (s *session) exchange() {
	s.Helper()
	s.await("connected")
	s.await("ready")
	s.use("first")
	if s.connected {
		s.reconnect()
		s.use("second")
	}
	s.leave()
}

// use sends a message, calls a method and changes desired properties, and sees each arrive.
func (s *session) use(word string) {
	s.Helper()
	if s.messages {
		require.NoError(s, s.cloud.SendC2D(demoHub, s.device, c2d(word)))
		s.await("message", word+" a b&c=d/e")
	}
	if !s.connected {
		return
	}
	s.method("reboot", `{"delay": 5}`)
	interval := map[string]string{"first": "10", "second": "11"}[word]
	_, err := s.cloud.PatchDesired(demoHub, s.device, []byte(`{"interval":`+interval+`}`))
	require.NoError(s, err)
	s.await("desired", interval)
}

func c2d(body string) fakecloud.C2D {
	return fakecloud.C2D{Body: []byte(body), MessageID: "id-" + body, Properties: []fakecloud.C2DProperty{{Name: "p", Value: "a b&c=d/e"}}}
}

// method calls a method, waiting for the device to be there, and sees both ends of it.
func (s *session) method(name, payload string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	answer, err := s.cloud.InvokeMethod(ctx, demoHub, s.device, name, []byte(payload), time.Minute)
	require.NoError(s, err)
	require.Equal(s, 207, answer.Status)
	require.JSONEq(s, `{"ok":true}`, string(answer.Payload))
	require.Contains(s, s.await("method").Text, name)
}

// reconnect cuts the connection; the SDK makes a new one by itself.
func (s *session) reconnect() {
	s.Helper()
	require.NoError(s, s.cloud.Disconnect("iothub", demoHub, s.device))
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	_, err := s.cloud.Await(ctx, fakecloud.Filter{Kind: "connack", Device: s.device, Since: s.since}, 2)
	require.NoError(s, err)
}

// leave tells the program to end, and checks what the hub has of it.
func (s *session) leave() {
	s.Helper()
	if s.messages {
		require.NoError(s, s.cloud.SendC2D(demoHub, s.device, c2d("bye")))
	} else {
		s.method("bye", `null`)
	}
	s.await("done")
	_, code := s.rest()
	require.Zero(s, code)
	sent := s.cloud.Events(fakecloud.Filter{Kind: "telemetry", Device: s.device, Since: s.since})
	require.GreaterOrEqual(s, len(sent), 2)
	require.JSONEq(s, `{"temperature":31}`, string(sent[0].Payload))
	require.JSONEq(s, `{"temperature":32}`, string(sent[len(sent)-1].Payload))
	expectAlert(s.T, sent[0])
	if s.connected {
		twin, err := s.cloud.Twin(demoHub, s.device)
		require.NoError(s, err)
		require.Contains(s, string(twin), `"firmware":"1.2"`)
	}
}

// sessionWorld has identities with a key and with a certificate, devices and modules.
func sessionWorld(t *testing.T, cloud *fakecloud.Cloud) {
	t.Helper()
	require.NoError(t, cloud.PatchWorld(t.Context(), `
azure:
  hubs:
    - name: fakecloud-hub
      devices:
        - deviceId: key
          authentication: {type: sas, symmetricKey: {primaryKey: `+demoKey+`}}
          modules:
            - moduleId: mod
              authentication: {type: sas, symmetricKey: {primaryKey: `+demoKey+`}}
        - deviceId: x509
          authentication: {type: certificateAuthority}
          modules:
            - moduleId: mod
              authentication: {type: certificateAuthority}
`))
}

// sessionCredential is what a program needs to connect as an identity of sessionWorld.
func sessionCredential(t *testing.T, cloud *fakecloud.Cloud, device, module string) map[string]string {
	env := map[string]string{"HUB_HOST": demoHub, "DEVICE_ID": device, "SESSION": "1"}
	name := device
	if module != "" {
		env["MODULE_ID"] = module
		name += "/" + module
	}
	if device == "key" {
		env["DEVICE_KEY"] = demoKey
		return env
	}
	return with(env, x509Device(t, cloud, name))
}

// Telemetry, messages, methods and twins of devices and modules by the SDKs for Python and Node, on each
// transport with each credential, before and after a lost connection.
func TestAzureSDKsUseAHub(t *testing.T) {
	for _, p := range programs() {
		for _, transport := range []string{"mqtt", "ws", "http"} {
			if transport == "http" && p.name == "python" {
				continue // the SDK has none
			}
			for _, credential := range []string{"key", "x509"} {
				for _, module := range []string{"", "mod"} {
					if module != "" && transport == "http" {
						continue // neither methods nor messages: nothing to use
					}
					if module != "" && p.name == "node" && credential == "x509" {
						continue // the SDK's ModuleClient has SAS alone
					}
					t.Run(joined(p.name, transport, credential, module), func(t *testing.T) {
						cloud := real(t)
						sessionWorld(t, cloud)
						s := &session{cloud: cloud, device: credential, messages: module == "", connected: transport != "http"}
						if module != "" {
							s.device += "/" + module
						}
						env := with(trust(t, cloud), sessionCredential(t, cloud, credential, module))
						env["TRANSPORT"] = transport
						s.running = p.start(t, env)
						s.exchange()
					})
				}
			}
		}
	}
}
