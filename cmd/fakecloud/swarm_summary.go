package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"
)

// spread is a distribution of times, in milliseconds.
type spread struct {
	P50 float64 `json:"p50Ms"`
	P95 float64 `json:"p95Ms"`
	P99 float64 `json:"p99Ms"`
	Max float64 `json:"maxMs"`
}

func spreadOf(l *latencies) spread {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return spread{ms(l.percentile(0.5)), ms(l.percentile(0.95)), ms(l.percentile(0.99)), ms(l.longest)}
}

// swarmSummary is what a swarm prints at its end.
type swarmSummary struct {
	Devices      int       `json:"devices"`
	Connected    int       `json:"connected"`
	Acknowledged int       `json:"acknowledged"`
	Lost         int       `json:"connectionsLost"`
	Seconds      float64   `json:"seconds"`
	Rate         float64   `json:"acknowledgedPerSecond"`
	Connecting   spread    `json:"connecting"`
	Messages     spread    `json:"messages"`
	Failed       int       `json:"failed"`
	Failures     []counted `json:"failures"`
	// Rules are the refusals in the journal of the running instance, by rule.
	Rules []counted `json:"rules"`
}

func (s *swarm) summarize(ctx context.Context) error {
	t := s.stats.sums()
	r := swarmSummary{
		Devices: s.n, Connected: t.up, Acknowledged: t.acknowledged, Lost: s.stats.drops, Seconds: s.stats.took.Seconds(),
		Connecting: spreadOf(&s.stats.connecting), Messages: spreadOf(&s.stats.messages),
		Failed: t.failed, Failures: byNumber(s.stats.failures), Rules: s.rules(ctx),
	}
	if r.Seconds > 0 {
		r.Rate = float64(r.Acknowledged) / r.Seconds
	}
	if s.format == "json" {
		e := json.NewEncoder(s.app.out)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			return err
		}
	} else {
		fmt.Fprint(s.app.out, r.text())
	}
	if r.Failed > 0 {
		return swarmError(r.Failed)
	}
	return nil
}

func (r swarmSummary) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d devices connected, %d messages acknowledged in %.1f s: %s a second\n", r.Connected, r.Devices, r.Acknowledged, r.Seconds, rateText(r.Rate))
	fmt.Fprintf(&b, "\n%-12s %9s %9s %9s %9s\n", "", "p50", "p95", "p99", "max")
	for _, row := range []struct {
		what  string
		times int
		s     spread
	}{{"connecting", r.Connected, r.Connecting}, {"messages", r.Acknowledged, r.Messages}} {
		if row.times == 0 {
			fmt.Fprintf(&b, "%-12s %9s %9s %9s %9s\n", row.what, "-", "-", "-", "-")
			continue
		}
		fmt.Fprintf(&b, "%-12s %6.1f ms %6.1f ms %6.1f ms %6.1f ms\n", row.what, row.s.P50, row.s.P95, row.s.P99, row.s.Max)
	}
	if r.Lost > 0 {
		fmt.Fprintf(&b, "\n%d connections were lost and made again\n", r.Lost)
	}
	list := func(title string, all []counted) {
		if len(all) > 0 {
			fmt.Fprintf(&b, "\n%s\n", title)
		}
		for _, c := range all {
			fmt.Fprintf(&b, "  %6d  %s\n", c.N, c.What)
		}
	}
	list("failures", r.Failures)
	list("refusals in the journal, by rule (fakecloud rules ID)", r.Rules)
	return b.String()
}

// rateText rounds a rate to what can be told of it: a slow swarm's is not 0.
func rateText(perSecond float64) string {
	if perSecond < 10 {
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	}
	return strconv.FormatFloat(perSecond, 'f', 0, 64)
}

// rules counts the refusals that the running instance has noted since the start, by rule.
func (s *swarm) rules(ctx context.Context) []counted {
	if !s.env.local {
		return []counted{}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := s.app.adminBytes(ctx, adminRequest{Path: "/api/v1/events", Query: url.Values{
		"kind": {"refused"}, "since": {strconv.FormatUint(s.since, 10)}, "device": {"*" + s.prefix + "*"},
	}})
	if err != nil {
		fmt.Fprintf(s.app.err, "note: the journal cannot be read: %v\n", err)
		return []counted{}
	}
	counts := map[string]int{}
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		var e struct {
			Rule string `json:"rule"`
		}
		if json.Unmarshal(line, &e) == nil && e.Rule != "" {
			counts[e.Rule]++
		}
	}
	return byNumber(counts)
}

// How often progress is shown.
const (
	barEvery  = 200 * time.Millisecond // on a terminal
	lineEvery = 10 * time.Second       // elsewhere
	barWidth  = 24
)

// showProgress shows how far the swarm is, on a terminal as a bar that stays in its line; stop ends it.
func (s *swarm) showProgress() (stop func()) {
	terminal := false
	if f, ok := s.app.err.(*os.File); ok {
		terminal = term.IsTerminal(int(f.Fd()))
	}
	every := lineEvery
	if terminal {
		every = barEvery
	}
	ended, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				if terminal {
					fmt.Fprint(s.app.err, "\r\x1b[K")
				}
				return
			case <-ticker.C:
				line := s.progressLine(time.Since(s.stats.began))
				if terminal {
					fmt.Fprint(s.app.err, "\r\x1b[K"+line)
				} else {
					fmt.Fprintln(s.app.err, line)
				}
			}
		}
	}()
	return func() {
		close(ended)
		<-gone
	}
}

// progressLine is a bar over what there is to do, and the counters.
func (s *swarm) progressLine(after time.Duration) string {
	t := s.stats.sums()
	done, all := t.tried, s.n
	if s.count > 0 {
		done, all = t.acknowledged+t.failed, s.n*s.count
	}
	full := min(barWidth*done/max(all, 1), barWidth)
	return fmt.Sprintf("[%s%s] %d/%d connected, %d acknowledged, %s a second, %d failed", strings.Repeat("#", full),
		strings.Repeat(".", barWidth-full), t.up, s.n, t.acknowledged, rateText(float64(t.acknowledged)/max(after.Seconds(), 0.001)), t.failed)
}
