package control

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testRules = []rule.Rule{
	{ID: "HUB-16", Title: "A CA device needs its id as common name", Source: "vendor page", Grade: rule.Documented,
		Causes: []rule.Cause{{ID: "cn", Why: "The common name is another device's.", Fix: "issue a certificate with the device id as common name"}}},
	{ID: "DOOR-1", Title: "Nobody claims the CONNECT", Source: "ours", Grade: rule.Assumed, Assumption: "a"},
}

type instance struct {
	plane   *plane.Plane
	devices *devices
	world   *world
	url     string
	client  *http.Client
}

func (in *instance) journal() *journal.Journal { return in.plane.Journal }

func newPlane(t *testing.T) (*plane.Plane, *devices, *world) {
	t.Helper()
	authority, err := pki.Open(pki.Options{ServerKey: pki.ServerECDSA})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, authority.Close()) })
	c := clock.New()
	rules := rule.NewTable(testRules)
	j := journal.New(c, rules, journal.Options{})
	d := &devices{all: map[string]plane.Device{
		key("iothub", "fakecloud-hub", "dev-01"):      {Platform: "iothub", Endpoint: "fakecloud-hub", ID: "dev-01", Connected: true, Conn: 7, State: map[string]any{"status": "enabled"}},
		key("iothub", "fakecloud-hub", "dev-01/mod"):  {Platform: "iothub", Endpoint: "fakecloud-hub", ID: "dev-01/mod"},
		key("dps", "fakecloud-dps", "../%2F odd?id#"): {Platform: "dps", Endpoint: "fakecloud-dps", ID: "../%2F odd?id#"},
	}}
	w := &world{document: []byte("azure:\n  hubs:\n  - name: fakecloud-hub\n")}
	return &plane.Plane{
		Version: "v1.2.3", Seed: 7, DataDir: "data", Journal: j, Faults: fault.New(j, ids.New(7), c), Rules: rules, Clock: c,
		PKI: authority, EdgeRoot: authority.Edge().Root, Devices: d, World: w, Life: &life{files: map[string][]byte{}}, Ports: plane.Ports{MQTTS: 8883, Admin: 8484}, Addresses: []string{"127.0.0.1"},
		Endpoints: func() []plane.Endpoint {
			return []plane.Endpoint{{Platform: "dps", Name: "fakecloud-dps", Hosts: []string{"global.azure-devices-provisioning.net"},
				Facts: map[string]string{"idScope": "0ne00FAKE01"}}}
		},
	}, d, w
}

// start serves an instance's API on a free port.
func start(t *testing.T, opt Options) *instance {
	t.Helper()
	p, d, w := newPlane(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := Serve(New(p, opt), nil, l)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		require.NoError(t, s.Close(context.Background()))
	})
	return &instance{plane: p, devices: d, world: w, url: "http://" + l.Addr().String(), client: &http.Client{Transport: transport}}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a *answer) problem(t *testing.T) problem {
	t.Helper()
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"), a.body)
	var p problem
	require.NoError(t, json.Unmarshal([]byte(a.body), &p))
	require.Equal(t, a.status, p.Status)
	require.NotEmpty(t, p.Title)
	return p
}

func (in *instance) do(t *testing.T, method, path, body string, headers ...string) *answer {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, in.url+path, reader)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := in.client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return &answer{response.StatusCode, response.Header, string(text)}
}

func (in *instance) get(t *testing.T, path string, headers ...string) *answer {
	t.Helper()
	return in.do(t, http.MethodGet, path, "", headers...)
}

func TestHealthReadyAndMetrics(t *testing.T) {
	t.Parallel()
	ready := false
	in := start(t, Options{Ready: func() bool { return ready }})
	require.Equal(t, http.StatusOK, in.get(t, "/healthz").status)
	require.Equal(t, http.StatusServiceUnavailable, in.get(t, "/readyz").status)
	ready = true
	require.Equal(t, http.StatusOK, in.get(t, "/readyz").status)

	in.journal().Refuse(journal.Event{Platform: "iothub"}, &rule.Refusal{Rule: "HUB-16/cn"})
	for range 2 { // a second scrape does not count twice
		text := in.get(t, "/metrics").body
		require.Contains(t, text, `fakecloud_refused_total{platform="iothub",rule="HUB-16/cn"} 1`)
		require.Contains(t, text, `fakecloud_devices{endpoint="fakecloud-hub",platform="iothub"} 2`)
		require.Contains(t, text, `fakecloud_devices_connected{endpoint="fakecloud-hub",platform="iothub"} 1`)
	}
}

