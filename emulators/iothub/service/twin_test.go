package service_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestTwinDocument(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.do("PUT", "/devices/d", `{"deviceId":"d","capabilities":{"iotEdge":true},"authentication":{"type":"certificateAuthority"}}`).ok(200)
	r := b.do("PATCH", "/twins/d", `{"properties":{"desired":{"o":{"n":1.50}}}}`)
	twin := r.ok(200)
	require.Equal(t, `"AAAAAAAAAAI="`, r.header.Get("ETag"))
	require.Contains(t, string(r.body), `{"n":1.50}`, "numbers stay as they are written")
	for name, want := range map[string]any{
		"deviceId": "d", "etag": "AAAAAAAAAAI=", "version": 2.0, "status": "enabled", "statusUpdateTime": "0001-01-01T00:00:00",
		"connectionState": "Disconnected", "lastActivityTime": "0001-01-01T00:00:00", "cloudToDeviceMessageCount": 0.0,
		"authenticationType": "certificateAuthority", "capabilities": map[string]any{"iotEdge": true}, "tags": map[string]any{},
		"x509Thumbprint": map[string]any{"primaryThumbprint": nil, "secondaryThumbprint": nil},
	} {
		require.Equal(t, want, twin[name], name)
	}
	desired := twin["properties"].(map[string]any)["desired"].(map[string]any)
	require.EqualValues(t, 2, desired["$version"])
	meta := desired["$metadata"].(map[string]any)
	require.Regexp(t, `^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$`, meta["$lastUpdated"])
	require.EqualValues(t, 2, meta["o"].(map[string]any)["n"].(map[string]any)["$lastUpdatedVersion"])
	require.EqualValues(t, 1, twin["properties"].(map[string]any)["reported"].(map[string]any)["$version"])
}

func TestPatchTwin(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	l := b.connect("d", false)
	first := b.do("PATCH", "/twins/d", `{"tags":{"site":"a","old":1},"properties":{"desired":{"rate":5,"gone":true}}}`, "If-Match", `"*"`).ok(200)
	require.Equal(t, `{"$version":2,"gone":true,"rate":5}`, <-l.desired)
	second := b.do("PATCH", "/twins/d", `{"etag":"x","tags":{"old":null},"properties":{"desired":{"gone":null,"$version":77,"$metadata":{}},"reported":{"forged":1}}}`,
		"If-Match", `"`+first["etag"].(string)+`"`).ok(200)
	require.Equal(t, `{"$version":3,"gone":null}`, <-l.desired)
	require.Equal(t, map[string]any{"site": "a"}, second["tags"])
	properties := second["properties"].(map[string]any)
	require.NotContains(t, properties["desired"], "gone")
	require.NotContains(t, properties["reported"], "forged")
	require.EqualValues(t, 3, properties["desired"].(map[string]any)["$version"])
	require.EqualValues(t, 3, second["version"])
	require.NotEqual(t, first["etag"], second["etag"])
	b.do("PATCH", "/twins/d", `{"tags":{"site":"b"}}`).ok(200)
	require.Empty(t, l.desired, "told once, and only of desired properties")
	rule.Proves(t, "SVC-10")

	for _, bad := range []string{
		`{"tags":{"a.b":1}}`, `{"tags":{"$a":1}}`, `{"properties":{"desired":{"a b":1}}}`, `{"properties":{"desired":{"a":4503599627370496}}}`,
		`{"tags":` + strings.Repeat(`{"a":`, 12) + "1" + strings.Repeat("}", 12) + `}`,
		`{"tags":{"a":"` + strings.Repeat("x", 4000) + `","b":"` + strings.Repeat("x", 4000) + `","c":"` + strings.Repeat("x", 400) + `"}}`,
	} {
		b.do("PATCH", "/twins/d", bad).fails(400, "ArgumentInvalid")
	}
	b.refused("SVC-10/invalid")
	require.EqualValues(t, 4, b.do("GET", "/twins/d", "").ok(200)["version"], "nothing has changed")
}

// A null in the place of a part removes all its keys, and the device is told of each.
func TestNullOutTwin(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	l := b.connect("d", false)
	b.do("PATCH", "/twins/d", `{"tags":{"site":"a"},"properties":{"desired":{"rate":5,"deep":{"n":1}}}}`).ok(200)
	<-l.desired
	twin := b.do("PATCH", "/twins/d", `{"properties":{"desired":null}}`).ok(200)
	require.Equal(t, `{"$version":3,"deep":null,"rate":null}`, <-l.desired)
	require.Equal(t, map[string]any{"site": "a"}, twin["tags"], "absent is not null")
	desired := twin["properties"].(map[string]any)["desired"].(map[string]any)
	require.NotContains(t, desired, "rate")
	require.NotContains(t, desired, "deep")
	twin = b.do("PATCH", "/twins/d", `{"tags":null}`).ok(200)
	require.Empty(t, twin["tags"])
	require.Empty(t, l.desired)
	b.do("PATCH", "/twins/d", `{"tags":[1]}`).fails(400, "ArgumentInvalid")
}

