package service_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/emulators/iothub/service"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ownerKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	otherKey = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	contoso  = "contoso.azure-devices.net"
)

// backend is a hub with its service API, and a client of it.
type backend struct {
	t       testing.TB
	hub     *iothub.Service
	journal *journal.Journal
	clock   *clock.Control
	handler *service.Handler
	token   string // of the next requests
}

func newBackend(t testing.TB) *backend {
	t.Helper()
	b := &backend{t: t, clock: clock.New()}
	b.journal = journal.New(b.clock, rule.NewTable(iothub.Rules, service.Rules), journal.Options{})
	b.hub = iothub.New(iothub.Config{Clock: b.clock, IDs: ids.New(1), Journal: b.journal, Store: store.New()})
	policies := iothub.DefaultPolicies()
	for i := range policies {
		policies[i].PrimaryKey, policies[i].SecondaryKey = ownerKey, otherKey
	}
	_, err := b.hub.PutHub(iothub.Hub{Name: "contoso", Policies: policies})
	require.NoError(t, err)
	b.handler = service.New(b.hub, func(*http.Request) broker.Peer {
		return broker.Peer{Conn: 7, Endpoint: contoso, Hosts: []string{"127.0.0.1", "localhost"}}
	}, nil)
	b.token = sas(contoso, ownerKey, "iothubowner", time.Hour)
	return b
}

// sas signs as the vendor's page says, apart from the product's own code.
func sas(resource, key, policy string, lives time.Duration) string {
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		panic(err)
	}
	sr, se := url.QueryEscape(resource), fmt.Sprint(time.Now().Add(lives).Unix())
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte(sr + "\n" + se))
	token := "SharedAccessSignature sr=" + sr + "&sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))) + "&se=" + se
	if policy != "" {
		token += "&skn=" + policy
	}
	return token
}

// reply is what the client got.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	// spelled has the names of the fields as they go out.
	spelled http.Header
	body    []byte
}

// do sends a request; headers come as name, value.
func (b *backend) do(method, path, body string, headers ...string) reply {
	b.t.Helper()
	if !strings.Contains(path, "?") {
		path += "?api-version=2021-04-12"
	} else if !strings.Contains(path, "api-version") {
		path += "&api-version=2021-04-12"
	}
	return b.raw(method, path, body, headers...)
}

func (b *backend) raw(method, path, body string, headers ...string) reply {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), method, "https://"+contoso+path, strings.NewReader(body))
	if b.token != "" {
		r.Header.Set("Authorization", b.token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	got := w.Result()
	text, err := io.ReadAll(got.Body)
	require.NoError(b.t, err)
	header := http.Header{}
	for name, values := range got.Header {
		header[http.CanonicalHeaderKey(name)] = values // as a client of Go sees them
	}
	return reply{t: b.t, status: got.StatusCode, header: header, spelled: got.Header, body: text}
}

// ok wants a status and returns the JSON of the body.
func (r reply) ok(status int) map[string]any {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	if len(r.body) == 0 {
		return nil
	}
	require.Equal(r.t, "application/json; charset=utf-8", r.header.Get("Content-Type"))
	var v map[string]any
	require.NoError(r.t, json.Unmarshal(r.body, &v), "%s", r.body)
	return v
}

// list is ok for arrays.
func (r reply) list() []map[string]any {
	r.t.Helper()
	require.Equal(r.t, 200, r.status, "%s", r.body)
	var v []map[string]any
	require.NoError(r.t, json.Unmarshal(r.body, &v), "%s", r.body)
	return v
}

// fails wants an error of shape A: its name in header and message.
func (r reply) fails(status int, name string) string {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	require.Equal(r.t, []string{name}, map[string][]string(r.spelled)["iothub-errorcode"], "spelled as the hub does")
	var v struct{ Message, ExceptionMessage string }
	require.NoError(r.t, json.Unmarshal(r.body, &v))
	text, found := strings.CutPrefix(v.Message, "ErrorCode:"+name+";")
	require.True(r.t, found, v.Message)
	require.NotEmpty(r.t, text)
	require.NotContains(r.t, text, ";")
	require.Regexp(r.t, `^Tracking ID:[0-9a-f]{32}-G:0-TimeStamp:\d\d/\d\d/\d{4} \d\d:\d\d:\d\d$`, v.ExceptionMessage)
	return text
}

// refused wants the journal to name a rule as the reason, and counts it as proven.
func (b *backend) refused(id rule.ID) journal.Event {
	b.t.Helper()
	events, _ := b.journal.Select(journal.Filter{Kind: journal.Refused, Rule: id})
	require.NotEmpty(b.t, events, "the journal does not name %s", id)
	e := events[len(events)-1]
	require.Equal(b.t, id, e.Rule)
	require.NotEmpty(b.t, e.Detail)
	require.NotEmpty(b.t, e.Fix)
	require.NotEmpty(b.t, e.Source)
	rule.Proves(b.t, id)
	return e
}

// noSecrets wants that no key has come into the journal.
func (b *backend) noSecrets() {
	b.t.Helper()
	events, _ := b.journal.Select(journal.Filter{})
	text, err := json.Marshal(events)
	require.NoError(b.t, err)
	require.False(b.t, bytes.Contains(text, []byte(ownerKey)) || bytes.Contains(text, []byte(otherKey)), "%s", text)
}

// create makes a device by the API.
func (b *backend) create(id string) map[string]any {
	b.t.Helper()
	return b.do("PUT", "/devices/"+url.PathEscape(id), `{"deviceId":"`+id+`"}`).ok(200)
}

// line is a device's connection in the core.
type line struct {
	closed  chan error
	desired chan string
	calls   chan string // methods, as rid and payload
	methods bool        // subscribed
	session *iothub.Session
}

func (l *line) Close(cause error) { l.closed <- cause }

func (l *line) Desired(_ int64, body []byte) { l.desired <- string(body) }

func (l *line) Call(rid, method string, payload []byte) bool {
	if l.methods {
		l.calls <- rid + " " + method + " " + string(payload)
	}
	return l.methods
}

// connect opens a connection of a device with the device policy's key.
func (b *backend) connect(device string, methods bool) *line {
	b.t.Helper()
	id, err := b.signIn(device)
	require.NoError(b.t, err)
	l := &line{closed: make(chan error, 8), desired: make(chan string, 8), calls: make(chan string, 8), methods: methods}
	l.session = b.hub.Open(id, iothub.Origin{Conn: 1, APIVersion: "2021-04-12"}, l)
	b.t.Cleanup(l.session.Close)
	return l
}

func (b *backend) signIn(device string) (iothub.Identity, error) {
	return b.hub.Authenticate(b.t.Context(), iothub.Credentials{Endpoint: contoso, DeviceID: device,
		Password: sas(contoso+"/devices/"+device, ownerKey, "device", time.Hour)})
}
