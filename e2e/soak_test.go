package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// soakVariable says how long the test below lasts (`make soak`: ten minutes).
const soakVariable = "FAKECLOUD_SOAK"

const (
	normalSoak = 5 * time.Second
	// judgedSoak is how long a run has to be for its memory to be judged: before that the journal and the logs of
	// messages, which hold the newest so many, are still being filled.
	judgedSoak = 5 * time.Minute
)

// A process that serves mixed traffic of all platforms, with faults set, stays as large as it
// was: neither its live memory, nor what the system gives it, nor its goroutines grow.
func TestSoak(t *testing.T) {
	t.Parallel()
	duration := normalSoak
	if text := os.Getenv(soakVariable); text != "" {
		var err error
		duration, err = time.ParseDuration(text)
		require.NoError(t, err, soakVariable)
	}
	s := startSoak(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	if duration >= judgedSoak {
		s.fill(t)
	}
	s.change(t, soakWorld)
	s.run(ctx, &load)
	began := time.Now()
	var samples []sample
	for time.Since(began) < duration || !s.tally.complete() {
		if time.Since(began) > duration+time.Minute {
			break
		}
		pause(t, min(3*time.Second, duration/4))
		samples = append(samples, s.sample(t))
		if n := len(samples); duration < judgedSoak || n%10 == 0 {
			t.Logf("%4.0f s  %s  %s", time.Since(began).Seconds(), samples[n-1], &s.tally)
		}
	}
	stop()
	load.Wait()
	t.Logf("load: %s", &s.tally)
	require.Empty(t, s.tally.idle(), "nothing of this has succeeded; %s", s.tally.failures())
	first, last := thirds(samples)
	t.Logf("first third: %s", first)
	t.Logf("last third:  %s", last)
	if duration >= judgedSoak {
		require.Empty(t, grown(first, last))
	}
	require.NotContains(t, s.log.String(), `"level":"ERROR"`)
}

// sample is how large the process is.
type sample struct {
	live       float64 // bytes that the last collection found in use
	resident   float64 // bytes of memory that the system has given it; 0 where it does not say
	goroutines float64
}

func (s sample) String() string {
	const mega = 1 << 20
	return fmt.Sprintf("live heap %.1f MiB, RSS %.1f MiB, %.0f goroutines", s.live/mega, s.resident/mega, s.goroutines)
}

// thirds are the medians of a run's first and last third.
func thirds(samples []sample) (first, last sample) {
	n := max(len(samples)/3, 1)
	return median(samples[:n]), median(samples[len(samples)-n:])
}

func median(samples []sample) sample {
	of := func(value func(sample) float64) float64 {
		values := make([]float64, len(samples))
		for i, s := range samples {
			values[i] = value(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return sample{of(func(s sample) float64 { return s.live }), of(func(s sample) float64 { return s.resident }), of(func(s sample) float64 { return s.goroutines })}
}

// grown names what has grown beyond the tolerance: a tenth and 4 MiB for the live heap, 15 % and 16 MiB for what the
// system gives, which follows the collector's rhythm, a tenth and 30 for goroutines, which come and go with clients.
func grown(first, last sample) (what []string) {
	const mega = 1 << 20
	if last.live > 1.1*first.live+4*mega {
		what = append(what, "live heap")
	}
	if last.resident > 1.15*first.resident+16*mega {
		what = append(what, "RSS")
	}
	if last.goroutines > 1.1*first.goroutines+30 {
		what = append(what, "goroutines")
	}
	return what
}

func TestGrown(t *testing.T) {
	t.Parallel()
	const mega = 1 << 20
	flat := make([]sample, 30)
	leak := make([]sample, 30)
	for i := range flat {
		flat[i] = sample{live: 100 * mega, resident: 250 * mega, goroutines: 200}
		leak[i] = sample{live: float64(100+i) * mega, resident: float64(250+4*i) * mega, goroutines: float64(200 + 4*i)}
	}
	require.Empty(t, grown(thirds(flat)))
	require.Equal(t, []string{"live heap", "RSS", "goroutines"}, grown(thirds(leak)))
	slices.Reverse(leak)
	require.Empty(t, grown(thirds(leak)), "smaller is no fault")
}

// soak is the process and what is done to it.
type soak struct {
	admin string
	ports struct{ MQTTS, MQTT, HTTPS int }
	log   syncBuffer
	root  []byte
	edge  []byte
	tally tally
}

// syncBuffer is a bytes.Buffer that a process writes while it is read.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// startSoak starts the program and waits until it serves.
func startSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{}
	cmd := exec.Command(build(t), "serve", "--ephemeral", "--seed", "1", "--log-format", "json", "--server-key", "ecdsa",
		"--mqtts-port", "0", "--mqtt-port", "0", "--https-port", "0", "--edge-port", "0", "--proxy-port", "off", "--admin-port", "0")
	cmd.Env = append(os.Environ(), "GOGC=100")
	cmd.Stderr = &s.log
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	require.NoError(t, err, "%s", &s.log)
	var hello struct {
		Admin string
		Ports json.RawMessage
	}
	require.NoError(t, json.Unmarshal(line, &hello), "%s", line)
	require.NoError(t, json.Unmarshal(hello.Ports, &s.ports), "%s", line)
	s.admin = hello.Admin
	s.root = s.mustGet(t, "/api/v1/ca.pem")
	s.edge = s.mustGet(t, "/api/v1/pki/azure-iot-test-only.root.ca.cert.pem")
	return s
}

func (s *soak) mustGet(t *testing.T, path string) []byte {
	t.Helper()
	status, body, err := s.call(t.Context(), http.MethodGet, path, "")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "%s: %s", path, body)
	return body
}

// call asks the admin API.
func (s *soak) call(ctx context.Context, method, path, body string) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, s.admin+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := adminClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// change lays a world over the running one.
func (s *soak) change(t *testing.T, world string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, s.admin+"/api/v1/world", strings.NewReader(world))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/yaml")
	answer, err := adminClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, 2, answer.StatusCode/100, "%s", text)
}

// sample reads the process's own figures. The collector aims at twice what the last collection found in use
// (GOGC=100), so that half of its aim is that.
func (s *soak) sample(t *testing.T) sample {
	t.Helper()
	figures := map[string]float64{}
	for line := range strings.Lines(string(s.mustGet(t, "/metrics"))) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			if number, err := strconv.ParseFloat(value, 64); err == nil {
				figures[name] = number
			}
		}
	}
	require.NotZero(t, figures["go_goroutines"])
	return sample{live: figures["go_memstats_next_gc_bytes"] / 2, resident: figures["process_resident_memory_bytes"], goroutines: figures["go_goroutines"]}
}

// pause waits: the samples are taken by the clock.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
