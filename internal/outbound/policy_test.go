package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is a server that counts what reaches it.
type receiver struct {
	*httptest.Server
	calls atomic.Int32
	last  atomic.Pointer[http.Request]
	body  atomic.Pointer[string]
}

func receive(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		text := string(body)
		r.calls.Add(1)
		r.last.Store(q)
		r.body.Store(&text)
		answer(w, q)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) port() string {
	u, _ := url.Parse(r.URL)
	return u.Port()
}

func policy(t *testing.T, c Config) *Policy {
	t.Helper()
	p, err := New(c)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// leads is a name server that knows one answer.
func leads(to ...string) func(context.Context, string) ([]netip.Addr, error) {
	return func(context.Context, string) ([]netip.Addr, error) {
		var found []netip.Addr
		for _, a := range to {
			found = append(found, netip.MustParseAddr(a))
		}
		return found, nil
	}
}

// noLookup fails the test: a refused name is not even looked up.
func noLookup(t *testing.T) func(context.Context, string) ([]netip.Addr, error) {
	return func(_ context.Context, name string) ([]netip.Addr, error) {
		t.Errorf("%s was looked up", name)
		return nil, errors.New("no")
	}
}

// refused sees that err is the refusal of rule id, as a caller writes it into the journal.
func refused(t *testing.T, id rule.ID, err error) {
	t.Helper()
	var r *rule.Refusal
	require.ErrorAs(t, err, &r)
	j := journal.New(clock.New(), rule.NewTable(Rules), journal.Options{})
	j.Refuse(journal.Event{Platform: "dps"}, r)
	events, _ := j.Select(journal.Filter{Kind: journal.Refused})
	require.Len(t, events, 1)
	require.Equal(t, id, events[0].Rule)
	require.NotEmpty(t, events[0].Detail)
	require.NotEmpty(t, events[0].Fix)
}

func TestLoopbackIsCalled(t *testing.T) {
	t.Parallel()
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"a":1}`)
	})
	p := policy(t, Config{Lookup: leads("127.0.0.1")})
	for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST.", "hook.localhost", "[::ffff:127.0.0.1]"} {
		status, answer, err := p.Call(t.Context(), "http://"+host+":"+r.port()+"/x?code=1", []byte(`{"b":2}`))
		require.NoError(t, err, host)
		require.Equal(t, http.StatusCreated, status)
		require.JSONEq(t, `{"a":1}`, string(answer))
	}
	require.EqualValues(t, 5, r.calls.Load())
	require.Equal(t, `{"b":2}`, *r.body.Load())
	require.Equal(t, http.MethodPost, r.last.Load().Method)
	require.Equal(t, "/x?code=1", r.last.Load().URL.String())
	require.Equal(t, "application/json; charset=utf-8", r.last.Load().Header.Get("Content-Type"))
	require.Equal(t, "1", r.last.Load().Header.Get(Header))
}

func TestForeignHostsAreNotCalled(t *testing.T) {
	t.Parallel()
	p := policy(t, Config{Lookup: noLookup(t), Allow: []string{"allowed.example:8080"}})
	for _, u := range []string{
		"http://hooks.example/", "https://192.0.2.1/", "http://0.0.0.0/", "http://[::]/", "http://[fe80::1]/", "http://169.254.169.254/metadata",
		"http://localhost.example/", "http://xlocalhost/", "http://127.0.0.1.example/", "http://allowed.example/", "http://allowed.example.example:8080/",
		"http://localhost@hooks.example/", "http://2130706433/", "http://0x7f.1/", "http://127.1/",
	} {
		_, err := p.Post(t.Context(), u, nil)
		refused(t, "OUT-1/host", err)
	}
	rule.Proves(t, "OUT-1/host")
	for _, u := range []string{"", "hooks.example/path", "ftp://localhost/", "file:///etc/passwd", "http://", "http://localhost:0/", "http://localhost:99999/", "http://[::1", "http:///x", "://"} {
		_, err := p.Post(t.Context(), u, nil)
		refused(t, "OUT-1/url", err)
	}
	rule.Proves(t, "OUT-1/url")
}

func TestAllowedHostsAreCalledWhereverTheyMayLead(t *testing.T) {
	t.Parallel()
	r := receive(t, func(http.ResponseWriter, *http.Request) {})
	p := policy(t, Config{Allow: []string{"Hooks.Example"}, Lookup: leads("169.254.169.254", "127.0.0.1")})
	status, err := p.Post(t.Context(), "http://hooks.example:"+r.port(), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)

	_, err = p.Post(t.Context(), "http://named.example:"+r.port(), nil)
	refused(t, "OUT-1/host", err)
	h, err := ParseHost("named.example:" + r.port())
	require.NoError(t, err)
	p.Name([]Host{h})
	_, err = p.Post(t.Context(), "http://named.example:"+r.port(), nil)
	require.NoError(t, err)
	require.EqualValues(t, 2, r.calls.Load())
}

func TestNameServersDoNotLeadAstray(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, to string }{
		{"localhost", "192.0.2.1"}, {"hook.localhost", "10.0.0.1"}, {"ok.example", "169.254.169.254"},
		{"ok.example", "0.0.0.0"}, {"ok.example", "fe80::1"}, {"ok.example", "::ffff:169.254.169.254"}, {"ok.example", "ff02::1"},
	} {
		p := policy(t, Config{Allow: []string{"ok.example"}, Lookup: leads(row.to)})
		_, err := p.Post(t.Context(), "http://"+row.name+":9/", nil)
		refused(t, "OUT-1/address", err)
	}
	rule.Proves(t, "OUT-1/address")
}

func TestRedirectsAreAnswers(t *testing.T) {
	t.Parallel()
	r := receive(t, func(w http.ResponseWriter, q *http.Request) {
		http.Redirect(w, q, "http://192.0.2.1/", http.StatusTemporaryRedirect)
	})
	status, err := policy(t, Config{}).Post(t.Context(), r.URL, []byte("{}"))
	require.NoError(t, err)
	require.Equal(t, http.StatusTemporaryRedirect, status)
	require.EqualValues(t, 1, r.calls.Load())
}

func TestLimits(t *testing.T) {
	t.Parallel()
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", MaxBody+1))
	})
	p := policy(t, Config{})
	_, err := p.Post(t.Context(), r.URL, make([]byte, MaxBody+1))
	refused(t, "OUT-2/request", err)
	require.EqualValues(t, 0, r.calls.Load())
	_, err = p.Post(t.Context(), r.URL, make([]byte, MaxBody))
	refused(t, "OUT-2/answer", err)
	require.EqualValues(t, 1, r.calls.Load())
	rule.Proves(t, "OUT-2/request", "OUT-2/answer")

	held := make(chan struct{})
	slow := receive(t, func(http.ResponseWriter, *http.Request) { <-held })
	defer close(held)
	_, err = policy(t, Config{Timeout: time.Millisecond}).Post(t.Context(), slow.URL, nil)
	refused(t, "OUT-2/time", err)
	rule.Proves(t, "OUT-2/time")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Post(ctx, slow.URL, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// An error of the network names the host, and not what may be secret in the URL.
func TestErrorsHideTheQuery(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = policy(t, Config{}).Post(t.Context(), fmt.Sprintf("http://%s/api?code=geheim", l.Addr()), nil)
	require.ErrorContains(t, err, l.Addr().String())
	require.NotContains(t, err.Error(), "geheim")
}

func TestParseHost(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Hooks.Example.com": "hooks.example.com", "hooks.example.com.:8080": "hooks.example.com:8080", "host_1": "host_1",
		"10.0.0.1": "10.0.0.1", "10.0.0.1:99": "10.0.0.1:99", "::1": "::1", "[::1]": "::1", "[fd00::1]:80": "[fd00::1]:80",
	} {
		h, err := ParseHost(text)
		require.NoError(t, err, text)
		require.Equal(t, want, h.String())
	}
	for text, want := range map[string]string{
		"https://hooks.example.com/x": "use hooks.example.com", "": "is not a host name", "*": "is not a host name", "a b": "is not a host name",
		"a:b:c": "is not a host name", "host:0": "1 to 65535", "host:x": "1 to 65535", "-a": "is not a host name", "a..b": "is not a host name",
		strings.Repeat("a", 254): "is not a host name",
	} {
		_, err := ParseHost(text)
		require.ErrorContains(t, err, want, text)
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"hooks.example.com", "[::1]:80", "10.0.0.1:1", "https://x/", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHost(s)
		if err != nil {
			return
		}
		again, err := ParseHost(h.String())
		require.NoError(t, err)
		require.Equal(t, h, again)
	})
}
