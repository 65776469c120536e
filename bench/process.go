package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// roleFlag makes this binary one of the servers.
const roleFlag = "-role"

// target is what a server process says of itself on its first line, and what clients need.
type target struct {
	Address string
	CA      string // PEM
	Cert    string // client certificate, PEM
	Key     string // its key, PEM
	// DeviceCA and DeviceCAKey issue certificates for agents, PEM.
	DeviceCA, DeviceCAKey string
	// ServerCert and ServerKey are what the server presents, PEM, for servers that are not ours.
	ServerCert, ServerKey string
	Hub                   string // host in user names; empty for the floors
	Devices               int    // how many devices bench-0, bench-1, … are registered
	API                   string // address of HTTPS, of fakecloud only
	EdgeCA                string // root of the gateway's chain, PEM
}

// process is a running server.
type process struct {
	name   string
	target target
	cmd    *exec.Cmd
	stdin  io.WriteCloser // nil for servers that are not ours
	stdout *bufio.Reader
}

// startRole runs this binary again as a server: fakecloud, tls or mochi, with a kind of server key.
func startRole(ctx context.Context, name string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, roleFlag, name)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout)}
	line, err := p.stdout.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.target)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("server %s: %w", name, err)
	}
	return p, nil
}

// tell has a server of ours do something, and returns when it is done.
func (p *process) tell(word string) error {
	if _, err := fmt.Fprintln(p.stdin, word); err != nil {
		return err
	}
	answer, err := p.stdout.ReadString('\n')
	if err == nil && answer != "ok\n" {
		err = fmt.Errorf("server %s, %s: %s", p.name, word, strings.TrimSpace(answer))
	}
	return err
}

// stop ends the process: a role ends when its standard input does.
func (p *process) stop() {
	if p.stdin != nil {
		p.stdin.Close()
	} else {
		_ = p.cmd.Process.Kill()
	}
	_ = p.cmd.Wait()
}

// userTick is the unit of /proc/PID/stat, 1/100 s on every Linux that Go runs on.
const userTick = 10 * time.Millisecond

// cpu returns the user and system time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var total time.Duration
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n) * userTick
	}
	return total, nil
}

// rss returns the resident memory of a process in KiB.
func rss(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			return strconv.Atoi(strings.Fields(value)[0])
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", pid)
}
