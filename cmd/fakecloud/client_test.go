package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// env returns a lookup in pairs of name and value.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// cli runs one command line.
func cli(t *testing.T, env func(string) string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut strings.Builder
	a := &app{in: strings.NewReader(""), out: &out, err: &errOut, env: env}
	code = a.run(t.Context(), args)
	return code, out.String(), errOut.String()
}

func TestClientCommands(t *testing.T) {
	t.Parallel()
	cloud, admin := running(t)
	j := cloud.Plane().Journal
	at := env("FAKECLOUD_ADMIN", admin)
	j.Append(journal.Event{Platform: "iothub", Kind: journal.Telemetry, Device: "dev-01", Conn: 91, Payload: []byte(`{"temperature":21}`)})
	j.Refuse(journal.Event{Platform: "iothub", Device: "dev-01", Conn: 92, Address: "192.168.1.20:5"}, &rule.Refusal{Rule: "HUB-5/signature", Code: 5, Seen: "sig=***"})

	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string // parts
	}{
		{args: []string{"health"}, stdout: "ready\n"},
		{args: []string{"version"}, stdout: "fakecloud "},
		{args: []string{"version", "x"}, code: 2, stderr: "see fakecloud version --help"},
		{args: []string{"rules", "hub-5/signature"}, stdout: "HUB-5/signature"},
		{args: []string{"rules", "DA"}, stdout: "DA-60    documented"},
		{args: []string{"rules", "AMQP"}, stdout: "AMQP-1   not built yet"},
		{args: []string{"rules", "--enforced", "--as", "json"}, stdout: `"id": "DPS-1"`},
		{args: []string{"rules", "XX-1"}, code: 1, stderr: `no such rule: "XX-1"; their ids begin with AMQP, DA, DOOR, DPS`},
		{args: []string{"rules", "hubb-1"}, code: 1, stderr: "did you mean HUB?"},
		{args: []string{"rules", "HUB-999"}, code: 1, stderr: "`fakecloud rules HUB` lists those of its kind"},
		{args: []string{"rules", "HUB-16/cnn"}, code: 1, stderr: `HUB-16 has no cause "cnn"; it has cn, chain, unverified; did you mean cn?`},
		{args: []string{"rules", "--as", "xml"}, code: 2, stderr: "--as is one of text, json"},
		{args: []string{"events", "--kind", "telemetry"}, stdout: `dev-01                    telemetry   {"temperature":21}`},
		{args: []string{"events", "--match", "payload.temperature>20", "--as", "json"}, stdout: `"payload":"{\"temperature\":21}"`},
		{args: []string{"events", "--as", "mermaid"}, stdout: "sequenceDiagram"},
		{args: []string{"events", "--as", "mosquitto"}, stdout: "# no CONNECT"},
		{args: []string{"events", "--match", "nonsense"}, code: 2, stderr: "match: position 1"},
		{args: []string{"events", "--since", "x"}, code: 2, stderr: `--since "x": a whole number from 0 is wanted; see fakecloud events --help`},
		{args: []string{"events", "--count", "1.5"}, code: 2, stderr: `--count "1.5": a whole number is wanted`},
		{args: []string{"fault", "set", "connect", "--delay", "5"}, code: 2, stderr: `--delay "5": a duration such as 90s or 1h30m is wanted`},
		{args: []string{"fault", "set", "connect", "--probability", "half"}, code: 2, stderr: `--probability "half": a number is wanted`},
		{args: []string{"fault", "set", "connect", "--drop=maybe"}, code: 2, stderr: `--drop "maybe": true or false is wanted`},
		{args: []string{"events", "-f", "--as", "mermaid"}, code: 2, stderr: "-f goes with"},
		{args: []string{"events", "-f", "--limit", "1"}, stdout: "telemetry"},
		{args: []string{"events", "--device", "dev-02", "--kind", "refused", "--wait", "1ms"}, code: 1, stderr: "near miss, other device"},
		{args: []string{"explain"}, stdout: "HUB-5/signature"},
		{args: []string{"explain", "dev-01"}, stdout: "device saw  CONNACK 5 (not authorized), then the socket closed"},
		{args: []string{"explain", "192.168.1.20"}, stdout: "HUB-5/signature"},
		{args: []string{"explain", "Connection", "Refused:", "not", "authorised."}, stdout: "HUB-5/signature"},
		{args: []string{"explain", "dem-sas"}, stdout: "demo-sas"},
		{args: []string{"explain", "--last", "--as", "json"}, stdout: `"rule":"HUB-5/signature"`},
		{args: []string{"explain", "--last", "x"}, code: 2, stderr: "--last stands alone"},
		{args: []string{"devices"}, stdout: "demo-sas"},
		{args: []string{"devices", "demo-sas"}, stdout: `"connected": false`},
		{args: []string{"devices", "Demo-sas"}, code: 1, stderr: `no device "Demo-sas"; is it demo-sas`},
		{args: []string{"devices", "disconnect"}, code: 2, stderr: "devices disconnect wants ID; see"},
		{args: []string{"devices", "expire", "*"}, code: 1, stderr: "nothing was expired: none of these"},
		// An unset variable in a script must not mean everything.
		{args: []string{"devices", ""}, code: 2, stderr: "ID is empty"},
		{args: []string{"devices", "delete", ""}, code: 2, stderr: "ID is empty"},
		{args: []string{"devices", "expire", ""}, code: 2, stderr: "ID is empty"},
		{args: []string{"devices", "disconnect", ""}, code: 2, stderr: "ID is empty"},
		{args: []string{"fault", "clear", ""}, code: 2, stderr: "query.id"},
		{args: []string{"fault", "set", "connect", "--close", "--device", ""}, code: 2, stderr: "match.device: it is empty"},
		{args: []string{"fault", "set", "connect", "--close", "--count", "0"}, code: 2, stderr: "count: it is at least 1"},
		{args: []string{"fault", "set", "connect", "--close", "--probability", "0"}, code: 2, stderr: "probability: it is more than 0"},
		{args: []string{"adopt", ""}, code: 2, stderr: "DEVICE or ADDRESS is empty"},
		{args: []string{"reset", ""}, code: 2, stderr: "DEVICE is empty"},
		{args: []string{"devices", "delete", "demo["}, code: 2, stderr: "device: it is a glob"},
	} {
		code, stdout, stderr := cli(t, at, tt.args...)
		require.Equal(t, tt.code, code, "%v: %s", tt.args, stderr)
		require.Contains(t, stdout, tt.stdout, tt.args)
		require.Contains(t, stderr, tt.stderr, tt.args)
	}

	code, stdout, stderr := cli(t, at, "devices", "delete", "demo-s*")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "deleted iothub")
	code, _, _ = cli(t, at, "devices", "demo-sas")
	require.Equal(t, 1, code)
}

