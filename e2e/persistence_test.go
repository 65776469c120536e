package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// killsVariable makes the test below kill more often than in a normal run (`make soak`).
const killsVariable = "FAKECLOUD_KILLS"

const normalKills = 10

// A process that is killed at any moment, under load, has kept every message that it sent a PUBACK for,
// every registration that it called assigned and every change of the world that it confirmed.
func TestKilledAtAnyMomentKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	kills := normalKills
	if text := os.Getenv(killsVariable); text != "" {
		var err error
		kills, err = strconv.Atoi(text)
		require.NoError(t, err, killsVariable)
	}
	v := &victim{binary: build(t), dir: filepath.Join(t.TempDir(), "data"), world: filepath.Join(t.TempDir(), "world.yaml")}
	require.NoError(t, os.WriteFile(v.world, []byte(killWorld()), 0o600))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	for life := range kills {
		v.start(t)
		if life%5 == 4 { // while it starts
			time.Sleep(time.Duration(chance.IntN(25)) * time.Millisecond)
			v.kill(t)
			v.start(t)
		}
		v.ready(t)
		v.load(t, life, 1+chance.IntN(2000))
		v.verify(t)
	}
	t.Logf("kept: %d messages, %d registrations, %d devices of patches", v.messages, len(v.assigned), len(v.patched))
	require.NotZero(t, v.messages)
	require.NotEmpty(t, v.assigned)
	require.NotEmpty(t, v.patched)
}

// The senders are devices kill-0, kill-1, … with the demo key.
const senders = 4

func killWorld() string {
	world := "azure:\n  hubs:\n    - name: fakecloud-hub\n      devices:\n"
	for i := range senders {
		world += fmt.Sprintf("        - {deviceId: kill-%d, authentication: {symmetricKey: {primaryKey: %s}}}\n", i, demoKey)
	}
	return world
}

// build makes the program.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "fakecloud.exe")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cmd/fakecloud").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// victim is a process that is killed again and again, and what it has acknowledged.
type victim struct {
	binary, dir, world string
	more               []string // flags

	cmd    *exec.Cmd
	out    io.Reader
	log    syncBuffer
	mqtts  string
	https  string
	admin  string
	roots  *x509.CertPool
	killed atomic.Bool
	// progress carries what is acknowledged in this life; enough is closed when nobody wants to know any more.
	progress chan gain
	enough   chan struct{}
	since    uint64 // telemetry that was verified
	senders  [senders]acked

	messages int
	mu       sync.Mutex
	assigned []string // registration ids
	patched  []string // device ids
}

// acked are the payloads of one sender in the order of their PUBACKs.
type acked []string

func (v *victim) start(t *testing.T) {
	t.Helper()
	v.killed.Store(false)
	v.log = syncBuffer{}
	v.cmd = exec.Command(v.binary, append([]string{"serve", "--data", v.dir, "--config", v.world, "--log-format", "json", "--server-key", "ecdsa",
		"--mqtts-port", "0", "--mqtt-port", "off", "--https-port", "off", "--edge-port", "off", "--proxy-port", "off", "--admin-port", "0"}, v.more...)...)
	v.cmd.Stderr = &v.log
	out, err := v.cmd.StdoutPipe()
	require.NoError(t, err)
	v.out = out
	require.NoError(t, v.cmd.Start())
	t.Cleanup(func() { _ = v.cmd.Process.Kill() }) // where the test has failed
}

// ready waits until the process serves.
func (v *victim) ready(t *testing.T) {
	t.Helper()
	line, err := bufio.NewReader(v.out).ReadBytes('\n')
	require.NoError(t, err, "%s", &v.log)
	var hello struct {
		Admin string
		Ports struct{ MQTTS, HTTPS int }
	}
	require.NoError(t, json.Unmarshal(line, &hello), "%s", line)
	v.admin, v.mqtts = hello.Admin, net.JoinHostPort("127.0.0.1", strconv.Itoa(hello.Ports.MQTTS))
	v.https = net.JoinHostPort("127.0.0.1", strconv.Itoa(hello.Ports.HTTPS))
	root, err := os.ReadFile(filepath.Join(v.dir, "pki", "root.pem"))
	require.NoError(t, err)
	v.roots = x509.NewCertPool()
	require.True(t, v.roots.AppendCertsFromPEM(root))
}