func TestReplaceTwin(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	first := b.do("PUT", "/twins/d", `{"tags":{"a":1},"properties":{"desired":{"b":2}}}`).ok(200)
	b.do("PUT", "/twins/d", `{"tags":{"x":1}}`, "If-Match", `"stale"`).fails(412, "PreconditionFailed")
	b.do("PATCH", "/twins/d", `{"tags":{"x":1}}`, "If-Match", `"AAAAAAAAAAE="`).fails(412, "PreconditionFailed")
	b.refused("SVC-11/etag")
	second := b.do("PUT", "/twins/d", `{"properties":{"desired":{"c":3}}}`, "If-Match", `"`+first["etag"].(string)+`"`).ok(200)
	require.Equal(t, map[string]any{}, second["tags"])
	desired := second["properties"].(map[string]any)["desired"].(map[string]any)
	require.NotContains(t, desired, "b")
	require.EqualValues(t, 3, desired["c"])
	rule.Proves(t, "SVC-11")
}

// Whoever reads, changes and writes back with the etag loses nobody's change, whatever the device does.
func TestNoLostUpdate(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	l := b.connect("d", false)
	l.desired = make(chan string, 1000)
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				twin := b.do("GET", "/twins/d", "").ok(200)
				n, _ := twin["tags"].(map[string]any)["n"].(float64)
				r := b.do("PATCH", "/twins/d", fmt.Sprintf(`{"tags":{"n":%d},"properties":{"desired":{"n":%d}}}`, int(n)+1, int(n)+1), "If-Match", `"`+twin["etag"].(string)+`"`)
				if r.status == 200 {
					done++
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 20 {
			_, r := l.session.Report(fmt.Appendf(nil, `{"r%d":true}`, i), "")
			require.Nil(t, r)
		}
	})
	wg.Wait()
	twin := b.do("GET", "/twins/d", "").ok(200)
	require.EqualValues(t, writers*each, twin["tags"].(map[string]any)["n"])
	require.EqualValues(t, 1+writers*each+20, twin["version"])
	require.Len(t, l.desired, writers*each)
}

// methodError is the JSON within the JSON of a method's error.
type methodError struct {
	ErrorCode           int
	TrackingID, Message string
	Info                map[string]string
	TimestampUTC        time.Time
	header              string // iothub-errorcode
}

func (r reply) methodError(status int) methodError {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	var outer struct{ Message, ExceptionMessage string }
	require.NoError(r.t, json.Unmarshal(r.body, &outer))
	require.Empty(r.t, outer.ExceptionMessage)
	var e methodError
	require.NoError(r.t, json.Unmarshal([]byte(outer.Message), &e), outer.Message)
	require.Regexp(r.t, `^[0-9a-f]{32}-G:0-TimeStamp:`, e.TrackingID)
	require.NotNil(r.t, e.Info)
	e.header = r.header.Get("iothub-errorcode")
	return e
}

func TestMethod(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	l := b.connect("d", true)
	for _, c := range []struct{ in, sent, out, want string }{
		{`{"methodName":"m","payload":{"a":1.0}}`, `{"a":1.0}`, `{"ok":[true]}`, `{"status":200,"payload":{"ok":[true]}}`},
		{`{"methodName":"m","payload":"text","responseTimeoutInSeconds":30,"connectTimeoutInSeconds":0}`, `"text"`, `"text back"`, `{"status":200,"payload":"text back"}`},
		{`{"methodName":"m","payload":null,"timeoutInSeconds":1}`, `null`, `null`, `{"status":200,"payload":null}`},
		{`{"methodName":"m"}`, `null`, ``, `{"status":200,"payload":null}`},
	} {
		got := make(chan reply, 1)
		go func() { got <- b.do("POST", "/twins/d/methods", c.in) }()
		rid, sent, _ := strings.Cut(<-l.calls, " ")
		require.Equal(t, "m "+c.sent, sent)
		require.Nil(t, l.session.MethodAnswer(rid, iothub.MethodResult{Status: 200, Payload: []byte(c.out)}))
		r := <-got
		require.Equal(t, 200, r.status)
		require.Equal(t, c.want, string(r.body))
	}
	rule.Proves(t, "SVC-13")

	got := make(chan reply, 1)
	go func() { got <- b.do("POST", "/twins/d/methods", `{"methodName":"m"}`) }()
	rid, _, _ := strings.Cut(<-l.calls, " ")
	require.Nil(t, l.session.MethodAnswer(rid, iothub.MethodResult{Status: 200, Payload: []byte("no JSON")}))
	e := (<-got).methodError(502)
	require.Equal(t, 502000, e.ErrorCode, "Node's SDK makes a bad response of the device of the status")
	require.Equal(t, "GenericBadGateway", e.header)
	b.refused("HUB-47/json")

	for _, bad := range []string{`{}`, `{"methodName":"a/b"}`, `{"methodName":"m","responseTimeoutInSeconds":4}`, `{"methodName":"m","connectTimeoutInSeconds":301}`,
		`{"methodName":"m","payload":"` + strings.Repeat("x", 128<<10) + `"}`} {
		e := b.do("POST", "/twins/d/methods", bad).methodError(400)
		require.Equal(t, 400004, e.ErrorCode)
		require.Equal(t, "ArgumentInvalid", e.header)
	}
	told := b.refused("SVC-13/call")
	require.Equal(t, `methodName "m", a payload of 131074 bytes, responseTimeoutInSeconds 0, connectTimeoutInSeconds 0`, told.Seen)
	require.Contains(t, told.Expected, "a payload of at most 131072 bytes")
	require.Equal(t, 404001, b.do("POST", "/twins/nope/methods", `{"methodName":"m"}`).methodError(404).ErrorCode)
	require.Equal(t, 404010, b.do("POST", "/twins/d/modules/nope/methods", `{"methodName":"m"}`).methodError(404).ErrorCode)
	require.Equal(t, 400004, b.do("POST", "/twins/d/methods", `{"methodName":5}`).methodError(400).ErrorCode)
}

