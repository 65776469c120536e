package control

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/plane"
)

type sampleName struct {
	Name string `path:"name" maxLength:"4" doc:"its name"`
}

// SampleName is sampleName as huma wants it: it skips embedded structs that are not exported.
type SampleName sampleName

type sampleFilter struct {
	Since  uint64   `query:"since"`
	Limit  int      `query:"limit" minimum:"1" default:"7"`
	Last   bool     `query:"last"`
	Plain  []string `query:"plain"`
	Match  []string `query:"match,explode" maxItems:"2"`
	Accept string   `header:"X-Accept" maxLength:"3"`
}

type sampleBody struct {
	Count int               `json:"count" minimum:"2"`
	Tags  map[string]string `json:"tags,omitempty"`
}

type sampleInput struct {
	sampleName
	Body sampleBody
}

type humaInput struct {
	SampleName
	Body sampleBody
}

type sampleOptional struct{ Body *sampleBody }

type sampleRaw struct {
	ContentType string `header:"Content-Type"`
	RawBody     []byte `contentType:"application/yaml"`
}

type sampleOutput struct {
	Next string `header:"X-Next"`
	Body struct {
		Seen any `json:"seen"`
	}
}

type sampleFile struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func seen(what any) *sampleOutput {
	out := &sampleOutput{Next: "n"}
	out.Body.Seen = what
	return out
}

func answerRaw(_ context.Context, in *sampleRaw) (*sampleFile, error) {
	return &sampleFile{ContentType: in.ContentType, Body: in.RawBody}, nil
}

func answerFilter(_ context.Context, in *sampleFilter) (*sampleOutput, error) { return seen(in), nil }

func answerOptional(_ context.Context, in *sampleOptional) (*struct{}, error) {
	switch {
	case in.Body == nil:
		return nil, nil
	case in.Body.Count == 2:
		return nil, errors.New("of another kind")
	}
	return nil, refuse(http.StatusConflict, "refused")
}

// sample returns an API of its own with one call of each kind, added by register or by huma's own Register.
func sample(own bool) http.Handler {
	a := &api{mux: http.NewServeMux()}
	a.huma = humago.New(a.mux, describe("v"))
	post := call(http.MethodPost, "/things/{name}", "thing", "A thing")
	plain := huma.Operation{Method: http.MethodGet, Path: "/things", OperationID: "things"}
	optional := call(http.MethodPost, "/maybe", "maybe", "With a body or without")
	raw := stream(call(http.MethodPut, "/raw", "raw", "As it is"), "application/yaml")
	raw.MaxBodyBytes = 32
	if own {
		register(a, post, func(_ context.Context, in *sampleInput) (*sampleOutput, error) { return seen(in.Name), nil })
		register(a, plain, answerFilter)
		register(a, optional, answerOptional)
		register(a, raw, answerRaw)
	} else {
		huma.Register(a.huma, post, func(_ context.Context, in *humaInput) (*sampleOutput, error) { return seen(in.Name), nil })
		huma.Register(a.huma, plain, answerFilter)
		huma.Register(a.huma, optional, answerOptional)
		huma.Register(a.huma, raw, answerRaw)
	}
	return a.mux
}

// Calls are described, and their requests judged and answered, as huma's Register does it.
func TestCallsAreHumas(t *testing.T) {
	t.Parallel()
	ours, humas := sample(true), sample(false)
	for _, c := range []struct{ call, kind, body string }{
		{call: "GET /api/v1/openapi.json"},
		{call: "GET /things"}, {call: "GET /things?limit=0&since=-1&last=2&other=3"}, {call: "GET /things?limit=0&since=-1&last=2"},
		{call: "GET /things?limit=x&plain=a,b&match=c&match=d"}, {call: "GET /things?plain=a,b&match=c&match=d&last=true&since=3"},
		{call: "GET /things?match=c&match=d&match=e"}, {call: "GET /things?limit=9"},
		{"POST /things/abc", "application/json", `{"count":2}`}, {"POST /things/abcde", "application/json", `{"count":1,"more":{}}`},
		{"POST /things/abc", "application/json", ``}, {"POST /things/abc", "application/json", `null`}, {"POST /things/abc", "application/json", `{`},
		{"POST /things/abc", "", `{"count":2}`}, {"POST /things/abc", "text/plain", `{"count":2}`}, {"POST /things/abc", "application/json", `[]`},
		{"POST /things/abc", "application/json", `{"count":2.5}`}, {"POST /things/abc", "application/json", `{"tags":{"a":1}}`},
		{call: "POST /maybe"}, {"POST /maybe", "application/json", `{"count":2}`}, {"POST /maybe", "application/json", `{"count":3}`},
		{"PUT /raw", "application/yaml", "a: b"}, {"PUT /raw", "application/yaml", ""}, {"PUT /raw", "application/yaml", strings.Repeat("a", 40)},
	} {
		ask := func(h http.Handler) (int, http.Header, string) {
			method, target, _ := strings.Cut(c.call, " ")
			r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(c.body))
			r.Header.Set("X-Accept", "abc")
			if c.kind != "" {
				r.Header.Set("Content-Type", c.kind)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code, w.Header(), w.Body.String()
		}
		status, headers, body := ask(ours)
		wantStatus, wantHeaders, wantBody := ask(humas)
		require.Equal(t, wantStatus, status, c)
		require.Equal(t, wantHeaders, headers, c)
		if json.Valid([]byte(wantBody)) {
			require.JSONEq(t, wantBody, body, c)
		} else {
			require.Equal(t, wantBody, body, c)
		}
	}
}

// slow is a device that answers a method after a while, unless the caller has gone.
type slow struct {
	plane.Hubs
	after time.Duration
}

func (s slow) Invoke(ctx context.Context, _, _ string, _ plane.MethodCall) (plane.MethodResult, error) {
	select {
	case <-time.After(s.after):
		return plane.MethodResult{Status: 200, Payload: json.RawMessage("1")}, nil
	case <-ctx.Done():
		return plane.MethodResult{}, ctx.Err()
	}
}

// pipes is a listener whose connections are pipes, which a synctest bubble can wait for.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// The limits on how long a request may take to arrive do not break off the wait for a device's answer.
func TestMethodOutlastsRequestLimits(t *testing.T) {
	p, _, _ := newPlane(t)
	synctest.Test(t, func(t *testing.T) {
		p.Hubs = slow{after: 9 * time.Minute}
		l := make(pipes)
		s := Serve(New(p, Options{}), nil, l)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			l <- theirs
			return ours, nil
		}}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/api/v1/iothub/h/methods/d",
			strings.NewReader(`{"methodName":"m","connectTimeoutInSeconds":300,"responseTimeoutInSeconds":300}`))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		answer, err := client.Do(r)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.StatusCode)
		require.NoError(t, answer.Body.Close())
		require.NoError(t, s.Close(t.Context()))
	})
}
