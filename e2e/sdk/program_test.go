//go:build vendor

package sdk

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

// step is one line that a device program prints.
type step struct {
	Step, Status, Hub, Device, Error, Text string
}

// program is an SDK's device program.
type program struct {
	name string
	argv []string
}

// python is the interpreter that has the pinned packages.
func python() string {
	if path := os.Getenv("FAKECLOUD_PYTHON"); path != "" {
		return path
	}
	return "python3"
}

func programs() []program {
	return []program{
		{"python", []string{python(), "python/device.py"}},
		{"node", []string{"node", "node/device.js"}},
	}
}

// transports are what the program's TRANSPORT may be.
func (p program) transports() []string {
	if p.name == "python" {
		return []string{"mqtt", "ws"} // the SDK has no HTTPS
	}
	return []string{"mqtt", "ws", "http"}
}

// running is a device program at work.
type running struct {
	*testing.T
	name  string
	steps chan step
	ended chan int // its exit code, once
}

// patience is how long a program may be silent.
const patience = time.Minute

// start runs the program with its settings, until it ends or the test does.
func (p program) start(t *testing.T, env map[string]string) *running {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.argv[0], p.argv[1:]...)
	cmd.Env = os.Environ()
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	require.NoError(t, cmd.Start())
	r := &running{T: t, name: p.name, steps: make(chan step, 64), ended: make(chan int, 1)}
	go func() {
		readSteps(stdout, r.steps)
		_ = cmd.Wait() // the exit code tells
		r.ended <- cmd.ProcessState.ExitCode()
		close(r.steps)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s wrote:\n%s", p.name, stderr.String())
		}
	})
	return r
}

// readSteps hands on the steps until the output ends, or until its step "end".
func readSteps(from io.Reader, steps chan<- step) (status string) {
	for lines := bufio.NewScanner(from); lines.Scan(); {
		var s step
		if json.Unmarshal(lines.Bytes(), &s) != nil || s.Step == "" {
			continue
		}
		if s.Step == "end" {
			return s.Status
		}
		steps <- s
	}
	return ""
}

// await returns the next step of a name, passing over others, and with text given only one that has it.
func (r *running) await(name string, text ...string) step {
	r.Helper()
	silence := time.NewTimer(patience)
	defer silence.Stop()
	for {
		select {
		case s, ok := <-r.steps:
			if !ok {
				r.Fatalf("%s ended without step %s", r.name, name)
			}
			silence.Reset(patience)
			r.Logf("%s: %+v", r.name, s)
			if s.Step == name && (len(text) == 0 || s.Text == text[0]) {
				return s
			}
			if s.Step == "failed" {
				r.Fatalf("%s failed: %+v", r.name, s)
			}
		case <-silence.C:
			r.Fatalf("%s: no step %s in time", r.name, name)
		}
	}
}

// rest returns all steps to the end, and the exit code.
func (r *running) rest() ([]step, int) {
	r.Helper()
	var all []step
	silence := time.NewTimer(patience)
	defer silence.Stop()
	for {
		select {
		case s, ok := <-r.steps:
			if !ok {
				return all, <-r.ended
			}
			silence.Reset(patience)
			r.Logf("%s: %+v", r.name, s)
			all = append(all, s)
		case <-silence.C:
			r.Fatalf("%s does not end", r.name)
		}
	}
}

// run runs the program to its end and returns its steps and exit code.
func (p program) run(t *testing.T, env map[string]string) ([]step, int) {
	t.Helper()
	return p.start(t, env).rest()
}

// real starts fakecloud on the ports that the SDKs are welded to.
func real(t *testing.T, options ...fakecloud.Option) *fakecloud.Cloud {
	t.Helper()
	ports := fakecloud.Ports{MQTTS: 8883, MQTT: fakecloud.Off, HTTPS: []int{443}, Edge: fakecloud.Off, Proxy: fakecloud.Off}
	return fakecloud.Start(t, append([]fakecloud.Option{fakecloud.WithPorts(ports), fakecloud.WithBind("127.0.0.1")}, options...)...)
}

// alone counts the loopback addresses that beside has given away.
var alone atomic.Uint32

// beside starts fakecloud on the real ports of a loopback address of its own, which it returns, for a test
// that runs beside others. What the vendors' names have to do with is tested by those that use real.
func beside(t *testing.T, options ...fakecloud.Option) (cloud *fakecloud.Cloud, host string) {
	t.Helper()
	t.Parallel()
	n := alone.Add(1)
	host = netip.AddrFrom4([4]byte{127, 1, byte(n >> 8), byte(n)}).String()
	return real(t, append(options, fakecloud.WithBind(host))...), host
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, content, 0o600))
	return file
}

func with(base map[string]string, more map[string]string) map[string]string {
	all := map[string]string{}
	for k, v := range base {
		all[k] = v
	}
	for k, v := range more {
		all[k] = v
	}
	return all
}

func writeTo(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
}

// joined is a test's name from its parts.
func joined(parts ...string) string { return strings.Join(parts, "/") }

// last is the number of the journal's newest event.
func last(cloud *fakecloud.Cloud) uint64 {
	events := cloud.Events(fakecloud.Filter{})
	if len(events) == 0 {
		return 0
	}
	return events[len(events)-1].Seq
}