func TestMethodOffline(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	for _, cause := range []rule.ID{"HUB-48/offline", "HUB-48/subscription"} {
		e := b.do("POST", "/twins/d/methods", `{"methodName":"m"}`).methodError(404)
		require.Equal(t, 404103, e.ErrorCode)
		require.Equal(t, "DeviceNotOnline", e.header)
		require.Equal(t, "Timed out waiting for device to connect.", e.Message)
		require.Equal(t, map[string]string{"timeout": "00:00:00"}, e.Info)
		b.refused(cause)
		b.connect("d", false)
	}
	rule.Proves(t, "SVC-14", "SVC-17")
}

func TestMethodWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		b.create("d")
		got := make(chan reply, 1)
		go func() { got <- b.do("POST", "/twins/d/methods", `{"methodName":"m","connectTimeoutInSeconds":5}`) }()
		time.Sleep(2 * time.Second)
		l := b.connect("d", true)
		rid, _, _ := strings.Cut(<-l.calls, " ")
		require.Nil(t, l.session.MethodAnswer(rid, iothub.MethodResult{Status: 201}))
		require.JSONEq(t, `{"status":201,"payload":null}`, string((<-got).body))
		rule.Proves(t, "SVC-15")

		l.session.Close()
		at := time.Now()
		e := b.do("POST", "/twins/d/methods", `{"methodName":"m","connectTimeoutInSeconds":65}`).methodError(404)
		require.Equal(t, map[string]string{"timeout": "00:01:05"}, e.Info)
		require.Equal(t, 65*time.Second, time.Since(at))

		b.connect("d", true)
		at = time.Now()
		e = b.do("POST", "/twins/d/methods", `{"methodName":"silent","responseTimeoutInSeconds":7}`).methodError(504)
		require.Equal(t, 7*time.Second, time.Since(at))
		require.Equal(t, 504101, e.ErrorCode)
		require.Equal(t, "GatewayTimeout", e.header)
		require.Equal(t, "Timed out waiting for the response from device.", e.Message)
		b.refused("HUB-48/timeout")
		rule.Proves(t, "SVC-16")
	})
}

func TestMethodWhoseDeviceLeaves(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	l := b.connect("d", true)
	got := make(chan reply, 1)
	go func() { got <- b.do("POST", "/twins/d/methods", `{"methodName":"m"}`) }()
	<-l.calls
	l.session.Close()
	e := (<-got).methodError(404)
	require.Equal(t, 404104, e.ErrorCode)
	require.Equal(t, "DeviceConnectionClosedRemotely", e.header)
	b.refused("HUB-48/closed")
}

// PATCH as azure-iot-sdk-java sends it, and nothing else by that way.
func TestPatchAsPost(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	got := b.do("POST", "/twins/d", `{"tags":{"a":1}}`, "X-HTTP-Method-Override", "PATCH").ok(200)
	require.Equal(t, map[string]any{"a": 1.0}, got["tags"])
	b.do("POST", "/twins/d", `{"tags":{"b":1}}`, "X-HTTP-Method-Override", "PUT").fails(405, "GenericMethodNotAllowed")
	b.do("GET", "/twins/d", `{"tags":{"b":1}}`, "X-HTTP-Method-Override", "PATCH").ok(200)
	require.Equal(t, map[string]any{"a": 1.0}, b.do("GET", "/twins/d", "").ok(200)["tags"])
}
