package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud"
)

// swarmOf runs a swarm and returns its exit code, summary and the errors' text.
func swarmOf(t *testing.T, ctx context.Context, args ...string) (int, swarmSummary, string) {
	t.Helper()
	a, out, errOut := testApp(t)
	code := a.run(ctx, append(args, "--format", "json"))
	var s swarmSummary
	require.NoError(t, json.Unmarshal(out.Bytes(), &s), "%s", errOut)
	return code, s, errOut.String()
}

func TestSwarm(t *testing.T) {
	t.Parallel()
	cloud, admin := running(t, mindWorld)
	for name, tc := range map[string]struct {
		args             []string
		platform, device string
	}{
		"azure":          {[]string{"azure"}, "iothub", "swarm-12"},
		"azure x509":     {[]string{"azure", "--x509", "--prefix", "cert-"}, "iothub", "cert-12"},
		"mindsphere":     {[]string{"mindsphere"}, "mindsphere", "demo_swarm-12"},
		"mindsphere eu2": {[]string{"mindsphere", "--region", "eu2", "--prefix", "eu2-"}, "iothub", "demo2_eu2-12"},
		"iotda":          {[]string{"iotda"}, "iotda", "demo_swarm-12"},
		"edge":           {[]string{"edge", "--prefix", "leaf-"}, "edge", "leaf-12"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--admin", admin, "swarm"}, tc.args...)
			code, s, errOut := swarmOf(t, t.Context(), append(args, "-n", "12", "--count", "3", "--interval", "5ms", "--ramp", "0")...)
			require.Equal(t, 0, code, errOut)
			require.Equal(t, 12, s.Connected)
			require.Equal(t, 36, s.Acknowledged)
			require.Zero(t, s.Failed)
			require.Positive(t, s.Messages.P50)
			require.GreaterOrEqual(t, s.Messages.Max, s.Messages.P99)
			_, err := cloud.Await(t.Context(), fakecloud.Filter{Platform: tc.platform, Kind: "publish", Device: tc.device}, 3)
			require.NoError(t, err)
		})
	}
}

// Failures are counted by kind, and by the rules in the journal.
func TestSwarmFails(t *testing.T) {
	t.Parallel()
	_, admin := running(t)
	code, s, errOut := swarmOf(t, t.Context(), "--admin", admin, "swarm", "azure", "-n", "5", "--ramp", "0", "--group-key", "AAAA")
	require.Equal(t, 1, code)
	require.Contains(t, errOut, "5 of the swarm's connections and messages failed")
	require.Equal(t, []counted{{"connect: DPS answers 401, error code 401000", 5}}, s.Failures)
	require.Len(t, s.Rules, 1)
	require.Equal(t, 5, s.Rules[0].N)
	require.True(t, strings.HasPrefix(s.Rules[0].What, "DPS-"))

	a, out, _ := testApp(t)
	require.Equal(t, 1, a.run(t.Context(), []string{"--admin", admin, "swarm", "azure", "-n", "2", "--group-key", "AAAA"}))
	require.Regexp(t, `(?s)0 of 2 devices connected.*failures\n +2  connect: DPS answers 401.*refusals in the journal, by rule.*\n +2  DPS-`, out.String())
}

// An interrupted swarm ends its devices and sums up; nothing is left behind.
func TestSwarmInterrupted(t *testing.T) {
	cloud, admin := running(t)
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		for i := range 10 { // one that has not connected yet would send no DISCONNECT
			_, _ = cloud.Await(ctx, fakecloud.Filter{Platform: "iotda", Kind: "property", Device: "*swarm-" + strconv.Itoa(i+1)}, 3)
		}
	}()
	code, s, errOut := swarmOf(t, ctx, "--admin", admin, "swarm", "iotda", "-n", "10", "--count", "0", "--interval", "1ms", "--ramp", "0")
	require.Equal(t, 0, code, errOut)
	require.GreaterOrEqual(t, s.Acknowledged, 20, "all but those under way")
	_, err := cloud.Await(t.Context(), fakecloud.Filter{Platform: "iotda", Kind: "disconnect", Device: "*swarm-*"}, 10)
	require.NoError(t, err)
	goleak.VerifyNone(t, before)

	// So does one whose time is up.
	_, s, _ = swarmOf(t, t.Context(), "--admin", admin, "swarm", "iotda", "-n", "2", "--count", "0", "--interval", "1ms", "--duration", "50ms")
	require.Less(t, s.Seconds, 30.0)
}

