package service_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever comes, the answer is one that clients can read, and a 5xx never.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][5]string{
		{"PUT", "/devices/d%2B1", `{"deviceId":"d+1","authentication":{"type":"sas"}}`, `"*"`, ""},
		{"PATCH", "/twins/d", `{"tags":{"a":null},"properties":{"desired":{"$version":1,"x":[{}]}}}`, `W/"AAAAAAAAAAE="`, ""},
		{"POST", "/devices/query", `{"query":"SELECT COUNT() FROM devices GROUP BY tags.a"}`, "", "eyJxIjoxLCJuIjotMX0="},
		{"POST", "/devices", `[{"id":"x","importMode":"updateTwinIfMatchETag","twinETag":"\""}]`, "", ""},
		{"PUT", "/jobs/v2/j", `{"type":"scheduleUpdateTwin","startTime":"2999-01-01T00:00:00","updateTwin":{"etag":"*"}}`, "", ""},
		{"PUT", "/configurations/c", `{"id":"c","targetCondition":"*","content":{"deviceContent":{"properties.desired..x":1}}}`, "", ""},
		{"POST", "/devices/d/applyConfigurationContent", `{"modulesContent":{"m":{"properties.desired":{}}}}`, "", ""},
		{"GET", "/jobs/v2/query", "", "", "LTE="},
		{"POST", "/twins/d/methods", `{"methodName":"m","connectTimeoutInSeconds":-9223372036854775808}`, "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4])
	}
	f.Fuzz(func(t *testing.T, method, path, body, match, continuation string) {
		b := newBackend(t)
		b.create("d")
		target, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		target.RawQuery = "api-version=2021-04-12"
		r := &http.Request{Method: method, URL: target, Header: http.Header{"Authorization": {b.token}}, Body: http.NoBody, Host: contoso}
		r.Header.Set("If-Match", match)
		r.Header.Set("X-Ms-Continuation", continuation)
		r.Body = httptest.NewRequest("POST", "/", strings.NewReader(body)).Body
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // a method may wait for its device
		defer cancel()
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r.WithContext(ctx))
		if ctx.Err() != nil {
			return
		}
		require.Less(t, w.Code, 500, "%s", w.Body)
		if w.Body.Len() > 0 {
			require.True(t, json.Valid(w.Body.Bytes()), "%s", w.Body)
		}
		if w.Code >= 400 {
			require.Contains(t, w.Header(), "iothub-errorcode")
		}
		b.hub.Reset(nil)
	})
}