func (v *victim) kill(t *testing.T) {
	t.Helper()
	v.killed.Store(true)
	require.NoError(t, v.cmd.Process.Kill())
	require.Error(t, v.cmd.Wait(), "killed")
	require.NotContains(t, v.log.String(), `"level":"ERROR"`)
}

// load keeps the process busy from several connections and kills it amid that: when it has acknowledged so
// many messages, and in the first life at least one registration and one patch.
func (v *victim) load(t *testing.T, life, acknowledged int) {
	t.Helper()
	v.progress, v.enough = make(chan gain), make(chan struct{})
	var group sync.WaitGroup
	run := func(name string, work func() error) {
		group.Go(func() {
			for {
				if err := work(); v.killed.Load() {
					return
				} else if err != nil {
					t.Errorf("life %d, %s: %v", life, name, err)
					return
				}
			}
		})
	}
	for i := range senders {
		v.senders[i] = nil
		run("telemetry", func() error { return v.send(i, fmt.Sprintf("%d/%d/", life, i)) })
	}
	for i := range 2 {
		n := 0
		run("provisioning", func() error { n++; return v.provision(t, fmt.Sprintf("reg-%d-%d-%d", life, i, n)) })
	}
	n := 0
	run("patch", func() error { n++; return v.patch(fmt.Sprintf("patched-%d-%d", life, n)) })
	v.await(t, acknowledged, life == 0)
	v.kill(t)
	group.Wait()
}

// gain is something that the process has acknowledged.
type gain int

const (
	aMessage gain = iota
	aRegistration
	aPatch
)

// report says that something was acknowledged, as long as somebody waits for it.
func (v *victim) report(g gain) {
	select {
	case v.progress <- g:
	case <-v.enough:
	}
}

// await returns when the process has acknowledged so many messages, and one of everything where all is set.
func (v *victim) await(t *testing.T, messages int, all bool) {
	t.Helper()
	defer close(v.enough)
	var seen [aPatch + 1]int
	for seen[aMessage] < messages || all && (seen[aRegistration] == 0 || seen[aPatch] == 0) {
		select {
		case g := <-v.progress:
			seen[g]++
		case <-time.After(time.Minute):
			t.Fatalf("nothing was acknowledged for a minute, after %v", seen)
		}
	}
}

func (v *victim) dial(name string, connect rawmqtt.Connect) (*rawmqtt.Conn, error) {
	raw, err := tls.Dial("tcp", v.mqtts, &tls.Config{RootCAs: v.roots, ServerName: name})
	if err != nil {
		return nil, err
	}
	c := rawmqtt.New(raw)
	if _, err = c.Write(connect.Bytes()); err == nil {
		err = expect(c, []byte{0x20, 0x02, 0x00, 0x00})
	}
	if err != nil {
		c.Close()
	}
	return c, err
}

// expect reads one packet that has to be this one.
func expect(c *rawmqtt.Conn, want []byte) error {
	p, err := c.Read()
	if err == nil && !bytes.Equal(p.Bytes(), want) {
		err = fmt.Errorf("got %x, want %x", p.Bytes(), want)
	}
	return err
}

// send publishes on one connection, with a window in flight, until the process dies.
func (v *victim) send(sender int, prefix string) error {
	id := "kill-" + strconv.Itoa(sender)
	c, err := v.dial(demoHub, rawmqtt.Connect{ClientID: id, Username: ptr(demoHub + "/" + id + "/?api-version=2021-04-12"),
		Password: ptr(sign(demoHub+"/devices/"+id, demoKey, farFuture, ""))})
	if err != nil {
		return err
	}
	defer c.Close()
	const window = 8
	for sent, done := 0, 0; ; {
		for ; sent-done < window; sent++ {
			packet := rawmqtt.Publish("devices/"+id+"/messages/events/", prefix+strconv.Itoa(sent), 1, uint16(sent%60_000+1), false)
			if _, err := c.Write(packet); err != nil {
				return err
			}
		}
		if err := expect(c, binary.BigEndian.AppendUint16([]byte{0x40, 0x02}, uint16(done%60_000+1))); err != nil {
			return err
		}
		v.senders[sender] = append(v.senders[sender], prefix+strconv.Itoa(done))
		done++
		v.report(aMessage)
	}
}