func TestSwarmUsage(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for want, args := range map[string][]string{
		"wants a platform":                        {},
		"did you mean iotda":                      {"iota"},
		"-n is 0":                                 {"azure", "-n", "0"},
		"--ramp and --duration":                   {"azure", "--ramp", "-1"},
		"--prefix is empty":                       {"azure", "--prefix", ""},
		"belong together":                         {"azure", "--x509", "--issuer", "x"},
		"--format is one of":                      {"azure", "--format", "x"},
		"--interval must not":                     {"azure", "--interval", "-1s"},
		"--x509 and --group-key":                  {"azure", "--x509", "--group-key", "AAAA"},
		"--issuer is for --x509":                  {"azure", "--issuer", "x", "--issuer-key", "y"},
		"--host needs --id-scope":                 {"azure", "--host", "h"},
		"no credential for h: give --gr":          {"azure", "--host", "h", "--id-scope", "s"},
		"--group-key: ":                           {"azure", "--host", "h", "--id-scope", "s", "--group-key", "?"},
		"--issuer: /nowhere/x does not exist":     {"azure", "--host", "h", "--id-scope", "s", "--x509", "--issuer", "/nowhere/x", "--issuer-key", empty},
		"--issuer-key: /nowhere/x does not exist": {"azure", "--host", "h", "--id-scope", "s", "--x509", "--issuer", empty, "--issuer-key", "/nowhere/x"},
		"--issuer: ":                              {"azure", "--host", "h", "--id-scope", "s", "--x509", "--issuer", empty, "--issuer-key", empty},
		"--region is one of":                      {"mindsphere", "--region", "eu3"},
		"--host needs --tenant":                   {"mindsphere", "--host", "h"},
		"no credential for h: give --se":          {"iotda", "--host", "h"},
		"--host needs --hub and --key":            {"edge", "--host", "h"},
		"--key: ":                                 {"edge", "--host", "h", "--hub", "g", "--key", "?"},
		"--sign is one of":                        {"iotda", "--sign", "9"},
		"expected a JSON object":                  {"iotda", "--message", "80"},
	} {
		a, _, errOut := testApp(t)
		require.Equal(t, 2, a.run(t.Context(), append([]string{"swarm"}, args...)), want)
		require.Contains(t, errOut.String(), want)
	}
}

// Percentiles are right to a sixteenth, in memory of one size.
func TestLatencies(t *testing.T) {
	t.Parallel()
	var l latencies
	require.Zero(t, l.percentile(0.5))
	for ms := 1; ms <= 1000; ms++ {
		l.add(time.Duration(ms) * time.Millisecond)
	}
	for share, want := range map[float64]time.Duration{0: time.Millisecond, 0.5: 500 * time.Millisecond, 0.95: 950 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		require.InEpsilon(t, want, l.percentile(share), 1.0/14, "%v", share)
		require.LessOrEqual(t, l.percentile(share), time.Second)
	}
	for _, d := range []time.Duration{-1, 0, time.Microsecond, 15 * time.Microsecond, 16 * time.Microsecond, 17 * time.Microsecond, time.Hour, 1000 * time.Hour} {
		b := latencyBucket(d)
		require.Less(t, b, latencyBuckets)
		if d >= 0 && d < 12*time.Hour {
			require.GreaterOrEqual(t, latencyAt(b), d.Truncate(time.Microsecond))
			if b > 0 {
				require.Less(t, latencyAt(b-1), max(d, 1))
			}
		}
	}
}

func TestFailureKind(t *testing.T) {
	t.Parallel()
	require.Equal(t, "not in time", failureKind(context.DeadlineExceeded))
	inner := errors.New(strings.Repeat("ä", 100))
	require.Equal(t, strings.Repeat("ä", 80), failureKind(fmt.Errorf("x: %w", inner)))
	var s swarmStats
	s.begin()
	for n := range maxKinds + 5 {
		s.failed("connect", errors.New(string(rune('a'+n))))
	}
	require.Equal(t, 5, s.failures["connect: other"])
	require.Equal(t, maxKinds+5, s.sums().failed)
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	a, _, _ := testApp(t)
	s := a.swarm()
	s.n, s.count = 4, 2
	s.stats.begin()
	s.stats.started()
	s.stats.connected(time.Millisecond)
	for range 4 {
		s.stats.acknowledged(time.Millisecond)
	}
	require.Equal(t, "[############............] 1/4 connected, 4 acknowledged, 2.0 a second, 0 failed", s.progressLine(2*time.Second))
	require.NotContains(t, swarmSummary{}.text(), "failures")
	require.Regexp(t, `(?m)^connecting +- +- +- +-$`, swarmSummary{}.text(), "no time was measured")
	require.Contains(t, swarmSummary{Acknowledged: 3, Rate: 0.43}.text(), "3 messages acknowledged in 0.0 s: 0.4 a second")
	require.Contains(t, swarmSummary{Lost: 3}.text(), "3 connections were lost")
	require.False(t, bytes.ContainsRune([]byte(s.progressLine(0)), '\n'))
}
