//go:build vendor

package sdk

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// ownerString is the default world's connection string of iothubowner.
const ownerString = "HostName=" + demoHub + ";SharedAccessKeyName=iothubowner;SharedAccessKey=ZmFrZWNsb3VkLXRlc3Qta2V5LWlvdGh1Ym93bmVyLTEtLS0tLS0tLS0tLS0="

// backends are service programs with what each prints, step by step: status, device, error and text, as
// far as they are given.
var backends = []struct {
	program
	want []step
}{
	{program{"python", []string{python(), "python/service.py"}}, []step{
		{Step: "create", Status: "enabled", Device: "py-1", Text: "sas"},
		{Step: "create again", Status: "409", Error: "DeviceAlreadyExists"},
		{Step: "create x509", Text: strings.Repeat("A", 40)},
		{Step: "create ca", Text: "certificateAuthority"},
		{Step: "update", Status: "disabled", Text: "sold"},
		{Step: "update stale", Status: "412", Error: "PreconditionFailed"},
		{Step: "module", Device: "mod", Text: "mod"},
		{Step: "twin", Status: "5", Text: `{"site": "here"}`},
		{Step: "twin replaced", Status: "False", Text: `{"site": "there"}`},
		{Step: "twin stale", Status: "412", Error: "PreconditionFailed"},
		{Step: "module twin", Text: "1"},
		{Step: "method", Status: "207", Text: `{"ok": true}`},
		{Step: "method offline", Status: "404", Error: "DeviceNotOnline"},
		{Step: "query", Text: `[["py-1", "py-2"], ["py-3"]]`},
		{Step: "query syntax", Status: "400", Error: "ArgumentInvalid"},
		{Step: "bulk", Status: "True"},
		{Step: "bulk again", Status: "False", Text: "bulk-1"},
		{Step: "statistics", Status: "1", Text: "1"},
		{Step: "job", Status: "completed", Text: "1"},
		{Step: "job done", Text: `{"job": true, "site": "there"}`},
		{Step: "configuration", Status: "5", Text: "py-config"},
		{Step: "configured", Text: `{"on": true}`},
		{Step: "reconfigured", Text: "7"},
		{Step: "reconfigured stale", Status: "412", Error: "PreconditionFailed"},
		{Step: "condition tested", Text: "True"},
		{Step: "applied", Text: "True"},
		{Step: "configurations", Text: "0"},
		{Step: "job cancelled", Status: "cancelled"},
		{Step: "export", Status: "completed", Text: "4"},
		{Step: "import", Status: "completed", Text: `{"site": "new"}`},
		{Step: "import errors", Text: "no such id"},
		{Step: "transfers", Text: "2"},
		{Step: "deleted", Status: "404", Error: "DeviceNotFound"},
	}},
	{program{"node", []string{"node", "node/service.js"}}, []step{
		{Step: "create", Status: "enabled", Device: "js-1", Text: "sas"},
		{Step: "create again", Error: "DeviceAlreadyExistsError"},
		{Step: "unknown", Error: "DeviceNotFoundError"},
		{Step: "update", Text: "moved"},
		{Step: "bad thumbprint", Error: "ArgumentError"},
		{Step: "bulk", Status: "true"},
		{Step: "bulk again", Error: "ArgumentError"},
		{Step: "list", Text: "4"},
		{Step: "module", Device: "mod", Text: "mod"},
		{Step: "twin", Status: "5", Text: `{"site":"here"}`},
		{Step: "twin stale", Error: "InvalidEtagError"},
		{Step: "module twin", Text: "1"},
		{Step: "query", Text: `[["js-1","js-2","js-3"],["js-4"]]`},
		{Step: "count", Text: `[{"n":1}]`},
		{Step: "query syntax", Error: "ArgumentError"},
		{Step: "method", Status: "207", Text: `{"ok":true}`},
		{Step: "method offline", Error: "Error", Text: "Not found"},
		{Step: "job", Status: "completed", Text: "1"},
		{Step: "jobs", Text: "js-job"},
		{Step: "configuration", Device: "js-config", Text: "1.0"},
		{Step: "applied", Text: "true"},
		{Step: "method job", Status: "completed", Text: "1"},
		{Step: "job cancelled", Status: "cancelled"},
		{Step: "job unknown", Error: "Error"},
		{Step: "export", Status: "completed"},
		{Step: "import", Status: "completed", Text: "js-4"},
		{Step: "transfers", Text: "2"},
		{Step: "export elsewhere", Error: "ArgumentError"},
		{Step: "statistics", Text: "0"},
		{Step: "deleted", Error: "DeviceNotFoundError"},
		{Step: "wrong key", Error: "UnauthorizedError", Text: "Unauthorized"},
	}},
}

// The service SDKs manage a hub over HTTPS on 443, and call a method of a device on MQTT.
func TestAzureServiceSDKs(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			cloud := real(t)
			answerMethods(t, cloud)
			env := trust(t, cloud)
			container, err := cloud.BlobContainer(demoHub, b.name+"-transfers", time.Hour)
			require.NoError(t, err)
			steps, code := b.run(t, with(env, map[string]string{
				"IOTHUB_CONNECTION_STRING": ownerString, "DEVICE_ID": "demo-sas", "REQUESTS_CA_BUNDLE": env["CA_FILE"], "CONTAINER_URI": container,
			}))
			require.Zero(t, code)
			wantSteps(t, b.want, steps)
		})
	}
}

// wantSteps compares what a program printed; a text is compared where one is given.
func wantSteps(t *testing.T, want, got []step) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		w, g := want[i], got[i]
		require.Equal(t, w.Step, g.Step)
		require.Equal(t, w.Status, g.Status, w.Step)
		require.Equal(t, w.Device, g.Device, w.Step)
		require.Equal(t, w.Error, g.Error, w.Step)
		if w.Text != "" {
			require.Equal(t, w.Text, g.Text, w.Step)
		}
	}
	require.Len(t, got, len(want))
}

// answerMethods connects demo-sas, which answers every method with 207.
func answerMethods(t *testing.T, cloud *fakecloud.Cloud) {
	t.Helper()
	raw, err := net.Dial("tcp", cloud.MQTTSAddr())
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cloud.RootsPEM()))
	conn := rawmqtt.New(tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: demoHub}))
	username := demoHub + "/demo-sas/?api-version=2021-04-12"
	token := deviceToken(t, "demo-sas")
	_, err = conn.Write(rawmqtt.Connect{ClientID: "demo-sas", Username: &username, Password: &token}.Bytes())
	require.NoError(t, err)
	_, err = conn.Write(rawmqtt.Subscribe(1, 0, "$iothub/methods/POST/#"))
	require.NoError(t, err)
	for range 2 { // CONNACK and SUBACK
		_, err := conn.Read()
		require.NoError(t, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			p, err := conn.Read()
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				continue // the program takes its time
			}
			_, rid, _ := strings.Cut(p.Topic(), "$rid=")
			_, _ = conn.Write(rawmqtt.Publish("$iothub/methods/res/207/?$rid="+rid, `{"ok":true}`, 0, 0, false)) // seen by the program
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
}

// deviceToken signs for a device of demoHub with demoKey.
func deviceToken(t *testing.T, device string) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(demoKey)
	require.NoError(t, err)
	sr, se := url.QueryEscape(demoHub+"/devices/"+device), strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(sr + "\n" + se))
	return "SharedAccessSignature sr=" + sr + "&sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))) + "&se=" + se
}
