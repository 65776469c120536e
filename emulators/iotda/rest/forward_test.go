package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// poster is an iotda.Poster without limits.
type poster struct{ client *http.Client }

func (p poster) Post(ctx context.Context, url string, body []byte) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := p.client.Do(r)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

// application receives notifications; it answers with what the test says.
func application(t *testing.T) (url string, bodies chan string, status chan int) {
	t.Helper()
	bodies, status = make(chan string, 10), make(chan int, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err == nil {
			bodies <- string(b)
		}
		w.WriteHeader(<-status)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/notify?token=hush", bodies, status
}

func (a *api) wait(f journal.Filter) journal.Event {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 10*time.Second)
	defer cancel()
	events, _, err := a.journal.Wait(ctx, f, 1)
	require.NoError(a.t, err, "no %+v", f)
	return events[0]
}

// route makes an active rule for property reports with one action.
func (a *api) route(url string) (rulePath, actionPath string) {
	a.t.Helper()
	r := a.must(201, "POST", "/routing-rule/rules", `{"rule_name":"r","subject":{"resource":"device.property","event":"report"},"app_type":"GLOBAL"}`)
	require.Equal(a.t, false, r["active"])
	rulePath = "/routing-rule/rules/" + r["rule_id"].(string)
	body, err := json.Marshal(map[string]any{"rule_id": r["rule_id"], "channel": "HTTP_FORWARDING", "channel_detail": map[string]any{"http_forwarding": map[string]any{"url": url}}})
	require.NoError(a.t, err)
	action := a.must(201, "POST", "/routing-rule/actions", string(body))
	require.Equal(a.t, true, a.must(200, "PUT", rulePath, `{"active":true}`)["active"])
	return rulePath, "/routing-rule/actions/" + action["action_id"].(string)
}

func (a *api) report(session *iotda.Session, topic string) {
	session.Publish("$oc/devices/demo_node1/sys/properties/report"+topic, []byte(`{"services":[{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"20151212T121212Z"}]}`))
}

// DA-57: a report reaches the application as JSON; what it does not take is explained.
func TestForwarding(t *testing.T) {
	t.Parallel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a := newForwardingAPI(t, poster{client})
	a.must(201, "POST", "/products", seedProduct)
	a.must(201, "POST", "/devices", `{"node_id":"node1","product_id":"demo"}`)
	url, bodies, status := application(t)
	rulePath, actionPath := a.route(url)
	_, session := a.connect("demo_node1")
	defer session.Close()

	status <- 200
	before := a.journal.Last()
	a.report(session, "?request_id=abc")
	var n struct {
		Resource, Event string
		RequestID       string `json:"request_id"`
		NotifyData      struct {
			Header map[string]any
			Body   json.RawMessage
		} `json:"notify_data"`
	}
	require.NoError(t, json.Unmarshal([]byte(<-bodies), &n))
	require.Equal(t, []string{"device.property", "report", "abc", "demo_node1"}, []string{n.Resource, n.Event, n.RequestID, n.NotifyData.Header["device_id"].(string)})
	require.Equal(t, `{"services":[{"service_id":"Battery","properties":{"batteryLevel":80},"event_time":"20151212T121212Z"}]}`, string(n.NotifyData.Body))
	sent := a.wait(journal.Filter{Kind: journal.HTTP, Since: before})
	require.Equal(t, journal.Out, sent.Dir)
	require.NotContains(t, sent.Topic, "hush")

	status <- 500
	a.report(session, "")
	<-bodies
	require.Equal(t, "status 500", a.wait(journal.Filter{Rule: "DA-57/status"}).Seen)
	require.Len(t, a.must(200, "GET", "/routing-rule/rules?resource=device.property", "")["rules"], 1)
	a.must(200, "PUT", actionPath, `{"channel":"HTTP_FORWARDING","channel_detail":{"http_forwarding":{"url":"http://127.0.0.1:1/x"}}}`)
	a.report(session, "")
	a.wait(journal.Filter{Rule: "DA-57/unreachable"})
	a.must(200, "PUT", rulePath, `{"active":false}`)
	a.report(session, "")
	require.EqualValues(t, 1, a.must(200, "GET", "/routing-rule/actions", "")["count"])
	a.must(204, "DELETE", rulePath, "")
	a.fails(404, "IOTDA.000005", "GET", actionPath, "")
	a.fails(400, "IOTDA.000006", "POST", "/routing-rule/rules", `{"rule_name":"r","subject":{"resource":"device.property","event":"report"},"where":"x="}`)
	rule.Proves(t, "DA-57", "DA-57/status", "DA-57/unreachable")
}

// DA-57/full, DA-57/outbound: an application that never answers, and an instance without outbound calls.
func TestForwardingLimits(t *testing.T) {
	t.Parallel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a := newForwardingAPI(t, poster{client})
	a.must(201, "POST", "/products", seedProduct)
	a.must(201, "POST", "/devices", `{"node_id":"node1","product_id":"demo"}`)
	url, bodies, status := application(t)
	a.route(url)
	_, session := a.connect("demo_node1")
	defer session.Close()
	for range 1001 {
		a.report(session, "")
	}
	<-bodies // one arrived, a thousand in all are held
	a.wait(journal.Filter{Rule: "DA-57/full"})
	a.Service.Close()
	status <- 200

	b := newAPI(t)
	b.must(201, "POST", "/products", seedProduct)
	b.must(201, "POST", "/devices", `{"node_id":"node1","product_id":"demo"}`)
	url, bodies, _ = application(t)
	b.route(url)
	_, other := b.connect("demo_node1")
	defer other.Close()
	b.report(other, "")
	b.wait(journal.Filter{Rule: "DA-57/outbound"})
	require.Empty(t, bodies)
	rule.Proves(t, "DA-57/full", "DA-57/outbound")
}