func TestFollowEndsWithTheCommand(t *testing.T) {
	t.Parallel()
	cloud, admin := running(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &firstWrite{seen: make(chan struct{})}
	a := &app{in: strings.NewReader(""), out: out, err: &strings.Builder{}, env: env("FAKECLOUD_ADMIN", admin)}
	done := make(chan int)
	go func() { done <- a.run(ctx, []string{"events", "-f", "--kind", "telemetry"}) }()
	cloud.Plane().Journal.Append(journal.Event{Platform: "iothub", Kind: journal.Telemetry})
	<-out.seen
	cancel()
	require.Zero(t, <-done)
}

// firstWrite tells of the first write.
type firstWrite struct {
	seen chan struct{}
	told bool
}

func (w *firstWrite) Write(b []byte) (int, error) {
	if !w.told {
		w.told = true
		close(w.seen)
	}
	return len(b), nil
}

func TestNoInstance(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	code, _, stderr := cli(t, env(), "health", "--admin", "http://"+address)
	require.Equal(t, 1, code)
	require.Equal(t, "fakecloud: no fakecloud answers at http://"+address+": start it with `fakecloud serve`, or name it with --admin\n", stderr)

	code, _, stderr = cli(t, env(), "health", "--admin", "ftp://x")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "--admin wants the URL")

	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	code, _, stderr = cli(t, env(), "health", "--admin", other.URL)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "is it another program's port?")
}

func TestInstanceOfTheDataDirectory(t *testing.T) {
	t.Parallel()
	_, admin := running(t)
	data := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(data, adminFile), []byte(admin+"\n"), 0o600))
	code, stdout, stderr := cli(t, env("FAKECLOUD_DATA", data), "health")
	require.Zero(t, code, stderr)
	require.Equal(t, "ready\n", stdout)
}

func TestTokensAreSent(t *testing.T) {
	t.Parallel()
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		_ = json.NewEncoder(w).Encode(map[string]string{"status": "ready"})
	}))
	defer server.Close()
	for _, e := range []func(string) string{env("FAKECLOUD_ADMIN_TOKEN", "boss", "FAKECLOUD_VIEWER_TOKEN", "guest"), env("FAKECLOUD_VIEWER_TOKEN", "guest"), env()} {
		code, _, stderr := cli(t, e, "health", "--admin", server.URL)
		require.Zero(t, code, stderr)
	}
	require.Equal(t, []string{"Bearer boss", "Bearer guest", ""}, got)
}
