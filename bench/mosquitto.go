package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// startMosquitto runs Debian's mosquitto with the certificates of t, asking for client certificates. It
// has no way to bind a free port, so one is looked for first.
func startMosquitto(ctx context.Context, t target) (*process, error) {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		return nil, fmt.Errorf("mosquitto is missing: install Debian's package mosquitto")
	}
	dir, err := os.MkdirTemp("", "bench-mosquitto")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	config := fmt.Sprintf("per_listener_settings false\nallow_anonymous true\nuser root\nmax_inflight_messages 0\n"+
		"listener %d 127.0.0.1\ncafile %s\ncertfile %s\nkeyfile %s\nrequire_certificate false\n",
		port, filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	for name, text := range map[string]string{"mosquitto.conf": config, "ca.pem": t.CA, "cert.pem": t.ServerCert, "key.pem": t.ServerKey} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, path, "-c", filepath.Join(dir, "mosquitto.conf"))
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t.Address = "127.0.0.1:" + strconv.Itoa(port)
	p := &process{name: "mosquitto", target: t, cmd: cmd}
	for range 100 {
		if c, err := net.Dial("tcp", t.Address); err == nil {
			c.Close()
			return p, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.stop()
	return nil, fmt.Errorf("mosquitto does not listen")
}
