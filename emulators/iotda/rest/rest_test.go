package rest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/emulators/iotda/rest"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const project = "0123456789abcdef0123456789abcdef"

// api is the application API behind a real HTTP server.
type api struct {
	*iotda.Service
	t       *testing.T
	clock   *clock.Control
	journal *journal.Journal
	url     string
	client  *http.Client
}

func newAPI(t *testing.T, keys ...iotda.AccessKey) *api {
	t.Helper()
	return newForwardingAPI(t, nil, keys...)
}

func newForwardingAPI(t *testing.T, p iotda.Poster, keys ...iotda.AccessKey) *api {
	t.Helper()
	a := &api{t: t, clock: clock.New()}
	a.journal = journal.New(a.clock, rule.NewTable(iotda.Rules), journal.Options{})
	a.Service = iotda.New(iotda.Config{Clock: a.clock, IDs: ids.New(1), Journal: a.journal, Store: store.New(), Poster: p})
	t.Cleanup(a.Service.Close)
	_, err := a.PutInstance(iotda.Instance{Name: "fakecloud", ProjectID: project, AccessKeys: keys})
	require.NoError(t, err)
	server := httptest.NewServer(rest.New(rest.Config{Service: a.Service, Clock: a.clock, Journal: a.journal}))
	t.Cleanup(server.Close)
	a.url, a.client = server.URL, server.Client()
	return a
}

// do makes one call and returns status and body. path is below the project's base.
func (a *api) do(method, path, body string) (int, string) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.url+"/v5/iot/"+project+path, strings.NewReader(body))
	require.NoError(a.t, err)
	return a.send(r)
}

func (a *api) send(r *http.Request) (int, string) {
	a.t.Helper()
	answer, err := a.client.Do(r)
	require.NoError(a.t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	require.NoError(a.t, err)
	return answer.StatusCode, string(b)
}

// must makes a call that succeeds and returns its body.
func (a *api) must(status int, method, path, body string) map[string]any {
	a.t.Helper()
	got, text := a.do(method, path, body)
	require.Equal(a.t, status, got, text)
	v := map[string]any{}
	if text != "" {
		require.NoError(a.t, json.Unmarshal([]byte(text), &v))
	}
	return v
}

// fails makes a call that is refused with an error code.
func (a *api) fails(status int, code, method, path, body string) string {
	a.t.Helper()
	got, text := a.do(method, path, body)
	require.Equal(a.t, status, got, text)
	var e struct {
		Code string `json:"error_code"`
		Text string `json:"error_msg"`
	}
	require.NoError(a.t, json.Unmarshal([]byte(text), &e))
	require.Equal(a.t, code, e.Code, text)
	require.NotEmpty(a.t, e.Text)
	return e.Text
}

func (a *api) refusedAs(id rule.ID) journal.Event {
	a.t.Helper()
	events, _ := a.journal.Select(journal.Filter{Kind: journal.Refused, Rule: id})
	require.NotEmpty(a.t, events, "%s is not in the journal", id)
	e := events[len(events)-1]
	require.NotEmpty(a.t, e.Fix)
	require.NotEmpty(a.t, e.Source)
	return e
}

// seedProduct is the tutorial's, as the console makes it.
const seedProduct = `{"product_id":"demo","name":"demo","device_type":"meter","protocol_type":"MQTT","data_format":"json","service_capabilities":[
	{"service_id":"Connectivity","service_type":"Connectivity","properties":[{"property_name":"dailyActivityTime","data_type":"int","min":"0","max":"65535","step":1,"unit":"s","method":"R"}]},
	{"service_id":"Battery","service_type":"Battery","properties":[{"property_name":"batteryLevel","data_type":"int","min":"0","max":"100","step":1,"unit":"%","method":"R"}]}]}`

// withDevice has the tutorial's product and a device.
func withDevice(t *testing.T) *api {
	t.Helper()
	a := newAPI(t)
	a.must(201, "POST", "/products", seedProduct)
	a.must(201, "POST", "/devices", `{"node_id":"node1","product_id":"demo","device_name":"one","auth_info":{"secret":"12345678"}}`)
	return a
}

// line is a live connection: it keeps what is sent to the device, and answers by the session.
type line struct {
	mu     sync.Mutex
	got    []string
	answer func(topic string)
	closed bool
}

func (l *line) Deliver(topic string, payload []byte, _ bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, topic+" "+string(payload))
	if l.answer != nil {
		go l.answer(topic)
	}
	return true
}

