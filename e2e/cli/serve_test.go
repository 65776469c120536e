//go:build unix

package cli

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"
)

// clean is the environment without settings of fakecloud.
func clean(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FAKECLOUD_") {
			env = append(env, v)
		}
	}
	return append(env, more...)
}

func startFor(t *testing.T, args ...string) *instance {
	t.Helper()
	i, err := start(t.TempDir(), clean(), append([]string{"serve", "--ephemeral"}, args...)...)
	require.NoError(t, err)
	t.Cleanup(i.kill)
	return i
}

func httpClient(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	answer, err := httpClient(t).Get(url)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}

// A reader of server-sent events sees an event come, and does not hold up the stop.
func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	i := startFor(t)
	request, err := http.NewRequest(http.MethodGet, i.env["ADMIN"]+"/api/v1/events?kind=closed", nil)
	require.NoError(t, err)
	request.Header.Set("Accept", "text/event-stream")
	answer, err := httpClient(t).Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, "text/event-stream", answer.Header.Get("Content-Type"))
	lines := bufio.NewScanner(answer.Body)
	require.True(t, lines.Scan())
	require.Equal(t, ": fakecloud", lines.Text())

	// Plain TCP on the TLS port is refused, with a rule, at once.
	conn, err := net.Dial("tcp", "127.0.0.1:"+i.env["MQTTS"])
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	require.NoError(t, err)
	status, body := get(t, i.env["ADMIN"]+"/api/v1/events?kind=refused&wait=20s")
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"rule":"TLS-`)

	open := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, answer.Body)
		open <- err
	}()
	require.NoError(t, i.end(syscall.SIGTERM))
	<-open
}

// Open device connections and half a handshake do not hold up the stop either.
func TestStopWithOpenConnections(t *testing.T) {
	t.Parallel()
	i := startFor(t)
	for _, port := range []string{"MQTTS", "HTTPS", "PROXY"} {
		conn, err := net.Dial("tcp", "127.0.0.1:"+i.env[port])
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte{0x16, 0x03, 0x01})
		require.NoError(t, err)
	}
	require.NoError(t, i.end(syscall.SIGINT))
}

func TestPFX(t *testing.T) {
	t.Parallel()
	i := startFor(t)
	answer, err := httpClient(t).Post(i.env["ADMIN"]+"/api/v1/pki/devices", "application/json",
		strings.NewReader(`{"commonName":"mydevice001","key":"rsa2048","format":"pfx","password":"12345678"}`))
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, "application/x-pkcs12", answer.Header.Get("Content-Type"))
	file, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	key, leaf, chain, err := pkcs12.DecodeChain(file, "12345678")
	require.NoError(t, err)
	require.NotNil(t, key)
	require.Equal(t, "mydevice001", leaf.Subject.CommonName)
	require.Len(t, chain, 1)
	_, _, _, err = pkcs12.DecodeChain(file, "wrong")
	require.Error(t, err)
}

