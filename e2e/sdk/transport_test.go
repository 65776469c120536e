//go:build vendor

package sdk

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

// MQTT over WebSocket and HTTPS, from provisioning to the first message.
func TestAzureSDKsOverWebSocketAndHTTPS(t *testing.T) {
	for _, p := range programs() {
		for _, door := range []struct{ name, dps, hub string }{
			{"vendor names", globalDPS, demoHub}, {"loopback", "127.0.0.1", "127.0.0.1"},
		} {
			for _, transport := range []string{"ws", "http"} {
				if transport == "http" && p.name == "python" {
					continue // the SDK has none
				}
				for _, credential := range []string{"x509", "key"} {
					t.Run(strings.Join([]string{p.name, door.name, transport, credential}, "/"), func(t *testing.T) {
						cloud := real(t)
						id := strings.Join([]string{"sdk", p.name, transport, credential}, "-")
						env := with(trust(t, cloud), map[string]string{"TRANSPORT": transport,
							"PROVISIONING_HOST": door.dps, "PROVISIONING_IDSCOPE": idScope, "PROVISIONING_REGISTRATION_ID": id,
						})
						if credential == "x509" {
							env = with(env, x509Device(t, cloud, id))
						} else {
							env["DEVICE_KEY"] = deviceKey(t, id)
						}
						steps, code := p.run(t, env)
						require.Zero(t, code)
						require.Equal(t, door.hub, steps[0].Hub)
						require.Equal(t, "sent", steps[len(steps)-1].Step)
						kind := "ws"
						if transport == "http" {
							kind = "http"
						}
						require.NotEmpty(t, cloud.Events(fakecloud.Filter{Match: func(e *fakecloud.Event) bool { return string(e.Kind) == kind }}))
						require.NotEmpty(t, cloud.Events(fakecloud.Filter{Kind: "telemetry", Device: id}))
					})
				}
			}
		}
	}
}

// A file by the SDKs' own storage clients, small in one request and large in blocks.
func TestAzureSDKsUploadFiles(t *testing.T) {
	for _, p := range programs() {
		for _, size := range []int{5, 9 << 20} {
			t.Run(p.name+"/"+strconv.Itoa(size), func(t *testing.T) {
				cloud := real(t)
				file := write(t, "upload.bin", bytes.Repeat([]byte("x"), size))
				steps, code := p.run(t, with(trust(t, cloud), map[string]string{"HUB_HOST": demoHub, "DEVICE_ID": "demo-sas", "DEVICE_KEY": demoKey,
					"UPLOAD": "logs/upload.bin", "UPLOAD_FILE": file}))
				require.Zero(t, code)
				require.Equal(t, step{Step: "uploaded", Text: strconv.Itoa(size)}, steps[len(steps)-1])
				var said []string
				for _, e := range cloud.Events(fakecloud.Filter{Kind: "file", Device: "demo-sas"}) {
					said = append(said, e.Detail)
				}
				require.Contains(t, said, "blob of "+strconv.Itoa(size)+" bytes written")
				require.Equal(t, "upload done", said[len(said)-1])
			})
		}
	}
}
