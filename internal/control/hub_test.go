package control

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// failing is a plane.Hubs all of whose calls end with one error.
type failing struct {
	plane.Hubs
	err error
}

func (f failing) Invoke(context.Context, string, string, plane.MethodCall) (plane.MethodResult, error) {
	return plane.MethodResult{}, f.err
}

func (f failing) SendC2D(string, string, plane.C2D) (plane.Queued, error) {
	return plane.Queued{}, f.err
}

// File hands out a page, which a browser must not take for one.
func (f failing) File(string, string) (plane.HubFile, []byte, error) {
	return plane.HubFile{ContentType: "text/html"}, []byte("<script>"), f.err
}

func TestHubProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		status int
	}{
		{&rule.Refusal{Rule: "HUB-16/cn", Code: 504101, Detail: "no answer", Seen: "s", Expected: "e"}, http.StatusGatewayTimeout},
		{&rule.Refusal{Rule: "HUB-16/cn", Code: 403004}, http.StatusForbidden},
		{&rule.Refusal{Rule: "HUB-16/cn", Code: 5}, http.StatusUnprocessableEntity},
		{plane.ErrNoHub, http.StatusNotFound},
		{plane.ErrNoDevice, http.StatusNotFound},
		{plane.ErrArgument, http.StatusUnprocessableEntity},
		{context.Canceled, http.StatusServiceUnavailable},
		{http.ErrBodyNotAllowed, http.StatusInternalServerError},
	} {
		in := start(t, Options{})
		in.plane.Hubs = failing{err: c.err}
		a := in.do(t, http.MethodPost, "/api/v1/iothub/fakecloud-hub/methods/dev-0", `{"methodName":"m"}`, "Content-Type", "application/json")
		require.Equal(t, c.status, a.status, a.body)
		p := a.problem(t)
		require.NotContains(t, a.body, http.ErrBodyNotAllowed.Error())
		if _, refused := c.err.(*rule.Refusal); refused {
			require.Equal(t, rule.ID("HUB-16/cn"), p.Rule)
			require.Equal(t, "issue a certificate with the device id as common name", p.Fix)
		}
		if c.err == plane.ErrNoDevice {
			require.Equal(t, "dev-01", p.Closest[0])
		}
	}
}

func TestHubCallsRefuseWhatIsNotTheirs(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	in.plane.Hubs = failing{}
	for path, body := range map[string]string{
		"/messages/d": `{"ack":"maybe-secret"}`, "/methods/d": `{"methodName":""}`, "/methods/d/m": `{"methodName":"m","connectTimeoutInSeconds":301}`,
		"/messages/d/m": `{"bodyBase64":"not base64-secret"}`,
	} {
		a := in.do(t, http.MethodPost, "/api/v1/iothub/fakecloud-hub"+path, body, "Content-Type", "application/json")
		require.Equal(t, http.StatusUnprocessableEntity, a.status, "%s %s", body, a.body)
		require.NotContains(t, a.body, "secret")
	}
	a := in.get(t, "/api/v1/iothub/fakecloud-hub/files/d/page.html")
	require.Equal(t, "application/octet-stream", a.header.Get("Content-Type"))
	require.Equal(t, "attachment", a.header.Get("Content-Disposition"))

	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	require.NoError(t, json.Unmarshal([]byte(in.get(t, "/api/v1/openapi.json").body), &doc))
	for path, methods := range map[string][]string{"messages/{device}": {"post", "delete"}, "methods/{device}": {"post"},
		"twins/{device}": {"get", "patch", "put"}, "telemetry": {"get"}, "files": {"get"}, "files/{file}": {"get"}} {
		for _, m := range methods {
			require.Contains(t, doc.Paths["/api/v1/iothub/{hub}/"+path], m)
		}
	}
}