func (*line) Acknowledges(string) bool { return false }

func (*line) DeliverAcked(string, []byte, func()) (again func(), ok bool) { return nil, false }

func (l *line) Close(error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

func (a *api) connect(device string) (*line, *iotda.Session) {
	l := &line{}
	return l, a.Open(iotda.Identity{Instance: "fakecloud", DeviceID: device}, iotda.Origin{Conn: 1, Address: "127.0.0.1:9"}, l)
}

func TestSpacesAndProducts(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	spaces := a.must(200, "GET", "/apps", "")["applications"].([]any)
	require.Len(t, spaces, 1)
	require.Equal(t, true, spaces[0].(map[string]any)["default_app"])
	space := a.must(201, "POST", "/apps", `{"app_name":"mine"}`)
	id := space["app_id"].(string)
	require.Equal(t, "mine", a.must(200, "GET", "/apps/"+id, "")["app_name"])
	require.Equal(t, "ours", a.must(200, "PUT", "/apps/"+id, `{"app_name":"ours"}`)["app_name"])

	p := a.must(201, "POST", "/products", strings.Replace(seedProduct, `"name"`, `"app_id":"`+id+`","name"`, 1))
	require.Equal(t, []any{"demo", id, "ours", "MQTT"}, []any{p["product_id"], p["app_id"], p["app_name"], p["protocol_type"]})
	a.fails(409, "IOTDA.000007", "POST", "/products", seedProduct)
	a.fails(409, "IOTDA.000007", "DELETE", "/apps/"+id, "")
	require.Equal(t, "new", a.must(200, "PUT", "/products/demo", `{"name":"new"}`)["name"])
	p = a.must(200, "GET", "/products/demo", "")
	require.Len(t, p["service_capabilities"], 2)
	require.EqualValues(t, 1, a.must(200, "GET", "/products?app_id="+id, "")["page"].(map[string]any)["count"])
	a.must(204, "DELETE", "/products/demo", "")
	a.fails(404, "IOTDA.000005", "GET", "/products/demo", "")
	a.must(204, "DELETE", "/apps/"+id, "")

	for body, why := range map[string]string{
		`{}`: "name", `{"name":"x","data_format":"xml"}`: "data_format",
		`{"name":"x","service_capabilities":[{"service_id":"s","properties":[{"property_name":"p","data_type":"integer"}]}]}`: "one of int, long",
		`{"name":"x","service_capabilities":[{"service_id":"s","properties":[{"property_name":"p","data_type":"enum"}]}]}`:    "enum_list",
		`{"name":"x","service_capabilities":[{"service_id":"s"},{"service_id":"s"}]}`:                                         "once in a product",
	} {
		require.Contains(t, a.fails(400, "IOTDA.000006", "POST", "/products", body), why)
	}
	require.Equal(t, "the body is not the JSON that the call wants: it ends in the middle", a.fails(400, "IOTDA.000008", "POST", "/products", `{"name":`))
	a.fails(404, "APIGW.0101", "GET", "/nothing", "")
}

func TestDevices(t *testing.T) {
	t.Parallel()
	a := withDevice(t)
	d := a.must(200, "GET", "/devices/demo_node1", "")
	require.Equal(t, []any{"demo_node1", "node1", "one", "INACTIVE", "demo_node1", "demo"},
		[]any{d["device_id"], d["node_id"], d["device_name"], d["status"], d["gateway_id"], d["product_name"]})
	require.Equal(t, "12345678", d["auth_info"].(map[string]any)["secret"])
	a.fails(409, "IOTDA.000007", "POST", "/devices", `{"node_id":"node1","product_id":"demo"}`)
	for body, why := range map[string]string{
		`{"node_id":"a b","product_id":"demo"}`:                                                                  "node_id",
		`{"node_id":"x","product_id":"demo","auth_info":{"secret":"short"}}`:                                     "8 to 32",
		`{"node_id":"x","product_id":"demo","auth_info":{"auth_type":"TOKEN"}}`:                                  "SECRET or CERTIFICATES",
		`{"node_id":"x","product_id":"demo","shadow":[{"service_id":"Battery","desired":{"batteryLevel":101}}]}`: "range",
	} {
		require.Contains(t, a.fails(400, "IOTDA.000006", "POST", "/devices", body), why)
	}
	a.fails(404, "IOTDA.014000", "GET", "/devices/demo_x", "")
	require.Len(t, a.must(201, "POST", "/devices", `{"node_id":"made","product_id":"demo"}`)["auth_info"].(map[string]any)["secret"], 32)
	a.must(201, "POST", "/devices", `{"node_id":"kid","product_id":"demo","gateway_id":"demo_made"}`)
	a.fails(400, "IOTDA.000006", "POST", "/devices", `{"node_id":"kid2","product_id":"demo","gateway_id":"demo_kid"}`)
	a.fails(409, "IOTDA.000007", "DELETE", "/products/demo", "")

	list := a.must(200, "GET", "/devices?limit=2", "")
	require.Len(t, list["devices"], 2)
	page := list["page"].(map[string]any)
	require.EqualValues(t, 3, page["count"])
	require.NotContains(t, list["devices"].([]any)[0], "auth_info", "lists show no secrets")
	list = a.must(200, "GET", "/devices?limit=2&marker="+page["marker"].(string), "")
	require.Len(t, list["devices"], 1)
	require.Equal(t, "demo_node1", list["devices"].([]any)[0].(map[string]any)["device_id"])
	require.Len(t, a.must(200, "GET", "/devices?gateway_id=demo_made&marker=ffffffffffffffffffffffff&offset=1", "")["devices"], 1)
	a.fails(400, "IOTDA.000017", "GET", "/devices?limit=51", "")
	a.fails(400, "IOTDA.000006", "GET", "/devices?marker=zz", "")

	require.Equal(t, "two", a.must(200, "PUT", "/devices/demo_node1", `{"device_name":"two","extension_info":{"a":1}}`)["device_name"])
	a.must(204, "POST", "/devices/demo_node1/freeze", "")
	require.Equal(t, "FROZEN", a.must(200, "GET", "/devices/demo_node1", "")["status"])
	a.must(204, "POST", "/devices/demo_node1/unfreeze", "")
	require.Equal(t, "mySecret_0123", a.must(200, "POST", "/devices/demo_node1/action?action_id=resetSecret", `{"secret":"mySecret_0123"}`)["secret"])

	a.must(204, "POST", "/tags/bind-resource", `{"resource_type":"device","resource_id":"demo_node1","tags":[{"tag_key":"site","tag_value":"a"}]}`)
	require.Len(t, a.must(200, "POST", "/tags/query-resources", `{"resource_type":"device","tags":[{"tag_key":"site"}]}`)["resources"], 1)
	a.must(204, "POST", "/tags/unbind-resource", `{"resource_type":"device","resource_id":"demo_node1","tag_keys":["site"]}`)
	require.Empty(t, a.must(200, "GET", "/devices/demo_node1", "")["tags"])
	a.must(204, "DELETE", "/devices/demo_made", "")
	a.fails(404, "IOTDA.014000", "GET", "/devices/demo_kid", "")
}

// DA-18: fingerprints.
func TestFingerprints(t *testing.T) {
	t.Parallel()
	a := withDevice(t)
	const bare = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"
	var pairs []string
	for i := 0; i < len(bare); i += 2 {
		pairs = append(pairs, bare[i:i+2])
	}
	body := func(f string) string {
		return `{"node_id":"c","product_id":"demo","auth_info":{"auth_type":"CERTIFICATES","fingerprint":"` + f + `"}}`
	}
	a.fails(400, "IOTDA.000006", "POST", "/devices", body(strings.Join(pairs, ":")))
	require.Equal(t, bare, a.refusedAs("DA-18/colons").Expected)
	a.fails(400, "IOTDA.000006", "POST", "/devices", body(bare[1:]))
	a.refusedAs("DA-18/form")
	d := a.must(201, "POST", "/devices", body(bare))
	require.Equal(t, strings.ToLower(bare), d["auth_info"].(map[string]any)["fingerprint"])
	a.fails(400, "IOTDA.000006", "POST", "/devices/demo_c/reset-fingerprint", `{"fingerprint":"x"}`)
	a.must(200, "POST", "/devices/demo_c/reset-fingerprint", `{"fingerprint":"`+bare[:40]+`"}`)
	rule.Proves(t, "DA-18", "DA-18/colons", "DA-18/form")
}

// DA-24, DA-25: commands and properties.
func TestCommands(t *testing.T) {
	t.Parallel()
	a := withDevice(t)
	command := `{"service_id":"Battery","command_name":"ring","paras":{"n":2}}`
	a.fails(403, "IOTDA.014016", "POST", "/devices/demo_node1/commands", command)
	a.fails(403, "IOTDA.014016", "GET", "/devices/demo_node1/properties?service_id=Battery", "")
	require.Equal(t, "demo_node1", a.refusedAs("DA-25/offline").Device)

	l, session := a.connect("demo_node1")
	l.answer = func(topic string) {
		up := strings.NewReplacer("commands/", "commands/response/", "get/", "get/response/", "set/", "set/response/").Replace(topic)
		session.Publish(up, []byte(`{"result_code":0,"paras":{"x":1.50}}`))
	}
	status, text := a.do("POST", "/devices/demo_node1/commands", command)
	require.Equal(t, 200, status)
	require.Contains(t, text, `"response":{"result_code":0,"paras":{"x":1.50}}`, "as the device sent it")
	a.must(200, "GET", "/devices/demo_node1/properties?service_id=Battery", "")
	a.must(200, "PUT", "/devices/demo_node1/properties", `{"services":[{"service_id":"Battery","properties":{"batteryLevel":1}}]}`)
	a.fails(400, "IOTDA.000006", "PUT", "/devices/demo_node1/properties", `{}`)

	l.answer = func(string) { _ = a.clock.Advance(20 * time.Second) }
	a.fails(200, "IOTDA.014111", "POST", "/devices/demo_node1/commands", command)
	a.refusedAs("DA-24/timeout")
	session.Close()
	require.Equal(t, "OFFLINE", a.must(200, "GET", "/devices/demo_node1", "")["status"])
	rule.Proves(t, "DA-24", "DA-24/timeout", "DA-25", "DA-25/offline")
}

// DA-28: messages.
func TestMessages(t *testing.T) {
	t.Parallel()
	a := withDevice(t)
	for _, ttl := range []string{"7", "1445", "-5", "2.5", "99999999999"} {
		a.fails(400, "IOTDA.000006", "POST", "/devices/demo_node1/messages", `{"message":"x","ttl":`+ttl+`}`)
	}
	for _, ttl := range []string{`"soon"`, `""`, "true", "[5]", "{}"} {
		require.Equal(t, `the body is not the JSON that the call wants: "ttl" is not a number`,
			a.fails(400, "IOTDA.000008", "POST", "/devices/demo_node1/messages", `{"message":"x","ttl":`+ttl+`}`))
	}
	require.Equal(t, "ttl 1445", func() string {
		a.fails(400, "IOTDA.000006", "POST", "/devices/demo_node1/messages", `{"message":"x","ttl":1445}`)
		return a.refusedAs("DA-28/ttl").Seen
	}())
	m := a.must(201, "POST", "/devices/demo_node1/messages", `{"message_id":"m1","message":{"a":1},"ttl":10}`)
	require.Equal(t, "PENDING", m["result"].(map[string]any)["status"])
	a.fails(409, "IOTDA.000007", "POST", "/devices/demo_node1/messages", `{"message_id":"m1","message":"x"}`)
	a.must(201, "POST", "/devices/demo_node1/messages", `{"message_id":"m2","message":"x"}`)
	a.must(204, "DELETE", "/devices/demo_node1/messages/m2", "")
	require.NoError(t, a.clock.Advance(10*time.Minute))
	require.Equal(t, "TIMEOUT", a.must(200, "GET", "/devices/demo_node1/messages/m1", "")["status"])
	a.fails(400, "IOTDA.000006", "DELETE", "/devices/demo_node1/messages/m1", "")
	l, session := a.connect("demo_node1")
	defer session.Close()
	a.must(201, "POST", "/devices/demo_node1/messages", `{"message":"aGk=","encoding":"base64","payload_format":"raw"}`)
	require.Equal(t, []string{"$oc/devices/demo_node1/sys/messages/down hi"}, l.got)
	require.Len(t, a.must(200, "GET", "/devices/demo_node1/messages", "")["messages"], 2)
	a.must(201, "POST", "/broadcast-messages", `{"topic_full_name":"$oc/broadcast/all","message":"aGk="}`)
	require.Equal(t, "$oc/broadcast/all hi", l.got[1])
	a.fails(400, "IOTDA.000006", "POST", "/broadcast-messages", `{"topic_full_name":"/all","message":"aGk="}`)
	rule.Proves(t, "DA-28", "DA-28/ttl")
}

// DA-52: shadow versions.
func TestShadow(t *testing.T) {
	t.Parallel()
	a := withDevice(t)
	put := func(version string) string {
		return `{"shadow":[{"service_id":"Battery","desired":{"batteryLevel":5}` + version + `}]}`
	}
	s := a.must(200, "PUT", "/devices/demo_node1/shadow", put(`,"version":0`))
	require.EqualValues(t, 1, s["shadow"].([]any)[0].(map[string]any)["version"])
	before := a.must(200, "GET", "/devices/demo_node1/shadow", "")
	a.fails(400, "IOTDA.000006", "PUT", "/devices/demo_node1/shadow", put(`,"version":0`))
	require.Equal(t, "version 1", a.refusedAs("DA-52/version").Expected)
	require.Equal(t, before, a.must(200, "GET", "/devices/demo_node1/shadow", ""))
	a.must(200, "PUT", "/devices/demo_node1/shadow", put(""))
	s = a.must(200, "PUT", "/devices/demo_node1/shadow", `{"shadow":[{"service_id":"Battery","desired":{}}]}`)
	require.Empty(t, s["shadow"].([]any)[0].(map[string]any)["desired"].(map[string]any)["properties"])
	require.Contains(t, a.fails(400, "IOTDA.000006", "PUT", "/devices/demo_node1/shadow", `{"shadow":[{"service_id":"Batery","desired":{"x":1}}]}`), "expected Battery")
	a.must(204, "DELETE", "/devices/demo_node1/shadow", "")
	require.Empty(t, a.must(200, "GET", "/devices/demo_node1/shadow", "")["shadow"])
	rule.Proves(t, "DA-52", "DA-52/version")
}

// A body that is too large costs its own call only, and a call leaves one line in the journal.
func TestLimits(t *testing.T) {
	t.Parallel()
	a := withDevice(t)
	r, err := http.NewRequestWithContext(t.Context(), "POST", a.url+"/v5/iot/"+project+"/products", bytes.NewReader(make([]byte, 3<<20)))
	require.NoError(t, err)
	if answer, err := a.client.Do(r); err == nil { // the connection may break before the whole body is sent
		require.Equal(t, 413, answer.StatusCode)
		require.NoError(t, answer.Body.Close())
	}
	a.must(200, "GET", "/products", "")
	events, _ := a.journal.Select(journal.Filter{Kind: journal.HTTP})
	last := events[len(events)-1]
	require.Equal(t, "GET /v5/iot/"+project+"/products", last.Topic)
	require.Equal(t, 200, *last.Code)
}
