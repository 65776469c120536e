package control

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/outbound"
)

func listen(t *testing.T) (net.Listener, *http.Client) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return l, &http.Client{Transport: transport}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	in := start(t, Options{Advertised: []string{"cloud.example.com"}})
	for host, want := range map[string]int{
		"127.0.0.1":               200,
		"[::1]:8484":              200,
		"192.168.1.5:8484":        200,
		"localhost:8484":          200,
		"fakecloud":               200,
		"a.localhost":             200,
		"a.test":                  200,
		"host.docker.internal":    200,
		"a.ns.svc.cluster.local":  200,
		"a.ns.svc":                200,
		"printer.local":           200,
		"CLOUD.example.com.:8484": 200,
		"evil.example.com":        403,
		"127.0.0.1.nip.io":        403,
		"xlocalhost.com":          403,
		"evil.test.com":           403,
	} {
		a := in.get(t, "/api/v1/info", "Host", host)
		require.Equal(t, want, a.status, host)
		if want == 403 {
			require.Contains(t, a.problem(t).Detail, "--advertise")
			require.NotContains(t, a.body, host)
		}
	}
}

// Whoever can set a webhook through a cloud's API must not reach the admin API with it.
func TestOwnCallsAreRefused(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	p, err := outbound.New(outbound.Config{})
	require.NoError(t, err)
	defer p.Close()
	status, answer, err := p.Call(t.Context(), in.url+"/api/v1/reset", []byte("{}"))
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, string(answer), "may not call the admin API")
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	own := strings.TrimPrefix(in.url, "http://")
	for _, tt := range []struct {
		method  string
		headers []string
		want    int
	}{
		{"GET", []string{"Origin", "http://" + own}, 200},
		{"GET", []string{"Origin", "https://evil.example.com"}, 403},
		{"GET", []string{"Origin", "null"}, 403},
		{"GET", []string{"Origin", "http://127.0.0.1:1"}, 403},
		{"GET", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"GET", []string{"Sec-Fetch-Site", "same-site"}, 200},
		{"GET", []string{"Sec-Fetch-Site", "none"}, 200},
		{"DELETE", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"DELETE", []string{"Sec-Fetch-Site", "same-origin"}, 404},
	} {
		path := "/api/v1/devices/iothub/x/none"
		if tt.method == "GET" {
			path = "/api/v1/info"
		}
		require.Equal(t, tt.want, in.do(t, tt.method, path, "", tt.headers...).status, "%v", tt)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	in := start(t, Options{AdminToken: "boss", ViewerToken: "guest"})
	patch := func(token string) int {
		return in.do(t, "PATCH", "/api/v1/world", "a: b", "Content-Type", "application/yaml", "Authorization", "Bearer "+token).status
	}
	require.Equal(t, 200, in.get(t, "/healthz").status)
	require.Equal(t, 200, in.get(t, "/api/v1/ca.pem").status)
	a := in.get(t, "/api/v1/info")
	require.Equal(t, 401, a.status)
	require.Contains(t, a.header.Get("WWW-Authenticate"), "Bearer")
	require.Equal(t, 401, in.get(t, "/api/v1/info", "Authorization", "Bearer wrong").status)
	require.Equal(t, 401, in.get(t, "/api/v1/info", "Authorization", "Basic boss").status)
	require.Equal(t, 401, in.get(t, "/explain/x").status)
	require.Equal(t, 200, in.get(t, "/api/v1/info", "Authorization", "Bearer guest").status)
	require.Equal(t, 403, in.get(t, "/api/v1/world", "Authorization", "Bearer guest").status)
	require.Equal(t, 200, in.get(t, "/api/v1/world", "Authorization", "bearer boss").status)
	require.Equal(t, 403, patch("guest"))
	require.Equal(t, 204, patch("boss"))

	in = start(t, Options{AdminToken: "boss"})
	require.Equal(t, 401, in.get(t, "/api/v1/info", "Authorization", "Bearer ").status, "an unset token equals nothing")
}