func TestInfo(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	in.journal().Append(journal.Event{Kind: journal.Connect})
	require.JSONEq(t, `{"version":"v1.2.3","seed":7,"data":"data","seq":1,
		"ports":{"mqtts":8883,"mqtt":0,"https":0,"amqps":0,"amqp":0,"edge":0,"proxy":0,"admin":8484},
		"addresses":["127.0.0.1"],
		"endpoints":[{"platform":"dps","name":"fakecloud-dps","hosts":["global.azure-devices-provisioning.net"],"facts":{"idScope":"0ne00FAKE01"}}]}`,
		in.get(t, "/api/v1/info").body)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	a := in.get(t, "/api/v1/nothing")
	require.Equal(t, http.StatusNotFound, a.status)
	a.problem(t)
	a = in.do(t, http.MethodDelete, "/api/v1/world", "")
	require.Equal(t, http.StatusMethodNotAllowed, a.status)
	require.Equal(t, "GET, PUT, PATCH", a.header.Get("Allow"))
	a.problem(t)
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	a := in.get(t, "/api/v1/openapi.json")
	var doc struct {
		OpenAPI string         `json:"openapi"`
		Paths   map[string]any `json:"paths"`
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &doc))
	require.Equal(t, "3.1.0", doc.OpenAPI)
	for _, path := range []string{"/healthz", "/readyz", "/api/v1/info", "/api/v1/ca.pem", "/api/v1/pki/{file}", "/api/v1/pki/devices", "/api/v1/events",
		"/api/v1/devices", "/api/v1/devices/{platform}/{endpoint}/{id}", "/api/v1/explain", "/api/v1/rules", "/api/v1/rules/{id}", "/api/v1/world"} {
		require.Contains(t, doc.Paths, path)
	}
	require.NotContains(t, a.body, `"Seq"`, "events are described by their public names")
}

func TestDevices(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	require.JSONEq(t, `{"devices":[{"platform":"iothub","endpoint":"fakecloud-hub","id":"dev-01","connected":true,"conn":7},
		{"platform":"iothub","endpoint":"fakecloud-hub","id":"dev-01/mod","connected":false}]}`, in.get(t, "/api/v1/devices?platform=iothub").body)
	require.JSONEq(t, `{"devices":[]}`, in.get(t, "/api/v1/devices?device=none*").body)
	require.Equal(t, "platform: there is no such platform; did you mean iothub?", in.get(t, "/api/v1/devices?platform=iohub").problem(t).Detail)

	a := in.get(t, "/api/v1/devices/iothub/fakecloud-hub/dev-01")
	require.Contains(t, a.body, `"status":"enabled"`)
	for _, id := range []string{"dev-01/mod", "dev-01%2Fmod"} {
		require.Contains(t, in.get(t, "/api/v1/devices/iothub/fakecloud-hub/"+id).body, `"id":"dev-01/mod"`)
	}
	require.Equal(t, http.StatusOK, in.get(t, "/api/v1/devices/dps/fakecloud-dps/%2E%2E%2F%252F%20odd%3Fid%23").status)

	a = in.get(t, "/api/v1/devices/iothub/fakecloud-hub/DEV-01")
	require.Equal(t, http.StatusNotFound, a.status)
	require.Equal(t, "dev-01", a.problem(t).Closest[0])
	require.NotContains(t, a.body, "DEV-01")

	require.Equal(t, http.StatusNoContent, in.do(t, http.MethodPost, "/api/v1/devices/iothub/fakecloud-hub/dev-01/mod/disconnect", "").status)
	require.Equal(t, []string{"dev-01/mod"}, in.devices.gone)
	require.Equal(t, http.StatusNotFound, in.do(t, http.MethodPost, "/api/v1/devices/iothub/fakecloud-hub/dev-01", "").status)
	require.Equal(t, http.StatusNoContent, in.do(t, http.MethodDelete, "/api/v1/devices/iothub/fakecloud-hub/dev-01", "").status)
	require.Equal(t, http.StatusNotFound, in.do(t, http.MethodDelete, "/api/v1/devices/iothub/fakecloud-hub/dev-01", "").status)
}

