package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// logConfigCommand is `fakecloud iotda log`.
func (a *app) logConfigCommand() *cobra.Command {
	var instance string
	var length time.Duration
	cmd := &cobra.Command{
		Use:   "log DEVICE_ID on|off",
		Short: "Tell a device to collect its logs, as the console does (log_config)",
		Long: "Sends a connected device the event log_config of its service $log. What it reports then are events of $log: " +
			"fakecloud events --kind property shows them.",
		Example: "  fakecloud iotda log demo_node1 on --for 30m\n  fakecloud iotda log demo_node1 off",
		Args:    positional(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] != "on" && args[1] != "off" {
				return usagef("log collection %q: it is on or off", args[1])
			}
			if length <= 0 {
				return usagef("--for %s: a time to come", length)
			}
			body := map[string]any{"switch": args[1]}
			if args[1] == "on" {
				body["until"] = time.Now().Add(length).UTC().Truncate(time.Second)
			}
			if err := a.toDevice(cmd.Context(), instance, args[0], "/log-config", body); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.out, "%s has been told: log collection %s\n", args[0], args[1])
			return err
		},
	}
	cmd.Flags().DurationVar(&length, "for", time.Hour, "how long to collect")
	cmd.Flags().StringVar(&instance, "instance", "", "name of the IoTDA instance (default: the only one, or fakecloud)")
	return cmd
}

// configUpdateCommand is `fakecloud iotda config`.
func (a *app) configUpdateCommand() *cobra.Command {
	var instance string
	cmd := &cobra.Command{
		Use:   "config DEVICE_ID JSON",
		Short: "Send a device its remote configuration, as the console does (config_update)",
		Long: "Sends a connected device the event config_update of its service $device_config, with a JSON object as config_content. " +
			"It answers with config_update_response: fakecloud events --kind property shows that.",
		Example: `  fakecloud iotda config demo_node1 '{"period":5}'`,
		Args:    positional(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !json.Valid([]byte(args[1])) {
				return usagef("the configuration is not JSON: an object such as '{\"period\":5}'")
			}
			if err := a.toDevice(cmd.Context(), instance, args[0], "/config", map[string]any{"content": json.RawMessage(args[1])}); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.out, "%s has its configuration\n", args[0])
			return err
		},
	}
	cmd.Flags().StringVar(&instance, "instance", "", "name of the IoTDA instance (default: the only one, or fakecloud)")
	return cmd
}

// toDevice calls the admin API for a device of an IoTDA instance.
func (a *app) toDevice(ctx context.Context, instance, device, call string, body any) error {
	i, err := a.instance(ctx)
	if err != nil {
		return err
	}
	iot, err := i.iotda(instance)
	if err != nil {
		return err
	}
	return a.adminJSON(ctx, http.MethodPost, "/api/v1/iotda/"+url.PathEscape(iot.Name)+"/devices/"+url.PathEscape(device)+call, body, nil)
}