// What the description lists is there, and what the design promises is listed.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	i := startFor(t)
	status, body := get(t, i.env["ADMIN"]+"/api/v1/openapi.json")
	require.Equal(t, http.StatusOK, status)
	var document struct {
		OpenAPI string                               `json:"openapi"`
		Paths   map[string]map[string]map[string]any `json:"paths"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &document))
	require.Regexp(t, `^3\.1\.`, document.OpenAPI)
	for _, route := range []string{"get /healthz", "get /readyz", "get /metrics", "get /api/v1/info", "get /api/v1/ca.pem",
		"get /api/v1/pki/{file}", "post /api/v1/pki/devices", "get /api/v1/events", "get /api/v1/devices",
		"get /api/v1/devices/{platform}/{endpoint}/{id}", "delete /api/v1/devices/{platform}/{endpoint}/{id}",
		"post /api/v1/devices/{platform}/{endpoint}/{id}", "get /api/v1/explain", "get /explain/{device}",
		"get /api/v1/rules", "get /api/v1/world", "put /api/v1/world", "patch /api/v1/world", "get /api/v1/openapi.json"} {
		method, path, _ := strings.Cut(route, " ")
		require.Contains(t, document.Paths[path], method, route)
	}
	seen := map[string]string{}
	for path, operations := range document.Paths {
		for method, operation := range operations {
			require.NotEmpty(t, operation["summary"], path)
			id, _ := operation["operationId"].(string)
			require.NotEmpty(t, id, path)
			require.Empty(t, seen[id], "%s twice", id)
			seen[id] = path
			if method == "get" && !strings.Contains(path, "{") {
				status, _ := get(t, i.env["ADMIN"]+path)
				require.Less(t, status, 300, path)
			}
		}
	}
}

// lanAddress is one of this machine's that is not loopback.
func lanAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			return p.Addr().String()
		}
	}
	return ""
}

// With --lan others reach the device ports, the CA and explain; the rest of the admin API stays here.
func TestLAN(t *testing.T) {
	t.Parallel()
	i := startFor(t, "--lan", "--https-port", "off")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(i.env["ADMIN"], "http://"))
	require.NoError(t, err)
	status, _ := get(t, i.env["ADMIN"]+"/api/v1/world")
	require.Equal(t, http.StatusOK, status)
	at := lanAddress(t)
	if at == "" { // a machine without network: nothing to reach it by
		require.NoError(t, i.end(syscall.SIGTERM))
		require.Contains(t, i.text(&i.out), "no address there")
		return
	}
	base := "http://" + net.JoinHostPort(at, port)
	for path, want := range map[string]int{"/api/v1/ca.pem": 200, "/api/v1/explain?last=true": 200, "/explain/dev1": 200, "/healthz": 200,
		"/api/v1/info": 403, "/api/v1/world": 403, "/api/v1/events": 403, "/api/v1/devices": 403, "/metrics": 403, "/api/v1/pki/demo-ca.pem": 403} {
		status, body := get(t, base+path)
		require.Equal(t, want, status, "%s: %s", path, body)
	}
	answer, err := httpClient(t).Post(base+"/api/v1/pki/devices", "application/json", strings.NewReader(`{"commonName":"x"}`))
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusForbidden, answer.StatusCode)
	conn, err := net.Dial("tcp", net.JoinHostPort(at, i.env["MQTTS"]))
	require.NoError(t, err)
	conn.Close()

	require.NoError(t, i.end(syscall.SIGTERM))
	text := i.text(&i.out)
	require.Contains(t, text, at)
	for _, want := range []string{"on the local network, at ", ":" + port + "/api/v1/ca.pem", "firmware:", "mosquitto_pub -h ",
		"Python SDK", "Node SDK", "PROVISIONING_IDSCOPE=0ne00FAKE01", "note: the Azure SDKs dial port 8883"} {
		require.Contains(t, text, want)
	}
}

// Without it nobody does.
func TestLoopbackOnly(t *testing.T) {
	t.Parallel()
	i := startFor(t)
	at := lanAddress(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(i.env["ADMIN"], "http://"))
	require.NoError(t, err)
	for _, p := range []string{port, i.env["MQTTS"], i.env["HTTPS"], i.env["PROXY"]} {
		if at == "" {
			break
		}
		_, err := net.Dial("tcp", net.JoinHostPort(at, p))
		require.Error(t, err, p)
	}
}

// nobody is a user who owns nothing.
const nobody = 65534

// A data directory that the user may not read or write is named, with the ways out. Root may do
// everything, so the binary runs as nobody then.
func TestDataDirectoryOfAnotherUser(t *testing.T) {
	t.Parallel()
	root, err := os.MkdirTemp("", "fakecloud-modes")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(root, 0o755))
	owned := filepath.Join(root, "state")
	t.Cleanup(func() {
		_ = os.Chmod(owned, 0o700) // for RemoveAll
		_ = os.RemoveAll(root)
	})
	i, err := start(root, clean(), "serve", "--data", owned)
	require.NoError(t, err)
	require.NoError(t, i.end(syscall.SIGTERM))
	require.NoError(t, os.Mkdir(filepath.Join(root, "readonly"), 0o555))
	require.NoError(t, os.Chmod(owned, 0o000))
	for name, data := range map[string]string{"unreadable": owned, "read-only": filepath.Join(root, "readonly"),
		"below a read-only one": filepath.Join(root, "readonly", "state")} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(binary, withFreePorts([]string{"serve", "--data", data}, nil)...)
			cmd.Dir, cmd.Env = "/", clean()
			if os.Getuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
			var out, errs strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &errs
			require.Error(t, runBounded(cmd))
			require.Equal(t, 1, cmd.ProcessState.ExitCode(), errs.String())
			require.Empty(t, out.String())
			require.Contains(t, errs.String(), data)
			require.Contains(t, errs.String(), "permission denied")
			require.Contains(t, errs.String(), "--data")
			require.Contains(t, errs.String(), "--ephemeral")
			require.NotContains(t, errs.String(), "panic")
		})
	}
}
