package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// backend is a client of a hub's service API over TLS.
type backend struct {
	t     *testing.T
	http  *http.Client
	base  string
	token string
}

// newBackend signs with contoso's owner policy. host is a vendor's name, or 127.0.0.1 for the port itself.
func newBackend(t *testing.T, cloud *fakecloud.Cloud, host string) *backend {
	t.Helper()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cloud.RootsPEM()))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DialContext: cloud.DialContext}
	base := "https://" + host
	if host == "127.0.0.1" {
		transport.DialContext = nil
		base = "https://" + net.JoinHostPort(host, strconv.Itoa(cloud.Ports().HTTPS[0]))
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &backend{t: t, http: &http.Client{Transport: transport, Timeout: rawmqtt.Patience}, base: base,
		token: sign(host, demoKey, time.Now().Add(time.Hour).Unix(), "iothubowner")}
}

// do sends a request and returns the answer with its body as JSON.
func (b *backend) do(method, path, body string, headers ...string) (*http.Response, map[string]any) {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path+"?api-version=2021-04-12", strings.NewReader(body))
	require.NoError(b.t, err)
	request.Header.Set("Authorization", b.token)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := b.http.Do(request)
	require.NoError(b.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(b.t, err)
	var v map[string]any
	if len(text) > 0 && text[0] == '{' {
		require.NoError(b.t, json.Unmarshal(text, &v), "%s", text)
	}
	return answer, v
}

// A back end and a device of its making: what the one does reaches the other.
func TestServiceAndDevice(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	b := newBackend(t, cloud, contosoHost)
	for _, id := range []string{"plain", "a+b(c)=d", "it's#1,@*!"} {
		answer, created := b.do("PUT", "/devices/"+url.PathEscape(id), `{"deviceId":"`+id+`","authentication":{"symmetricKey":{"primaryKey":"`+demoKey+`","secondaryKey":"`+demoKey+`"}}}`)
		require.Equal(t, 200, answer.StatusCode, created)
		username, token := contosoHost+"/"+id+"/?api-version=2021-04-12", sign(contosoHost+"/devices/"+id, demoKey, time.Now().Add(time.Hour).Unix(), "")
		conn := knock(t, cloud, rawmqtt.Connect{ClientID: id, Username: &username, Password: &token})
		wantConnack(t, conn, 0)
		send(t, conn, rawmqtt.Subscribe(1, 0, "$iothub/methods/POST/#"))
		wantBytes(t, conn, 0x90, 0x03, 0x00, 0x01, 0x00)
		_, twin := b.do("GET", "/twins/"+url.PathEscape(id), "")
		require.Equal(t, "Connected", twin["connectionState"])
	}
	rule.Proves(t, "SVC-39")
	answer, counts := b.do("GET", "/statistics/service", "")
	require.Equal(t, 200, answer.StatusCode)
	require.EqualValues(t, 3, counts["connectedDeviceCount"])
}

// Desired properties and methods of a back end reach a device on MQTT, and its answers the back end.
func TestServiceTwinAndMethod(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	b := newBackend(t, cloud, "127.0.0.1")
	conn := signIn(t, cloud, dev01())
	send(t, conn, rawmqtt.Subscribe(1, 0, "$iothub/twin/PATCH/properties/desired/#", "$iothub/methods/POST/#"))
	wantBytes(t, conn, 0x90, 0x04, 0x00, 0x01, 0x00, 0x00)
	answer, twin := b.do("PATCH", "/twins/dev-01", `{"properties":{"desired":{"rate":5}}}`, "If-Match", `"*"`)
	require.Equal(t, 200, answer.StatusCode)
	require.Equal(t, `"`+twin["etag"].(string)+`"`, answer.Header.Get("ETag"))
	got := receive(t, conn)
	require.Equal(t, "$iothub/twin/PATCH/properties/desired/?$version=2", got.Topic())
	require.JSONEq(t, `{"rate":5,"$version":2}`, got.Payload())

	type result struct {
		status int
		body   map[string]any
	}
	results := make(chan result, 1)
	go func() {
		answer, body := b.do("POST", "/twins/dev-01/methods", `{"methodName":"reboot","payload":{"in":5},"responseTimeoutInSeconds":10}`)
		results <- result{answer.StatusCode, body}
	}()
	got = receive(t, conn)
	require.JSONEq(t, `{"in":5}`, got.Payload())
	rid, found := strings.CutPrefix(got.Topic(), "$iothub/methods/POST/reboot/?$rid=")
	require.True(t, found, got.Topic())
	send(t, conn, rawmqtt.Publish("$iothub/methods/res/207/?$rid="+rid, `{"ok":true}`, 0, 0, false))
	r := <-results
	require.Equal(t, 200, r.status)
	require.Equal(t, map[string]any{"status": 207.0, "payload": map[string]any{"ok": true}}, r.body)

	answer, _ = b.do("PUT", "/devices/dev-01", `{"deviceId":"dev-01","status":"disabled","authentication":{"symmetricKey":{"primaryKey":"`+demoKey+`","secondaryKey":"`+secondKey+`"}}}`, "If-Match", `"*"`)
	require.Equal(t, 200, answer.StatusCode)
	wantClosed(t, conn)
	again := knock(t, cloud, dev01())
	wantConnack(t, again, 3)
	refused(t, cloud, "HUB-12/disabled")
}

// A wrong key at the service API is a 401, and the journal says why.
func TestServiceTokenRefused(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	b := newBackend(t, cloud, contosoHost)
	b.token = sign(contosoHost, secondKey, time.Now().Add(time.Hour).Unix(), "service")
	answer, body := b.do("GET", "/twins/dev-01", "")
	require.Equal(t, 401, answer.StatusCode)
	require.Equal(t, "IotHubUnauthorized", answer.Header.Get("iothub-errorcode"))
	require.Equal(t, "ErrorCode:IotHubUnauthorized;Unauthorized", body["Message"])
	refused(t, cloud, "SVC-29/signature")
}
