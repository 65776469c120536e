package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// eventsFlags are the filters of the events command, named as in the admin API.
type eventsFlags struct {
	platform, endpoint, device, address, kind, rule, wait, as string
	match                                                     []string
	since                                                     uint64
	limit, count                                              int
	follow                                                    bool
}

func (a *app) eventsCommand() *cobra.Command {
	f := &eventsFlags{}
	cmd := &cobra.Command{
		Use:   "events",
		Short: "The journal: what happened on every connection",
		Long: "Prints the journal, oldest event first; with -f goes on with what comes.\n" +
			"As text: one event a line. As json: the events themselves, one a line. As mermaid: a sequence\n" +
			"diagram. As mosquitto: the mosquitto commands that repeat the exchange.\n\n" +
			"--match takes a path into the event's JSON, alone or with one of = != < <= > >= ~ (glob) and a value.",
		Example: `  fakecloud events -f
  fakecloud events --device 'dev-*' --kind refused
  fakecloud events --kind telemetry --match 'payload.temperature>20' --wait 10s --count 3
  fakecloud events --device dev-01 --as mermaid`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.events(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with what comes")
	flags.StringVar(&f.platform, "platform", "", "dps, iothub, …, door")
	flags.StringVar(&f.endpoint, "endpoint", "", "instance")
	flags.StringVar(&f.device, "device", "", "device, or a `glob` in which * crosses slashes")
	flags.StringVar(&f.address, "address", "", "the client's host, or host:port")
	flags.StringVar(&f.kind, "kind", "", "connect, refused, telemetry, …")
	flags.StringVar(&f.rule, "rule", "", "a row (HUB-16, all its causes) or a cause (HUB-16/cn)")
	flags.StringArrayVar(&f.match, "match", nil, "`condition` on the event's JSON; repeat it for several")
	flags.Uint64Var(&f.since, "since", 0, "only events after this sequence `number`")
	flags.IntVar(&f.limit, "limit", 0, "at most so many events")
	flags.StringVar(&f.wait, "wait", "", "wait so long (5s) until --count events match; exit code 1 if they do not")
	flags.IntVar(&f.count, "count", 0, "events to wait for (default 1)")
	flags.StringVar(&f.as, "as", "text", "text, json, mermaid or mosquitto")
	offer(cmd, "as", "text", "json", "mermaid", "mosquitto")
	return cmd
}

func (f *eventsFlags) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"platform": f.platform, "endpoint": f.endpoint, "device": f.device,
		"address": f.address, "kind": f.kind, "rule": f.rule, "wait": f.wait} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for _, m := range f.match {
		q.Add("match", m)
	}
	if f.since > 0 {
		q.Set("since", strconv.FormatUint(f.since, 10))
	}
	for name, value := range map[string]int{"limit": f.limit, "count": f.count} {
		if value != 0 {
			q.Set(name, strconv.Itoa(value))
		}
	}
	return q
}

func (a *app) events(ctx context.Context, f *eventsFlags) error {
	if err := oneOf("as", f.as, "text", "json", "mermaid", "mosquitto"); err != nil {
		return err
	}
	whole := f.as == "mermaid" || f.as == "mosquitto"
	if f.follow && (whole || f.wait != "" || f.count != 0) {
		return usagef("-f goes with --as text and --as json, and without --wait and --count")
	}
	r := adminRequest{Path: "/api/v1/events", Query: f.query(), Patient: true, Accept: "application/x-ndjson"}
	if f.follow {
		r.Accept = "text/event-stream"
	}
	answer, err := a.adminDo(ctx, r)
	if err != nil {
		return a.waitedInVain(err)
	}
	defer answer.Body.Close()
	if whole {
		return a.drawEvents(ctx, f.as, answer.Body)
	}
	show := a.showEvents(f.as)
	err = readEvents(answer.Body, f.follow, show)
	switch {
	case ctx.Err() != nil:
		return nil // Ctrl-C is how following ends
	case err == nil && f.follow && f.limit == 0:
		return errors.New("the instance has ended the stream")
	}
	return err
}

// showEvents returns what is done with each event's JSON.
func (a *app) showEvents(as string) func(line []byte) error {
	if as == "json" {
		return func(line []byte) error {
			_, err := fmt.Fprintf(a.out, "%s\n", line)
			return err
		}
	}
	colour := a.colours(a.out)
	return func(line []byte) error {
		var e journal.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("an event cannot be read: %w", err)
		}
		_, err := fmt.Fprintln(a.out, eventLine(&e, colour))
		return err
	}
}

// maxEvent bounds a line of the stream: a payload of 1 MB, escaped.
const maxEvent = 16 << 20

// readEvents calls do with the JSON of each event of an NDJSON or an SSE stream.
func readEvents(stream io.Reader, sse bool, do func(line []byte) error) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(make([]byte, 64<<10), maxEvent)
	for lines.Scan() {
		line := lines.Bytes()
		if sse {
			var ok bool
			if line, ok = bytes.CutPrefix(line, []byte("data: ")); !ok {
				continue
			}
		}
		if len(line) == 0 {
			continue
		}
		if err := do(line); err != nil {
			return err
		}
	}
	return lines.Err()
}

// waitedInVain adds to a wait's time-out what came close.
func (a *app) waitedInVain(err error) error {
	var refusal *adminError
	if !errors.As(err, &refusal) || refusal.Status != 504 {
		return err
	}
	var more struct {
		NearMisses []struct {
			Differs string        `json:"differs"`
			Event   journal.Event `json:"event"`
		} `json:"nearMisses"`
		Refused []journal.Event `json:"refused"`
	}
	if json.Unmarshal(refusal.Body, &more) != nil {
		return err
	}
	var text strings.Builder
	text.WriteString(refusal.Error())
	for i := range more.NearMisses {
		fmt.Fprintf(&text, "\n  near miss, other %s: %s", more.NearMisses[i].Differs, eventLine(&more.NearMisses[i].Event, false))
	}
	for i := range more.Refused {
		fmt.Fprintf(&text, "\n  refused meanwhile: %s", eventLine(&more.Refused[i], false))
	}
	return errors.New(text.String())
}

// drawEvents prints formats that need all events at once.
func (a *app) drawEvents(ctx context.Context, as string, stream io.Reader) error {
	var events []journal.Event
	err := readEvents(stream, false, func(line []byte) error {
		var e journal.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("an event cannot be read: %w", err)
		}
		events = append(events, e)
		return nil
	})
	if err != nil {
		return err
	}
	if as == "mermaid" {
		_, err := io.WriteString(a.out, mermaid(events))
		return err
	}
	var info mosquittoInfo
	if err := a.adminJSON(ctx, "GET", "/api/v1/info", nil, &info); err != nil {
		return err
	}
	_, err = io.WriteString(a.out, mosquitto(events, info))
	return err
}
