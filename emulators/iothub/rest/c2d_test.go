package rest

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

const (
	host = "contoso.azure-devices.net"
	key  = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	// tokenV1 is vector V1 of the fact sheet, for dev-01.
	tokenV1 = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01&sig=JQmpIEKDMl%2BOJOOeafv5EINLZmT%2FO%2Fu0tqZURbAHh%2BQ%3D&se=1893456000"
)

// rig is a hub behind an HTTP server.
type rig struct {
	t       *testing.T
	hub     *iothub.Service
	clock   *clock.Control
	journal *journal.Journal
	url     string
	client  *http.Client // of its own: the default one's connections end with any server of the process
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, clock: clock.New()}
	r.journal = journal.New(r.clock, rule.NewTable(iothub.Rules), journal.Options{})
	r.hub = iothub.New(iothub.Config{Clock: r.clock, IDs: ids.New(1), Journal: r.journal, Store: store.New(), Log: slog.New(slog.DiscardHandler)})
	_, err := r.hub.PutHub(iothub.Hub{Name: "contoso"})
	require.NoError(t, err)
	_, err = r.hub.PutDevice(host, iothub.Device{DeviceID: "dev-01", Authentication: iothub.Authentication{SymmetricKey: iothub.SymmetricKey{PrimaryKey: key}}})
	require.NoError(t, err)
	server := httptest.NewServer(New(r.hub, func(*http.Request) broker.Peer { return broker.Peer{Endpoint: host, Conn: 1} }))
	t.Cleanup(server.Close)
	r.url, r.client = server.URL, server.Client()
	return r
}

// ask sends a request as dev-01.
func (r *rig) ask(method, path string) (*http.Response, string) {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, nil)
	require.NoError(r.t, err)
	q.Header.Set("Authorization", tokenV1)
	a, err := r.client.Do(q)
	require.NoError(r.t, err)
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	require.NoError(r.t, err)
	return a, string(body)
}

const bound = "/devices/dev-01/messages/deviceBound"

// receive gets a message and returns its lock.
func (r *rig) receive(body string) (lock string) {
	r.t.Helper()
	a, got := r.ask("GET", bound+"?api-version=2020-03-13")
	require.Equal(r.t, 200, a.StatusCode, got)
	require.Equal(r.t, body, got)
	etag := a.Header.Get("ETag")
	require.Regexp(r.t, `^"[0-9a-f-]{36}"$`, etag)
	return strings.Trim(etag, `"`)
}

// azure-iot-sdk-c finds the lock under ETag only, in this spelling (iothubtransporthttp.c, DoMessages).
func TestReceiveSpellsETag(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.send("m")
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET "+bound+"?api-version=2016-11-14 HTTP/1.1\r\nHost: contoso.azure-devices.net\r\nAuthorization: "+tokenV1+"\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Regexp(t, `\r\nETag: "[0-9a-f-]{36}"\r\n`, string(answer))
}

func (r *rig) empty() {
	r.t.Helper()
	a, body := r.ask("GET", bound+"?api-version=2020-03-13")
	require.Equal(r.t, 204, a.StatusCode, body)
	require.Empty(r.t, body)
}

func (r *rig) send(body string) {
	r.t.Helper()
	_, err := r.hub.SendC2D(host, "dev-01", "", iothub.C2D{MessageID: body, Ack: iothub.AckFull, Body: []byte(body)})
	require.NoError(r.t, err)
}

