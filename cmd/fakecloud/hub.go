package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/plane"
)

// hubFlags choose the hub that a command is about.
type hubFlags struct{ hub string }

func (a *app) hubCommand() *cobra.Command {
	f := &hubFlags{}
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "The back end's side of an IoT hub: send messages, call methods, change twins, read what came in",
		Long: `The back end's side of an IoT hub, for those without a service SDK. DEVICE is a device id, or
device/module; its hub is found by it unless --hub names one.`,
		Example: `  fakecloud hub send dev-01 'turn left' --property priority=high
  fakecloud hub method dev-01 reboot '{"delay":5}'
  fakecloud hub twin dev-01 --desired '{"interval":10}'
  fakecloud hub telemetry dev-01
  fakecloud hub files dev-01`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := positional(cobra.NoArgs)(cmd, args); err != nil {
				return err
			}
			return usagef("hub wants a command%s", help(cmd, nil))
		},
	}
	cmd.PersistentFlags().StringVar(&f.hub, "hub", "", "name or host name of the hub (default: the one that has the device)")
	cmd.AddCommand(a.hubSendCommand(f), a.hubPurgeCommand(f), a.hubMethodCommand(f), a.hubTwinCommand(f), a.hubTelemetryCommand(f), a.hubFilesCommand(f))
	return cmd
}

// of returns the hub of a device: the one named, or the one that has it.
func (f *hubFlags) of(ctx context.Context, a *app, device string) (string, error) {
	if f.hub != "" {
		return f.hub, nil
	}
	list, err := a.findDevices(ctx, &deviceFlags{platform: "iothub"}, "")
	if err != nil {
		return "", err
	}
	var hubs []string
	for _, d := range list {
		if d.ID == device {
			hubs = append(hubs, d.Endpoint)
		}
	}
	switch len(hubs) {
	case 0:
		return "", a.noDevice(ctx, device)
	case 1:
		return hubs[0], nil
	}
	return "", usagef("%d hubs have %s: name one with --hub, of %s", len(hubs), device, strings.Join(hubs, ", "))
}

// hubCall is the path of a call about a hub; parts are escaped.
func hubCall(hub string, parts ...string) string {
	path := "/api/v1/iothub/" + url.PathEscape(hub)
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// content reads what an argument stands for: "-" is standard input, anything else itself.
func (a *app) content(argument string) ([]byte, error) {
	if argument != "-" {
		return []byte(argument), nil
	}
	return io.ReadAll(io.LimitReader(a.in, 1<<20))
}

// jsonContent is content that has to be JSON; an object may also be the name of a file.
func (a *app) jsonContent(what, argument string) (json.RawMessage, error) {
	text, err := a.content(argument)
	if err != nil {
		return nil, err
	}
	if json.Valid(text) {
		return bytes.TrimSpace(text), nil
	}
	return nil, usagef("%s is not JSON; a text is JSON in double quotes, which the shell takes away unless single ones stand around: '\"text\"'", what)
}

func (a *app) hubSendCommand(f *hubFlags) *cobra.Command {
	var m plane.C2D
	var properties []string
	var file string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "send DEVICE [BODY]",
		Short: "Send a cloud-to-device message",
		Long: `Puts a cloud-to-device message into the device's queue, of 50 places. The device gets it at once if it is
connected and subscribed. BODY may be - for standard input; without it the message is empty.`,
		Example: `  fakecloud hub send dev-01 'turn left'
  fakecloud hub send dev-01 '{"n":1}' --content-type application/json --property priority=high --ack full
  fakecloud hub send dev-01/module --file firmware.bin --ttl 10m`,
		Args: positional(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.c2dBody(&m, args[1:], file); err != nil {
				return err
			}
			if err := c2dProperties(&m, properties); err != nil {
				return err
			}
			if ttl != 0 {
				m.TTL = ttl.String()
			}
			if m.Ack != "" {
				if err := oneOf("ack", m.Ack, "none", "positive", "negative", "full"); err != nil {
					return err
				}
			}
			return a.hubSend(cmd.Context(), f, args[0], m)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "file", "", "take the body from a file")
	flags.StringArrayVar(&properties, "property", nil, "application property NAME=VALUE, or NAME for one without value (repeatable)")
	flags.StringVar(&m.MessageID, "message-id", "", "message id, at most 128 bytes")
	flags.StringVar(&m.CorrelationID, "correlation-id", "", "correlation id")
	flags.StringVar(&m.UserID, "user-id", "", "user id")
	flags.StringVar(&m.ContentType, "content-type", "", "e.g. application/json")
	flags.StringVar(&m.ContentEncoding, "content-encoding", "", "e.g. utf-8")
	flags.StringVar(&m.Ack, "ack", "", "feedback about these outcomes: none, positive, negative, full")
	offer(cmd, "ack", "none", "positive", "negative", "full")
	flags.DurationVar(&ttl, "ttl", 0, "time to live, 48h at most (default 1h)")
	return cmd
}

// c2dBody sets the body from the argument or the file.
func (a *app) c2dBody(m *plane.C2D, args []string, file string) error {
	var body []byte
	var err error
	switch {
	case file != "" && len(args) > 0:
		return usagef("BODY and --file exclude each other")
	case file != "":
		body, err = readFile("--file", file)
	case len(args) > 0:
		body, err = a.content(args[0])
	}
	if utf8.Valid(body) {
		m.Body = string(body)
	} else {
		m.BodyBase64 = body
	}
	return err
}

func c2dProperties(m *plane.C2D, given []string) error {
	m.Properties = map[string]*string{}
	for _, p := range given {
		name, value, has := strings.Cut(p, "=")
		if name == "" {
			return usagef("--property %q: expected NAME=VALUE, or NAME", p)
		}
		m.Properties[name] = nil
		if has {
			m.Properties[name] = &value
		}
	}
	return nil
}

func (a *app) hubSend(ctx context.Context, f *hubFlags, device string, m plane.C2D) error {
	hub, err := f.of(ctx, a, device)
	if err != nil {
		return err
	}
	var queued plane.Queued
	if err := a.adminJSON(ctx, http.MethodPost, hubCall(hub, "messages", device), m, &queued); err != nil {
		return err
	}
	where := "it waits: the device is not connected"
	if queued.Connected {
		where = "the device is connected"
	}
	_, err = fmt.Fprintf(a.out, "queued as number %d for %s, until %s; %s (%d of 50 in its queue)\n", queued.SequenceNumber, device,
		queued.Expires.Format(time.RFC3339), where, queued.Waiting)
	return err
}

func (a *app) hubPurgeCommand(f *hubFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "purge DEVICE",
		Short:   "Empty a device's queue of cloud-to-device messages",
		Example: "  fakecloud hub purge dev-01",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			hub, err := f.of(cmd.Context(), a, args[0])
			if err != nil {
				return err
			}
			var answer struct{ Purged int }
			if err := a.adminJSON(cmd.Context(), http.MethodDelete, hubCall(hub, "messages", args[0]), nil, &answer); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%d messages purged\n", answer.Purged)
			return err
		},
	}
}
