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
		for _, name := range doors {
			for _, transport := range []string{"ws", "http"} {
				if transport == "http" && p.name == "python" {
					continue // the SDK has none
				}
				for _, credential := range []string{"x509", "key"} {
					t.Run(joined(p.name, name, transport, credential), func(t *testing.T) {
						cloud, door := through(t, name)
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

// upload is a file that a device uploads.
type upload struct {
	transport, credential string // of the device; the file goes by HTTPS
	size                  int
}

// A file by the SDKs' own storage clients, small in one request and large in blocks, with each credential and from
// each transport; the admin API reads it back.
func TestAzureSDKsUploadFiles(t *testing.T) {
	for _, p := range programs() {
		uploads := []upload{{"mqtt", "key", 9 << 20}}
		for _, transport := range p.transports() {
			uploads = append(uploads, upload{transport, "key", 5}, upload{transport, "x509", 5})
		}
		for _, u := range uploads {
			t.Run(joined(p.name, u.transport, u.credential, strconv.Itoa(u.size)), func(t *testing.T) {
				cloud, host := beside(t)
				sessionWorld(t, cloud)
				env := with(trust(t, cloud), sessionCredential(t, cloud, u.credential, ""))
				file := write(t, "upload.bin", bytes.Repeat([]byte("x"), u.size))
				steps, code := p.run(t, with(env, map[string]string{"HUB_HOST": host, "TRANSPORT": u.transport, "SESSION": "",
					"UPLOAD": "logs/upload.bin", "UPLOAD_FILE": file}))
				require.Zero(t, code)
				require.Equal(t, step{Step: "uploaded", Text: strconv.Itoa(u.size)}, steps[len(steps)-1])
				uploaded(t, cloud, 0, u.credential, "logs/upload.bin", u.size)
			})
		}
	}
}

// uploaded checks what the journal tells of an upload, and reads the file back.
func uploaded(t *testing.T, cloud *fakecloud.Cloud, since uint64, device, name string, size int) {
	t.Helper()
	var said []string
	for _, e := range cloud.Events(fakecloud.Filter{Kind: "file", Device: device, Since: since}) {
		said = append(said, e.Detail)
	}
	require.Contains(t, said, "blob of "+strconv.Itoa(size)+" bytes written")
	require.Equal(t, "upload done", said[len(said)-1])
	_, content, err := cloud.Plane().Hubs.File(demoHub, device+"/"+name)
	require.NoError(t, err)
	require.True(t, bytes.Equal(bytes.Repeat([]byte("x"), size), content), "%d bytes, expected %d", len(content), size)
}
