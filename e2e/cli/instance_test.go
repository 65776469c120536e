//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience bounds every wait; none takes a fraction of it unless something is wrong.
const patience = 30 * time.Second

// stopBound is the promise that a stop takes less than a second, with room for a machine that runs other
// tests at the same time; scripts/container.sh measures the promise itself.
const stopBound = 8 * time.Second

// freePorts keeps tests off the fixed ports.
var freePorts = []string{"--mqtts-port", "--mqtt-port", "--https-port", "--proxy-port", "--edge-port", "--admin-port"}

// instance is a `fakecloud serve` that is ready.
type instance struct {
	cmd    *exec.Cmd
	ready  string // its first line
	env    map[string]string
	exited chan struct{}
	err    error // of Wait, once exited is closed

	mu       sync.Mutex
	out, log bytes.Buffer
}

// withFreePorts adds port 0 for what args leave open. A command that only carries flags is serve.
func withFreePorts(args []string, env []string) []string {
	all := slices.Clone(args)
	for _, flag := range freePorts {
		variable := "FAKECLOUD_" + strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(flag, "--"), "-", "_")) + "="
		given := slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, variable) })
		if !given && !slices.Contains(args, flag) {
			all = append(all, flag, "0")
		}
	}
	return all
}

// start runs the binary with args and waits for its first line.
func start(dir string, env []string, args ...string) (*instance, error) {
	i := &instance{exited: make(chan struct{})}
	i.cmd = exec.Command(binary, withFreePorts(args, env)...)
	i.cmd.Dir, i.cmd.Env = dir, env
	i.cmd.Stderr = writer{i, &i.log}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	i.cmd.Stdout = write
	err = i.cmd.Start()
	write.Close()
	if err != nil {
		read.Close()
		return nil, err
	}
	first := make(chan string, 1)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		i.read(read, first)
	}()
	go func() {
		i.err = i.cmd.Wait()
		<-drained
		close(i.exited)
	}()
	select {
	case i.ready = <-first:
	case <-time.After(patience):
		i.kill()
		return nil, errors.New("serve says nothing")
	}
	if i.env, err = i.facts(); err != nil {
		i.kill()
		return nil, fmt.Errorf("%w\n%s", err, i.text(&i.log))
	}
	return i, nil
}

// read keeps what the instance prints, and hands on its first line.
func (i *instance) read(from io.ReadCloser, first chan<- string) {
	defer from.Close()
	lines := bufio.NewReader(from)
	line, err := lines.ReadString('\n')
	_, _ = writer{i, &i.out}.Write([]byte(line)) // a buffer takes everything
	first <- line
	if err == nil {
		_, _ = io.Copy(writer{i, &i.out}, lines) // ends with the process
	}
}

type writer struct {
	i  *instance
	to *bytes.Buffer
}

func (w writer) Write(p []byte) (int, error) {
	w.i.mu.Lock()
	defer w.i.mu.Unlock()
	return w.to.Write(p)
}

func (i *instance) text(b *bytes.Buffer) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return b.String()
}

var readyLine = regexp.MustCompile(`^fakecloud ready +mqtts=(\S+) https=(\S+) proxy=(\S+) admin=(\S+) +seed=(\d+) +ca=(\S+)\n$`)

// facts reads the ready line, of either form, into variables.
func (i *instance) facts() (map[string]string, error) {
	if m := readyLine.FindStringSubmatch(i.ready); m != nil {
		return map[string]string{"MQTTS": m[1], "HTTPS": m[2], "PROXY": m[3], "ADMIN": m[4], "SEED": m[5], "CA": m[6]}, nil
	}
	var line struct {
		Msg, Admin, CA string
		Seed           uint64
		Ports          map[string]int
	}
	if err := json.Unmarshal([]byte(i.ready), &line); err != nil || line.Msg != "fakecloud ready" {
		return nil, fmt.Errorf("the first line is no ready line: %q", i.ready)
	}
	env := map[string]string{"ADMIN": line.Admin, "CA": line.CA, "SEED": fmt.Sprint(line.Seed)}
	for name, port := range line.Ports {
		env[strings.ToUpper(name)] = fmt.Sprint(port)
	}
	return env, nil
}

// end sends a signal and waits for the exit, which has to be clean and quick.
func (i *instance) end(signal syscall.Signal) error {
	begin := time.Now()
	if err := i.cmd.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-i.exited:
	case <-time.After(patience):
		i.kill()
		return fmt.Errorf("%s does not end it", signal)
	}
	switch took := time.Since(begin); {
	case i.err != nil:
		return fmt.Errorf("%s: %w\n%s", signal, i.err, i.text(&i.log))
	case took > stopBound:
		return fmt.Errorf("stopping took %s", took)
	}
	return nil
}

// kill ends what a failed test has left running.
func (i *instance) kill() {
	_ = i.cmd.Process.Kill() // gone already
	<-i.exited
}