func TestReceive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.clock.Freeze()
	r.empty()
	_, err := r.hub.SendC2D(host, "dev-01", "", iothub.C2D{MessageID: "m1", CorrelationID: "c1", UserID: "u", ContentType: "application/json", ContentEncoding: "utf-8",
		Ack: iothub.AckFull, Body: []byte(`{}`), Expiry: r.clock.Wall().Add(time.Minute),
		Properties: []iothub.C2DProperty{{Name: "Alert", Value: "yes"}, {Name: "a b", Value: "ü\r\nx"}, {Name: "null", Null: true}}})
	require.NoError(t, err)
	a, body := r.ask("GET", "/devices/dev-01/messages/devicebound?api-version=2020-03-13")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, `{}`, body)
	for name, want := range map[string]string{"iothub-messageid": "m1", "iothub-correlationid": "c1", "iothub-userid": "u", "iothub-to": "/devices/dev-01/messages/deviceBound",
		"iothub-contenttype": "application/json", "iothub-contentencoding": "utf-8", "iothub-ack": "full", "iothub-sequencenumber": "1", "iothub-deliverycount": "0",
		"iothub-app-alert": "yes", "iothub-app-null": "", "iothub-app-a%20b": "ü  x"} {
		require.Equal(t, want, a.Header.Get(name), name)
		require.Contains(t, a.Header, http.CanonicalHeaderKey(name))
	}
	require.NotEmpty(t, a.Header.Get("iothub-enqueuedtime"))
	require.NotEmpty(t, a.Header.Get("iothub-expiry"))
	require.Equal(t, `"`+a.Header.Get("iothub-messagelocktoken")+`"`, a.Header.Get("ETag"))
	r.empty() // locked
	require.NoError(t, r.clock.Advance(60*time.Second))
	r.empty() // and then expired
	r.send("again")
	r.receive("again")
	require.NoError(t, r.clock.Advance(59*time.Second))
	r.empty()
	require.NoError(t, r.clock.Advance(time.Second))
	r.receive("again")
	rule.Proves(t, "HUB-62")
}

// A client may ask for another time than 60 seconds; what is no number of seconds counts for nothing.
func TestLockTimeout(t *testing.T) {
	t.Parallel()
	for asked, want := range map[string]time.Duration{"5": 5 * time.Second, "300": 300 * time.Second, "": time.Minute, "0": time.Minute, "-1": time.Minute, "1m": time.Minute} {
		t.Run(asked, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.clock.Freeze()
			r.send("m")
			q, err := http.NewRequestWithContext(t.Context(), "GET", r.url+bound+"?api-version=2020-03-13", nil)
			require.NoError(t, err)
			q.Header.Set("Authorization", tokenV1)
			q.Header["IotHub-MessageLockTimeout"] = []string{asked}
			a, err := r.client.Do(q)
			require.NoError(t, err)
			require.NoError(t, a.Body.Close())
			require.Equal(t, 200, a.StatusCode)
			require.NoError(t, r.clock.Advance(want-time.Second))
			r.empty()
			require.NoError(t, r.clock.Advance(time.Second))
			r.receive("m")
			rule.Proves(t, "HUB-62")
		})
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, method, tail, query, want string }{
		{"complete", "DELETE", "", "", "Success"},
		{"reject, bare", "DELETE", "", "&reject", "Rejected"},
		{"reject=", "DELETE", "", "&reject=", "Rejected"},
		{"reject=true", "DELETE", "", "&reject=true", "Rejected"},
		{"abandon", "POST", "/abandon", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.send("m")
			lock := r.receive("m")
			a, body := r.ask(c.method, bound+"/"+lock+c.tail+"?api-version=2020-03-13"+c.query)
			require.Equal(t, 204, a.StatusCode, body)
			var outcomes []string
			for _, f := range r.hub.Feedback(host, 0) {
				outcomes = append(outcomes, string(f.StatusCode))
			}
			if c.want == "" {
				require.Empty(t, outcomes)
				a, _ := r.ask("GET", bound+"?api-version=2020-03-13")
				require.Equal(t, "1", a.Header.Get("iothub-deliverycount"))
			} else {
				require.Equal(t, []string{c.want}, outcomes)
				r.empty()
			}
			a, body = r.ask(c.method, bound+"/"+lock+c.tail+"?api-version=2020-03-13"+c.query)
			require.Equal(t, 412, a.StatusCode)
			require.Equal(t, "DeviceMessageLockLost", a.Header.Get("iothub-errorcode"))
			require.Contains(t, body, "ErrorCode:DeviceMessageLockLost;")
			events, _ := r.journal.Select(journal.Filter{Rule: "HUB-63/lock"})
			require.Len(t, events, 1)
			rule.Proves(t, "HUB-63", "HUB-63/lock")
		})
	}
}

