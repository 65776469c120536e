package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// custom is a world whose group demo-symmetric asks a webhook; the default world's hub is the second choice.
func custom(url string) string {
	return fmt.Sprintf(`
azure:
  hubs: [{name: second}]
  dps:
    - name: fakecloud-dps
      linkedHubs: [fakecloud-hub, second]
      groups:
        - name: demo-symmetric
          attestation: {symmetricKey: {primaryKey: %s}}
          allocationPolicy: custom
          customAllocationDefinition: {webhookUrl: %q, apiVersion: 2021-10-01}
`, groupKey, url)
}

// settled registers and polls until the answer is final, which is when the webhook has answered.
func settled(t *testing.T, c *rawmqtt.Conn, body string) (registration, string) {
	t.Helper()
	operation := wantAssigning(t, register(t, c, body))
	for {
		p := poll(t, c, operation)
		if p.Topic() == "$dps/registrations/res/200/?$rid=p-1" {
			var r registration
			require.NoError(t, json.Unmarshal([]byte(p.Payload()), &r))
			return r, p.Payload()
		}
		require.Equal(t, "$dps/registrations/res/202/?$rid=p-1&retry-after=3", p.Topic())
	}
}

// DPS-31: the webhook chooses the hub and the twin; what it says to the device reaches it.
func TestDPSCustomAllocation(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 2)
	function := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- r.URL.String() + " " + string(body)
		_, _ = io.WriteString(w, `{"iotHubHostName":"second.azure-devices.net","initialTwin":{"properties":{"desired":{"state":"ready"}}},"payload":{"hall":3}}`)
	}))
	t.Cleanup(function.Close)
	cloud := fakecloud.Start(t, fakecloud.WithWorld(custom(function.URL+"/api/allocate?code=geheim")))
	id := "toaster-1"
	key := hmacKey(t, groupKey, id)
	token := registrationToken(t, key, idScope, id)
	r, body := settled(t, enrollee{id: id, token: &token}.open(t, cloud), `{"registrationId":"toaster-1","payload":{"model":"toaster"}}`)
	require.Equal(t, "assigned", r.Status, body)
	require.Equal(t, "second.azure-devices.net", r.State.AssignedHub)
	var said struct {
		State struct{ Payload map[string]any } `json:"registrationState"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &said))
	require.Equal(t, map[string]any{"hall": 3.0}, said.State.Payload)
	call := <-asked
	require.Contains(t, call, "/api/allocate?code=geheim ")
	require.Contains(t, call, `"deviceRuntimeContext":{"registrationId":"toaster-1","symmetricKey":{},"payload":{"model":"toaster"}},"linkedHubs":["fakecloud-hub.azure-devices.net","second.azure-devices.net"]`)
	require.NotContains(t, call, groupKey)
	events := cloud.Events(fakecloud.Filter{Kind: "http", Device: id})
	require.Len(t, events, 1)
	require.Equal(t, "POST "+function.URL+"/api/allocate", events[0].Topic)
	require.Equal(t, 200, *events[0].Code)

	hubToken := sasFor(t, key, otherHub+"%2Fdevices%2F"+id, farFuture, "")
	c := hubConnect(t, dial(t, cloud, via{name: otherHub}), otherHub, id, &hubToken)
	require.JSONEq(t, `{"desired":{"state":"ready","$version":1},"reported":{"$version":1}}`, twin(t, c))
	rule.Proves(t, "DPS-31")
}

// A webhook that does not do its part is a failed registration with 400209, and the journal says which part.
func TestDPSCustomAllocationFails(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // a free port could soon be somebody else's
	require.NoError(t, err)
	t.Cleanup(func() { mute.Close() })
	go func() {
		for conn, err := mute.Accept(); err == nil; conn, err = mute.Accept() {
			conn.Close()
		}
	}()
	for name, c := range map[string]struct {
		url     string // empty: a function that answers
		status  int
		answer  string
		id      rule.ID
		message string
	}{
		"status":      {"", 500, "", "DPS-31/status", "Custom allocation failed with status code: 500"},
		"redirect":    {"", 302, "", "DPS-31/status", "Custom allocation failed with status code: 302"},
		"answer":      {"", 200, "<html>", "DPS-31/answer", "Custom allocation failed: the response is not valid."},
		"hub":         {"", 200, `{"iotHubHostName":"other.azure-devices.net"}`, "DPS-31/hub", "Custom allocation failed: the IoT hub is not linked."},
		"unreachable": {"http://" + mute.Addr().String() + "/", 0, "", "DPS-31/unreachable", "Custom allocation failed: the webhook did not answer."},
		"outbound":    {"http://198.51.100.1/", 0, "", "DPS-31/outbound", "Custom allocation failed: the webhook was not called."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.url == "" {
				function := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Location", "http://198.51.100.1/")
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.answer)
				}))
				t.Cleanup(function.Close)
				c.url = function.URL
			}
			cloud := fakecloud.Start(t)
			b := newRegistrar(t, cloud, serviceDPS) // whose hosts are not allowed thereby
			answer, made := b.do("PUT", "/enrollments/dev-1", fmt.Sprintf(`{"attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":%q}},
				"allocationPolicy":"custom","customAllocationDefinition":{"webhookUrl":%q,"apiVersion":"2021-10-01"}}`, demoKey, c.url))
			require.Equal(t, 200, answer.StatusCode, made)
			require.Equal(t, map[string]any{"webhookUrl": c.url, "apiVersion": "2021-10-01"}, made["customAllocationDefinition"])
			token := registrationToken(t, demoKey, idScope, "dev-1")
			r, body := settled(t, enrollee{id: "dev-1", token: &token}.open(t, cloud), "")
			require.Equal(t, "failed", r.Status)
			require.Equal(t, 400209, r.State.ErrorCode, body)
			require.Equal(t, c.message, r.State.ErrorMessage)
			refused(t, cloud, c.id)
			if name == "outbound" {
				refused(t, cloud, "OUT-1/host")
			}
		})
	}
}
