package control

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// operation is a call as the OpenAPI document lists it, with a name in place of each parameter.
type operation struct{ method, path string }

// document is the part of the OpenAPI document that is looked at: paths, methods, answers by status.
type document struct {
	Paths map[string]map[string]struct{ Responses map[string]any }
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

func readDocument(t *testing.T, h http.Handler, token string) (d document) {
	t.Helper()
	w := operation{http.MethodGet, "/api/v1/openapi.json"}.ask(t, h, "Authorization", "Bearer "+token)
	require.Equal(t, http.StatusOK, w.Code)
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &d))
	return d
}

// operations returns every call that the API documents, so that none is forgotten by the tests of this file.
func operations(t *testing.T, h http.Handler, token string) []operation {
	t.Helper()
	var list []operation
	for path, item := range readDocument(t, h, token).Paths {
		for method := range item {
			list = append(list, operation{strings.ToUpper(method), parameter.ReplaceAllString(path, "x")})
		}
	}
	require.Greater(t, len(list), 40)
	return list
}

// ask sends o with a body of JSON where it changes something, unless the headers say otherwise.
func (o operation) ask(t *testing.T, h http.Handler, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	body := ""
	if o.method != http.MethodGet {
		body = "{}"
	}
	r := httptest.NewRequestWithContext(t.Context(), o.method, "http://127.0.0.1:8484"+o.path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// No call at all is open to a page of another origin, whatever way a browser has to send one.
func TestNoCallIsOpenToOtherPages(t *testing.T) {
	t.Parallel()
	p, d, w := newPlane(t)
	h := New(p, Options{})
	before, devices := p.Clock.Now(), len(d.List())
	for _, o := range operations(t, h, "") {
		for _, headers := range [][]string{
			{"Host", "evil.example.com:8484"},
			{"Host", "127.0.0.1.nip.io"},
			{"Host", ""},
			{"Origin", "https://evil.example.com"},
			{"Origin", "null"},
			{"Origin", "http://localhost:8484"}, // another name of ours is another origin
			{"Origin", "http://127.0.0.1:3000"},
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"},
		} {
			a := o.ask(t, h, headers...)
			require.Equal(t, http.StatusForbidden, a.Code, "%v %v", o, headers)
			require.Empty(t, a.Header().Get("Access-Control-Allow-Origin"))
			require.Equal(t, "same-origin", a.Header().Get("Cross-Origin-Resource-Policy"))
		}
		if o.method == http.MethodGet {
			continue
		}
		require.Equal(t, http.StatusForbidden, o.ask(t, h, "Sec-Fetch-Site", "same-site").Code, "%v", o)
		for _, form := range []string{"application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "text/plain;charset=application/json"} {
			a := o.ask(t, h, "Content-Type", form)
			require.Equal(t, http.StatusUnsupportedMediaType, a.Code, "%v %s", o, form)
			require.Contains(t, a.Body.String(), "curl -X "+o.method)
		}
		preflight := operation{http.MethodOptions, o.path}.ask(t, h, "Origin", "https://evil.example.com", "Access-Control-Request-Method", o.method)
		require.Equal(t, http.StatusForbidden, preflight.Code, "%v", o)
		require.Empty(t, preflight.Header().Get("Access-Control-Allow-Methods"))
	}
	require.Empty(t, p.Faults.List())
	require.Len(t, d.List(), devices)
	require.Nil(t, w.patched)
	require.Nil(t, w.replaced)
	require.Less(t, p.Clock.Now().Sub(before).Hours(), 1.0)
	require.Empty(t, p.Life.(*life).calls)
}

// With tokens every call but life and the public CA asks for one, and the viewer's changes nothing and reads
// no key.
func TestEveryCallAsksForItsToken(t *testing.T) {
	t.Parallel()
	p, _, w := newPlane(t)
	opt := Options{AdminToken: "boss", ViewerToken: "guest", Log: slog.New(slog.DiscardHandler)}
	h := New(p, opt)
	// What lies behind the guard is of no matter for calls that it lets through.
	passes := (&api{plane: p, opt: opt, log: opt.Log}).guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for _, o := range operations(t, h, "boss") {
		if o.method == http.MethodGet && open[o.path] {
			require.Equal(t, http.StatusOK, o.ask(t, h).Code, "%v", o)
			continue
		}
		for _, token := range []string{"", "Bearer", "Bearer ", "Bearer bos", "Bearer bossy", "Basic boss", "boss", "Bearer Guest"} {
			a := o.ask(t, h, "Authorization", token)
			require.Equal(t, http.StatusUnauthorized, a.Code, "%v %q", o, token)
			require.Contains(t, a.Header().Get("WWW-Authenticate"), "Bearer")
			require.NotContains(t, a.Body.String(), "boss")
		}
		secret := o.path == "/api/v1/world" || strings.HasPrefix(o.path, "/api/v1/snapshots/") || strings.Contains(o.path, "/containers/")
		if o.method == http.MethodGet && !secret {
			require.Equal(t, http.StatusNoContent, o.ask(t, passes, "Authorization", "Bearer guest").Code, "%v", o)
			continue
		}
		a := o.ask(t, h, "Authorization", "Bearer guest")
		require.Equal(t, http.StatusForbidden, a.Code, "%v", o)
		require.Contains(t, a.Body.String(), "--admin-token")
	}
	for _, path := range []string{"/api/v1/%77orld", "/api/v1/./world", "/api/v1//world", "/api/v1/world/", "/api/v1/x/../world"} {
		a := operation{http.MethodGet, path}.ask(t, h, "Authorization", "Bearer guest")
		require.NotContains(t, a.Body.String(), "fakecloud-hub", path)
	}
	require.Nil(t, w.replaced)
}

// What the guard answers in a call's place stands in the call's description.
func TestTheGuardsAnswersAreDocumented(t *testing.T) {
	t.Parallel()
	p, _, _ := newPlane(t)
	p.Trouble = func() error { return errors.New("no room") }
	h := New(p, Options{AdminToken: "boss", Log: slog.New(slog.DiscardHandler)})
	large := "[" + strings.Repeat(" ", worldLimit) + "]"
	for path, item := range readDocument(t, h, "boss").Paths {
		for method, described := range item {
			o := operation{strings.ToUpper(method), parameter.ReplaceAllString(path, "x")}
			codes := []int{o.ask(t, h).Code, o.ask(t, h, "Host", "evil.example.com").Code}
			if o.method != http.MethodGet {
				codes = append(codes, o.ask(t, h, "Authorization", "Bearer boss").Code)
				calm := *p
				calm.Trouble = nil
				h := New(&calm, Options{})
				codes = append(codes, o.ask(t, h, "Content-Type", "text/plain").Code)
				r := httptest.NewRequestWithContext(t.Context(), o.method, "http://127.0.0.1:8484"+o.path, strings.NewReader(large))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				require.Equal(t, http.StatusRequestEntityTooLarge, w.Code, "%v", o)
				codes = append(codes, w.Code)
			}
			for _, code := range codes {
				require.Contains(t, described.Responses, strconv.Itoa(code), "%v", o)
			}
		}
	}
}