// The answer to the beginning of an upload has its token as it goes behind the blob's address: devices without a
// JSON parser cut it out.
func TestUploadTokenIsPlain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	q, err := http.NewRequestWithContext(t.Context(), "POST", r.url+"/devices/dev-01/files?api-version=2020-03-13", strings.NewReader(`{"blobName":"a"}`))
	require.NoError(t, err)
	q.Header.Set("Authorization", tokenV1)
	a, err := r.client.Do(q)
	require.NoError(t, err)
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	require.NoError(t, err)
	require.Equal(t, 200, a.StatusCode, string(body))
	require.Regexp(t, `"sasToken":"\?[a-zA-Z0-9=%&:.-]+"`, string(body))
	rule.Proves(t, "HUB-65")
}

// A quoted lock is as good: some clients send the ETag as it came.
func TestSettleByQuotedLock(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.send("m")
	a, _ := r.ask("DELETE", bound+"/%22"+r.receive("m")+"%22?api-version=2020-03-13")
	require.Equal(t, 204, a.StatusCode)
}

func TestAbandonTenTimes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.send("m")
	for range 10 {
		a, _ := r.ask("POST", bound+"/"+r.receive("m")+"/abandon?api-version=2020-03-13")
		require.Equal(t, 204, a.StatusCode)
	}
	r.empty()
	f := r.hub.Feedback(host, 0)
	require.Len(t, f, 1)
	require.Equal(t, "DeliveryCountExceeded", string(f[0].StatusCode))
	rule.Proves(t, "HUB-64")
}

// The service side hears of uploads that succeeded.
func TestFileNotices(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id, err := r.hub.Authenticate(t.Context(), iothub.Credentials{Endpoint: host, DeviceID: "dev-01", Password: tokenV1})
	require.NoError(t, err)
	for _, ok := range []bool{true, false} {
		g, refusal := r.hub.BeginUpload(id, "f")
		require.Nil(t, refusal)
		_, refusal = r.hub.PutBlob(iothub.Blob{Hub: host, Container: g.Container, Name: g.BlobName, Body: []byte("abc")}, false, "")
		require.Nil(t, refusal)
		require.Nil(t, r.hub.EndUpload(id, iothub.UploadResult{CorrelationID: g.CorrelationID, Success: ok}))
	}
	notices := r.hub.FileNotices(host, 0)
	require.Len(t, notices, 1)
	require.Equal(t, 3, notices[0].BlobSize)
	require.Equal(t, "dev-01/f", notices[0].BlobName)
	require.Equal(t, "https://contoso.azure-devices.net/device-uploads/dev-01/f", notices[0].BlobURI)
	files := r.hub.Files(host, "dev-01")
	require.Len(t, files, 1)
	require.Equal(t, "abc", string(files[0].Body))
}

// The blob store says when it is full, and frees what is deleted.
func TestBlobStoreIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	body := make([]byte, iothub.MaxBlob)
	put := func(name string) *rule.Refusal {
		_, refusal := r.hub.PutBlob(iothub.Blob{Hub: host, Container: "c", Name: name, Body: body}, false, "")
		return refusal
	}
	for _, name := range []string{"1", "2", "3", "4"} {
		require.Nil(t, put(name))
	}
	refusal := put("5")
	require.NotNil(t, refusal)
	require.Equal(t, rule.ID("HUB-65/storage"), refusal.Rule)
	require.True(t, r.hub.DeleteBlob(host, "c", "1"))
	require.Nil(t, put("5"))
	sas, err := r.hub.BlobSAS(host, "c", "", "r", time.Hour)
	require.NoError(t, err)
	a, _ := r.ask("HEAD", "/c/5"+sas)
	require.Equal(t, 200, a.StatusCode)
	require.EqualValues(t, iothub.MaxBlob, a.ContentLength)
}
