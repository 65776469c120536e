package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// benchStartup measures start to ready of the built program, first and with its data directory present,
// and its memory when idle. Targets: 150 ms, 50 ms, 20 MiB.
func benchStartup(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "bench-startup")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "fakecloud")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cmd/fakecloud")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	var first, again, idle []float64
	for round := range s.rounds {
		data := filepath.Join(dir, fmt.Sprint("data", round))
		for _, times := range []*[]float64{&first, &again} {
			took, memory, err := startOnce(ctx, binary, data)
			if err != nil {
				return err
			}
			*times = append(*times, took.Seconds()*1000)
			idle = append(idle, float64(memory)/1024)
		}
	}
	fmt.Printf("start to ready: first %.0f ms (target <= 150), data directory present %.0f ms (target <= 50)\n", median(first), median(again))
	fmt.Printf("idle memory %.1f MiB RSS (target <= 20); binary %.1f MB\n", median(idle), float64(info.Size())/1e6)
	return nil
}

func startOnce(ctx context.Context, binary, data string) (took time.Duration, memory int, err error) {
	cmd := exec.CommandContext(ctx, binary, "serve", "--data", data, "--mqtts-port", "0", "--mqtt-port", "0", "--https-port", "0", "--admin-port", "0", "--proxy-port", "0", "--edge-port", "off")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	took = time.Since(start)
	if err == nil && !strings.HasPrefix(line, "fakecloud ready") {
		err = fmt.Errorf("first line %q", line)
	}
	if err == nil {
		time.Sleep(2 * time.Second) // the RSA key that is made in the background is part of starting, not of idling
		memory, err = rss(cmd.Process.Pid)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	return took, memory, err
}