// provision registers a device of the group demo-symmetric and polls until it is assigned.
func (v *victim) provision(t *testing.T, id string) error {
	c, err := v.dial(globalDPS, rawmqtt.Connect{ClientID: id, Username: ptr(idScope + "/registrations/" + id + "/api-version=2019-03-31"),
		Password: ptr(registrationToken(t, hmacKey(t, groupKey, id), idScope, id))})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(rawmqtt.Subscribe(1, 1, answers)); err != nil {
		return err
	}
	if _, err := c.Read(); err != nil {
		return err
	}
	request := "$dps/registrations/PUT/iotdps-register/?$rid=1"
	for {
		if _, err := c.Write(rawmqtt.Publish(request, "", 0, 0, false)); err != nil {
			return err
		}
		p, err := c.Read()
		if err != nil {
			return err
		}
		var state struct{ OperationID, Status string }
		if err := json.Unmarshal([]byte(p.Payload()), &state); err != nil {
			return fmt.Errorf("%s: %w", p.Payload(), err)
		}
		switch state.Status {
		case "assigning":
			request = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=" + state.OperationID
		case "assigned":
			v.mu.Lock()
			v.assigned = append(v.assigned, id)
			v.mu.Unlock()
			v.report(aRegistration)
			return nil
		default:
			return errors.New(p.Payload())
		}
	}
}

// patch adds a device to the hub.
func (v *victim) patch(id string) error {
	document := `{"azure":{"hubs":[{"name":"fakecloud-hub","devices":[{"deviceId":"` + id + `"}]}]}}`
	request, err := http.NewRequest(http.MethodPatch, v.admin+"/api/v1/world", strings.NewReader(document))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := adminClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		text, _ := io.ReadAll(response.Body)
		return fmt.Errorf("%s: %s", response.Status, text)
	}
	v.mu.Lock()
	v.patched = append(v.patched, id)
	v.mu.Unlock()
	v.report(aPatch)
	return nil
}

// verify starts an instance on what the process has left.
func (v *victim) verify(t *testing.T) {
	t.Helper()
	world, err := os.ReadFile(v.world)
	require.NoError(t, err)
	cloud, err := fakecloud.New(t.Context(), fakecloud.WithDataDir(v.dir), fakecloud.WithWorld(string(world)), fakecloud.WithServerKey("ecdsa"))
	require.NoError(t, err)
	defer func() { require.NoError(t, cloud.Close()) }()
	_, next := cloud.Telemetry(demoHub, "", v.since, 0)
	for i, want := range v.senders {
		messages, _ := cloud.Telemetry(demoHub, "kill-"+strconv.Itoa(i), v.since, 0)
		require.GreaterOrEqual(t, len(messages), len(want))
		for n, payload := range want { // and in order, each once
			require.Equal(t, payload, string(messages[n].Body))
		}
		v.messages += len(want)
	}
	v.since = next
	devices, registrations := map[string]bool{}, map[string]bool{}
	for _, d := range cloud.Devices() {
		if d.Platform == "iothub" {
			devices[d.ID] = true
			continue
		}
		d, err := cloud.Device(d.Platform, d.Endpoint, d.ID)
		require.NoError(t, err)
		registrations[d.ID] = d.State["status"] == "assigned"
	}
	for _, id := range v.assigned {
		require.True(t, registrations[id], "registration %s is gone", id)
		require.True(t, devices[id], "device %s is gone", id)
	}
	for _, id := range v.patched {
		require.True(t, devices[id], "device %s is gone", id)
	}
}