func TestBodies(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	post := func(body, kind string) *answer {
		return in.do(t, "POST", "/api/v1/pki/devices", body, "Content-Type", kind)
	}
	for _, kind := range []string{"application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "application/yaml", "s3cret", ""} {
		a := post("commonName=s3cret", kind)
		require.Equal(t, http.StatusUnsupportedMediaType, a.status, kind)
		require.Contains(t, a.problem(t).Detail, "curl -X POST -H 'Content-Type: application/json' --data '{…}' "+in.url+"/api/v1/pki/devices")
		require.NotContains(t, a.body, "s3cret")
	}
	a := post(`{"commonName": "s3cret",}`, "application/json")
	require.Equal(t, http.StatusBadRequest, a.status)
	require.Contains(t, a.problem(t).Detail, "line 1, column")
	for body, status := range map[string]int{
		`{"commonName":"s3cret","extra":1}`:                          422,
		`{"commonName":{"s3cret":1}}`:                                422,
		`{"commonName":"a","key":"s3cret"}`:                          422,
		`{"commonName":"a","notAfter":"s3cret"}`:                     422,
		`{"commonName":"a","ca":"s3cret"}`:                           404,
		`{"commonName":"a","ca":"../s3cret"}`:                        404,
		`{"commonName":"a","password":"s3cret"}`:                     422,
		`{}{}`:                                                       400,
		strings.Repeat("[", 100) + strings.Repeat("]", 100):          400,
		`{"commonName":"` + strings.Repeat("s3cret", 200_000) + `"}`: 413,
		`{"commonName":"a","notBefore":"2030-01-01T00:00:00Z","notAfter":"2020-01-01T00:00:00Z"}`: 422,
	} {
		a := post(body, "application/json; charset=utf-8")
		require.Equal(t, status, a.status, a.body)
		a.problem(t)
		require.NotContains(t, strings.ReplaceAll(a.body, "extra", ""), "s3cret")
	}
	for body, detail := range map[string]string{
		`{"commonName":"a", "commonName":"b"}`:                                      `the body gives the key "commonName" twice in one object: line 1, column 32`,
		"{\"commonName\":\"a\",\n\"x\":[{\"y\":{}, \"y\":1}]}":                      `the body gives the key "y" twice in one object: line 2, column 18`,
		`{"` + strings.Repeat("k", 99) + `":1,"` + strings.Repeat("k", 99) + `":2}`: `the body gives the key "` + strings.Repeat("k", 64) + `" twice in one object: line 1, column 207`,
	} {
		a := post(body, "application/json")
		require.Equal(t, http.StatusBadRequest, a.status, a.body)
		require.Equal(t, detail, a.problem(t).Detail)
	}
	a = post(`{"commonName":"commonName","x":[{"commonName":1},{"commonName":"commonName"}]}`, "application/json")
	require.Equal(t, http.StatusUnprocessableEntity, a.status, "a name may be a value too, and stand in two objects")
	a = in.do(t, "PATCH", "/api/v1/world", strings.Repeat("- ", 100)+"a", "Content-Type", "application/yaml")
	require.Equal(t, http.StatusBadRequest, a.status)
	a = in.do(t, "PATCH", "/api/v1/world", "a: "+strings.Repeat("[", 100), "Content-Type", "application/yaml")
	require.Equal(t, http.StatusBadRequest, a.status)
}

// TestLAN asks over connections whose local address is given.
func TestLAN(t *testing.T) {
	t.Parallel()
	p, _, _ := newPlane(t)
	h := New(p, Options{LAN: true})
	ask := func(method, path, local string) int {
		addr := &net.TCPAddr{IP: net.ParseIP(local), Port: 8484}
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(addr))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, "http://"+addr.String()+path, http.NoBody))
		return w.Code
	}
	for _, path := range []string{"/api/v1/ca.pem", "/api/v1/explain", "/explain", "/explain/dev", "/healthz"} {
		require.Equal(t, 200, ask("GET", path, "192.168.1.5"), path)
	}
	for _, path := range []string{"/api/v1/info", "/api/v1/world", "/metrics", "/api/v1/pki/demo-ca.pem", "/explainx", "/explain/../api/v1/world"} {
		require.NotEqual(t, 200, ask("GET", path, "192.168.1.5"), path)
	}
	require.Equal(t, 403, ask("POST", "/explain", "192.168.1.5"))
	require.Equal(t, 200, ask("GET", "/api/v1/info", "127.0.0.1"))
	require.Equal(t, 200, ask("GET", "/api/v1/info", "::1"))
}

func TestLineToCopyIsSafe(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "http://localhost:8484/api/v1/devices/a/b/c'$(x)/disconnect", http.NoBody)
	require.Equal(t, "curl -X POST -H 'Content-Type: application/json' --data '{…}' http://127.0.0.1:8484/api/v1/…", lineToCopy(r))
	r.Host, r.URL.Path, r.URL.RawPath = "localhost;id", "/x", ""
	require.Contains(t, lineToCopy(r), "http://127.0.0.1:8484/")
}