func TestRules(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	a := in.get(t, "/api/v1/rules/HUB-16/cn")
	require.JSONEq(t, `{"id":"HUB-16","title":"A CA device needs its id as common name","enforced":true,"source":"vendor page","grade":"documented",
		"causes":[{"id":"HUB-16/cn","why":"The common name is another device's.","fix":"issue a certificate with the device id as common name"}]}`, a.body)
	require.Contains(t, in.get(t, "/api/v1/rules/DA-1").body, `"enforced":false`)
	require.Equal(t, http.StatusNotFound, in.get(t, "/api/v1/rules/XX-1").status)
	var all struct{ Rules []Rule }
	require.NoError(t, json.Unmarshal([]byte(in.get(t, "/api/v1/rules").body), &all))
	require.Len(t, all.Rules, 332)
}

func TestWorld(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	a := in.get(t, "/api/v1/world")
	require.Equal(t, "application/yaml", a.header.Get("Content-Type"))
	require.Equal(t, string(in.world.document), a.body)
	require.JSONEq(t, `{"azure":{"hubs":[{"name":"fakecloud-hub"}]}}`, in.get(t, "/api/v1/world", "Accept", "application/json").body)

	a = in.do(t, http.MethodPatch, "/api/v1/world", "azure:\n  hubs: []\n", "Content-Type", "application/yaml")
	require.Equal(t, http.StatusNoContent, a.status, a.body)
	require.Equal(t, "azure:\n  hubs: []\n", string(in.world.patched))
	a = in.do(t, http.MethodPut, "/api/v1/world", `{"azure":{"hubs":[{"name":"\u0061\/b"}]}}`, "Content-Type", "application/json")
	require.Equal(t, http.StatusNoContent, a.status, a.body)
	require.Contains(t, string(in.world.replaced), "name: a/b")

	a = in.do(t, http.MethodPatch, "/api/v1/world", "wrong: c2VjcmV0", "Content-Type", "application/yaml")
	require.Equal(t, http.StatusUnprocessableEntity, a.status)
	require.Equal(t, "the world is unchanged: line 2: azure.hubs[0].nmae: unknown key, name is meant", a.problem(t).Detail)
	require.Equal(t, http.StatusBadRequest, in.do(t, http.MethodPut, "/api/v1/world", "").status)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	in.journal().Refuse(journal.Event{Platform: "iothub", Endpoint: "fakecloud-hub", Device: `<script>alert("1")</script>`, Conn: 3, Address: "127.0.0.1:9"},
		&rule.Refusal{Rule: "HUB-16/cn", Code: 5, Seen: "CN=<b>", Expected: "CN=dev-01"})
	a := in.get(t, "/api/v1/explain?last=true")
	require.Contains(t, a.body, `"rule":"HUB-16/cn"`)
	require.Contains(t, a.body, `"seq":1,"time":`, "events keep their public form")
	require.Equal(t, http.StatusBadRequest, in.get(t, "/api/v1/explain?last=true&device=x").status)
	require.Contains(t, in.get(t, "/api/v1/explain?error=CONNACK+5").body, `"refused":true`)

	for _, path := range []string{"/explain", "/explain/%3Cscript%3Ealert(%221%22)%3C%2Fscript%3E"} {
		a = in.get(t, path)
		require.Equal(t, http.StatusOK, a.status)
		require.NotContains(t, a.body, "<script")
		require.NotContains(t, a.body, "<b>")
		require.Contains(t, a.body, "HUB-16/cn")
		require.Contains(t, a.header.Get("Content-Security-Policy"), "default-src 'none'")
	}
}

func TestRecorderServesToo(t *testing.T) {
	t.Parallel()
	p, _, _ := newPlane(t)
	w := httptest.NewRecorder()
	New(p, Options{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/api/v1/events", http.NoBody))
	require.Equal(t, http.StatusOK, w.Code)
}
