package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/explain"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// telemetryFlags choose messages.
type telemetryFlags struct {
	since uint64
	limit int
	as    string
}

func (a *app) hubTelemetryCommand(f *hubFlags) *cobra.Command {
	t := &telemetryFlags{}
	cmd := &cobra.Command{
		Use:   "telemetry [DEVICE]",
		Short: "Print stored device-to-cloud messages, oldest first",
		Example: `  fakecloud hub telemetry dev-01
  fakecloud hub telemetry --hub fakecloud-hub --since 120 --as json`,
		Args: positional(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("as", t.as, "text", "json"); err != nil {
				return err
			}
			return a.hubTelemetry(cmd.Context(), f, append(args, "")[0], t)
		},
	}
	cmd.Flags().Uint64Var(&t.since, "since", 0, "only messages after this number")
	cmd.Flags().IntVar(&t.limit, "limit", 100, "at most so many messages, up to 10000")
	cmd.Flags().StringVar(&t.as, "as", "text", "text or json")
	offer(cmd, "as", "text", "json")
	return cmd
}

func (a *app) hubTelemetry(ctx context.Context, f *hubFlags, device string, t *telemetryFlags) error {
	hub, err := f.read(ctx, a, device)
	if err != nil {
		return err
	}
	query := url.Values{"since": {strconv.FormatUint(t.since, 10)}, "limit": {strconv.Itoa(t.limit)}}
	if device != "" {
		query.Set("device", device)
	}
	body, err := a.adminBytes(ctx, adminRequest{Path: hubCall(hub, "telemetry"), Query: query})
	if err != nil {
		return err
	}
	if t.as == "json" {
		_, err := a.out.Write(append(bytes.TrimSpace(body), '\n'))
		return err
	}
	var answer struct{ Messages []plane.HubMessage }
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("the instance's answer cannot be read: %w", err)
	}
	for _, m := range answer.Messages {
		text := explain.Clean(m.Body)
		if m.BodyBase64 != nil {
			text = fmt.Sprintf("(%d bytes that are no text; --as json shows them)", len(m.BodyBase64))
		}
		fmt.Fprintf(a.out, "%d %s %s %s%s\n", m.Seq, m.Enqueued.Format(time.RFC3339), explain.Clean(m.Device), text, propertyText(m.Properties))
	}
	return nil
}

// read returns the hub to read from where a device is not needed.
func (f *hubFlags) read(ctx context.Context, a *app, device string) (string, error) {
	if f.hub != "" || device != "" {
		return f.of(ctx, a, device)
	}
	i, err := a.instance(ctx)
	if err != nil {
		return "", err
	}
	hub, err := i.hub("")
	return hub.HostName(), err
}

func propertyText(properties map[string]string) string {
	var out strings.Builder
	names := make([]string, 0, len(properties))
	for name := range properties {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		out.WriteString(" " + explain.Clean(name) + "=" + explain.Clean(properties[name]))
	}
	return out.String()
}

func (a *app) hubFilesCommand(f *hubFlags) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "files DEVICE [NAME]",
		Short: "List the files that a device has uploaded, or print one",
		Example: `  fakecloud hub files dev-01
  fakecloud hub files dev-01 logs/today.txt
  fakecloud hub files dev-01 dump.bin --out dump.bin`,
		Args: positional(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if out != "" {
					return usagef("--out needs the NAME of a file")
				}
				return a.hubFiles(cmd.Context(), f, args[0])
			}
			return a.hubFile(cmd.Context(), f, args[0], args[1], out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write the file here instead of to standard output")
	return cmd
}

func (a *app) hubFiles(ctx context.Context, f *hubFlags, device string) error {
	hub, err := f.of(ctx, a, device)
	if err != nil {
		return err
	}
	var answer struct{ Files []plane.HubFile }
	if err := a.adminJSON(ctx, http.MethodGet, hubCall(hub, "files")+"?device="+url.QueryEscape(device), nil, &answer); err != nil {
		return err
	}
	if len(answer.Files) == 0 {
		fmt.Fprintf(a.err, "%s has uploaded nothing\n", device)
	}
	for _, file := range answer.Files {
		fmt.Fprintf(a.out, "%10d %s %s\n", file.Size, file.Modified.Format(time.RFC3339), explain.Clean(strings.TrimPrefix(file.Name, device+"/")))
	}
	return nil
}

func (a *app) hubFile(ctx context.Context, f *hubFlags, device, name, out string) error {
	hub, err := f.of(ctx, a, device)
	if err != nil {
		return err
	}
	body, err := a.adminBytes(ctx, adminRequest{Path: hubCall(hub, "files", device+"/"+name), Patient: true})
	if err != nil {
		return err
	}
	if out == "" {
		_, err := a.out.Write(body)
		return err
	}
	if err := os.WriteFile(out, body, 0o600); err != nil {
		return usagef("--out: %w", err)
	}
	_, err = fmt.Fprintf(a.out, "%d bytes in %s\n", len(body), out)
	return err
}
