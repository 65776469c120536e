package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/plane"
)

func (a *app) hubMethodCommand(f *hubFlags) *cobra.Command {
	var connect, response time.Duration
	cmd := &cobra.Command{
		Use:   "method DEVICE NAME [PAYLOAD]",
		Short: "Call a direct method and print the device's answer",
		Long: `Calls a direct method and prints the device's answer: its status and its payload. PAYLOAD is JSON, or - for
standard input. The exit code is 0 when the device answered, whatever its status; an offline or silent
device is a failure.`,
		Example: `  fakecloud hub method dev-01 reboot
  fakecloud hub method dev-01 reboot '{"delay":5}' --connect-timeout 30s
  fakecloud hub method dev-01/module ping --timeout 5s`,
		Args: positional(cobra.RangeArgs(2, 3)),
		RunE: func(cmd *cobra.Command, args []string) error {
			call := plane.MethodCall{Name: args[1], ConnectTimeout: int(connect / time.Second), ResponseTimeout: int(response / time.Second)}
			switch {
			case connect < 0 || connect > 300*time.Second || connect%time.Second != 0:
				return usagef("--connect-timeout is 0s to 300s in whole seconds")
			case response < 5*time.Second || response > 300*time.Second || response%time.Second != 0:
				return usagef("--timeout is 5s to 300s in whole seconds")
			}
			if len(args) == 3 {
				var err error
				if call.Payload, err = a.jsonContent("PAYLOAD", args[2]); err != nil {
					return err
				}
			}
			return a.hubMethod(cmd.Context(), f, args[0], call)
		},
	}
	cmd.Flags().DurationVar(&response, "timeout", 30*time.Second, "how long to wait for the answer, 5s to 300s")
	cmd.Flags().DurationVar(&connect, "connect-timeout", 0, "how long to wait for the device to be there and subscribed, up to 300s")
	return cmd
}

func (a *app) hubMethod(ctx context.Context, f *hubFlags, device string, call plane.MethodCall) error {
	hub, err := f.of(ctx, a, device)
	if err != nil {
		return err
	}
	body, err := json.Marshal(call)
	if err != nil {
		return err
	}
	answer, err := a.adminBytes(ctx, adminRequest{Method: http.MethodPost, Path: hubCall(hub, "methods", device), Body: body, Patient: true})
	if err != nil {
		return err
	}
	var result plane.MethodResult
	if err := json.Unmarshal(answer, &result); err != nil {
		return fmt.Errorf("the instance's answer cannot be read: %w", err)
	}
	_, err = fmt.Fprintf(a.out, "%d %s\n", result.Status, result.Payload)
	return err
}

// twinFlags are the parts of a twin to change.
type twinFlags struct {
	desired, tags string
	replace       bool
}

func (a *app) hubTwinCommand(f *hubFlags) *cobra.Command {
	t := &twinFlags{}
	cmd := &cobra.Command{
		Use:   "twin DEVICE",
		Short: "Print a twin, or change its desired properties and tags and print it",
		Long: `Prints a twin as the service side reads it. With --desired or --tags, each a JSON object, - for standard input,
or the name of a file, it merges these into the twin first: a null removes its key. With --replace the parts
that are given become what they say.`,
		Example: `  fakecloud hub twin dev-01
  fakecloud hub twin dev-01 --desired '{"interval":10,"old":null}'
  fakecloud hub twin dev-01 --tags tags.json --replace`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.hubTwin(cmd.Context(), f, args[0], t) },
	}
	cmd.Flags().StringVar(&t.desired, "desired", "", "desired properties to merge: JSON, - or a file")
	cmd.Flags().StringVar(&t.tags, "tags", "", "tags to merge: JSON, - or a file")
	cmd.Flags().BoolVar(&t.replace, "replace", false, "replace instead of merging")
	return cmd
}

func (a *app) hubTwin(ctx context.Context, f *hubFlags, device string, t *twinFlags) error {
	request := adminRequest{Method: http.MethodGet}
	change, err := a.twinChange(t)
	switch {
	case err != nil:
		return err
	case change != nil:
		request.Method, request.Body = http.MethodPatch, change
		if t.replace {
			request.Method = http.MethodPut
		}
	case t.replace:
		return usagef("--replace needs --desired or --tags")
	}
	hub, err := f.of(ctx, a, device)
	if err != nil {
		return err
	}
	request.Path = hubCall(hub, "twins", device)
	twin, err := a.adminBytes(ctx, request)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(twin), "", "  "); err != nil {
		return fmt.Errorf("the instance's answer cannot be read: %w", err)
	}
	_, err = fmt.Fprintf(a.out, "%s\n", out.Bytes())
	return err
}

// twinChange is the body of the change; nil is none.
func (a *app) twinChange(t *twinFlags) ([]byte, error) {
	var change plane.TwinChange
	given := false
	for _, part := range []struct {
		flag, value string
		into        *map[string]any
	}{{"--desired", t.desired, &change.Properties.Desired}, {"--tags", t.tags, &change.Tags}} {
		if part.value == "" {
			continue
		}
		values, err := a.object(part.flag, part.value)
		if err != nil {
			return nil, err
		}
		*part.into, given = values, true
	}
	if !given {
		return nil, nil
	}
	// Not by the struct's own tags: an empty object says "replace by nothing".
	body := map[string]any{}
	if change.Tags != nil {
		body["tags"] = change.Tags
	}
	if change.Properties.Desired != nil {
		body["properties"] = map[string]any{"desired": change.Properties.Desired}
	}
	return json.Marshal(body)
}

// object reads a JSON object from the text itself, from standard input or from a file. Numbers stay as they
// are written.
func (a *app) object(flag, value string) (map[string]any, error) {
	text, err := a.content(value)
	if value != "-" && !strings.HasPrefix(strings.TrimSpace(value), "{") {
		text, err = os.ReadFile(value)
	}
	if err != nil {
		return nil, usagef("%s: neither a JSON object nor a file that can be read: %w", flag, err)
	}
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&object); err != nil || object == nil || d.More() {
		return nil, usagef("%s is not one JSON object", flag)
	}
	return object, nil
}
