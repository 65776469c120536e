package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// limitFiles bounds the size of every file that a process writes, as a full disk would, or takes the bound away: prlimit(2)
// on RLIMIT_FSIZE. Go ignores the signal that goes with it.
func limitFiles(t *testing.T, pid int, most uint64) {
	t.Helper()
	limit := struct{ soft, hard uint64 }{most, ^uint64(0)}
	_, _, number := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	require.Zero(t, number, "prlimit: %v", number)
}

// While the disk is full, what was acknowledged stays, what cannot be kept is not acknowledged, whoever comes is refused as
// by a cloud that has no room, those who are connected stay, and the operator is told once. When there is room again
// everything goes on without a restart.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	v := &victim{binary: build(t), dir: filepath.Join(t.TempDir(), "data"), world: filepath.Join(t.TempDir(), "world.yaml"), more: []string{"--https-port", "0"}}
	require.NoError(t, os.WriteFile(v.world, []byte(killWorld()), 0o600))
	v.start(t)
	v.ready(t)
	sender, bystander := v.device(t, "kill-0"), v.device(t, "kill-1")
	say := func(payload string, id uint16) {
		send(t, sender, rawmqtt.Publish("devices/kill-0/messages/events/", payload, 1, id, false))
	}
	say("one", 1)
	wantBytes(t, sender, 0x40, 2, 0, 1)

	limitFiles(t, v.cmd.Process.Pid, 1)
	say("two", 2)
	trouble := v.state(t, 1)
	require.Contains(t, trouble[0].Detail, "nothing is acknowledged")
	require.Contains(t, trouble[0].Seen, "file too large")
	require.Contains(t, trouble[0].Fix, "make room")
	for _, tt := range []struct{ method, path, body string }{
		{http.MethodGet, "/readyz", ""},
		{http.MethodPatch, "/api/v1/world", `{"azure":{"hubs":[{"name":"fakecloud-hub","devices":[{"deviceId":"refused"}]}]}}`},
	} {
		status, body := v.ask(t, tt.method, tt.path, tt.body)
		require.Equal(t, http.StatusServiceUnavailable, status, tt.path)
		require.Contains(t, body, "state cannot be kept", tt.path)
	}
	wantAlive(t, bystander)
	_, err := v.dial(demoHub, v.connect("kill-2"))
	require.ErrorContains(t, err, "got 20020003")
	require.Equal(t, http.StatusServiceUnavailable, v.post(t, "kill-3"))
	require.NoError(t, sender.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = sender.Conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "an acknowledgement of what is not kept")

	limitFiles(t, v.cmd.Process.Pid, ^uint64(0))
	wantBytes(t, sender, 0x40, 2, 0, 2)
	require.Contains(t, v.state(t, 2)[1].Detail, "can be kept again")
	status, _ := v.ask(t, http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, http.StatusNoContent, v.post(t, "kill-3"))
	v.device(t, "kill-2")
	require.Equal(t, 1, strings.Count(v.log.String(), `"level":"ERROR"`), "%s", &v.log)

	require.NoError(t, v.cmd.Process.Kill())
	require.Error(t, v.cmd.Wait(), "killed")
	world, err := os.ReadFile(v.world)
	require.NoError(t, err)
	cloud, err := fakecloud.New(t.Context(), fakecloud.WithDataDir(v.dir), fakecloud.WithWorld(string(world)), fakecloud.WithServerKey("ecdsa"))
	require.NoError(t, err)
	defer func() { require.NoError(t, cloud.Close()) }()
	kept, _ := cloud.Telemetry(demoHub, "kill-0", 0, 0)
	require.Len(t, kept, 2)
	require.Equal(t, "one", string(kept[0].Body))
	require.Equal(t, "two", string(kept[1].Body))
}

func (v *victim) connect(id string) rawmqtt.Connect {
	return rawmqtt.Connect{ClientID: id, Username: ptr(demoHub + "/" + id + "/?api-version=2021-04-12"),
		Password: ptr(sign(demoHub+"/devices/"+id, demoKey, farFuture, ""))}
}

// device connects one of the world's devices.
func (v *victim) device(t *testing.T, id string) *rawmqtt.Conn {
	t.Helper()
	c, err := v.dial(demoHub, v.connect(id))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// ask calls the admin API.
func (v *victim) ask(t *testing.T, method, path, body string) (status int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rawmqtt.Patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, v.admin+path, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := adminClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

// state waits for so many events that tell of the state's fate.
func (v *victim) state(t *testing.T, count int) []fakecloud.Event {
	t.Helper()
	status, body := v.ask(t, http.MethodGet, "/api/v1/events?kind=state&wait=10s&count="+string(rune('0'+count)), "")
	require.Equal(t, http.StatusOK, status, body)
	var events []fakecloud.Event
	for line := range strings.Lines(body) {
		var e fakecloud.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		events = append(events, e)
	}
	return events
}

// post sends a message over HTTPS and returns the status.
func (v *victim) post(t *testing.T, id string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rawmqtt.Patience)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: v.roots}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, v.https)
		}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+demoHub+"/devices/"+id+"/messages/events?api-version=2021-04-12", strings.NewReader("x"))
	require.NoError(t, err)
	request.Header.Set("Authorization", sign(demoHub+"/devices/"+id, demoKey, farFuture, ""))
	answer, err := (&http.Client{Transport: transport}).Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return answer.StatusCode
}

// Who starts an instance on a full disk is told so and can go on; it does not wait for room without a word.
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	binary := build(t)
	ctx := patience(t)
	dir := filepath.Join(t.TempDir(), "data")
	// 32 KiB, or 64 where the shell counts in kilobytes: room for the PKI and an empty state, and none for the world in it.
	out, err := exec.CommandContext(ctx, "sh", "-c", `ulimit -f 64 && exec "$@"`, "sh", binary, "serve", "--data", dir, "--server-key", "ecdsa",
		"--mqtts-port", "0", "--mqtt-port", "off", "--https-port", "off", "--edge-port", "off", "--proxy-port", "off", "--admin-port", "0").CombinedOutput()
	require.NoError(t, ctx.Err(), "it waits for room:\n%s", out)
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode(), "%s", out)
	require.Contains(t, string(out), "file too large")
	require.Contains(t, string(out), "--data takes another directory")
	require.NotContains(t, string(out), "ready")

	cloud, err := fakecloud.New(t.Context(), fakecloud.WithDataDir(dir), fakecloud.WithServerKey("ecdsa"))
	require.NoError(t, err, "with room again, what is there serves as the beginning")
	_, err = cloud.Twin("fakecloud-hub.azure-devices.net", "demo-sas")
	require.NoError(t, err)
	require.NoError(t, cloud.Close())
}
