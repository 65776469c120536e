package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/explain"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// deviceFlags narrow a device's name where several platforms know it.
type deviceFlags struct{ platform, endpoint, as string }

func (a *app) devicesCommand() *cobra.Command {
	f := &deviceFlags{}
	cmd := &cobra.Command{
		Use:   "devices [ID]",
		Short: "Identities of all platforms; with an id its connection and state",
		Example: `  fakecloud devices
  fakecloud devices dev-01
  fakecloud devices disconnect dev-01 --platform iothub
  fakecloud devices expire dev-01
  fakecloud devices delete 'job42-*'`,
		Args: positional(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("as", f.as, "text", "json"); err != nil {
				return err
			}
			if len(args) == 0 {
				return a.listDevices(cmd.Context(), f)
			}
			if args[0] == "" {
				return usagef("ID is empty; without it all devices are listed")
			}
			return a.showDevice(cmd.Context(), f, args[0])
		},
	}
	cmd.PersistentFlags().StringVar(&f.platform, "platform", "", "only this platform: dps, iothub, …")
	cmd.PersistentFlags().StringVar(&f.endpoint, "endpoint", "", "only this instance")
	cmd.Flags().StringVar(&f.as, "as", "text", "text or json")
	act := func(use, short, method, suffix, done string) *cobra.Command {
		return &cobra.Command{
			Use:     use + " ID",
			Short:   short,
			Long:    short + ". ID may be a glob: * matches any run of characters.",
			Example: "  fakecloud devices " + use + " dev-01\n  fakecloud devices " + use + " 'job42-*' --platform iothub",
			Args:    positional(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				if args[0] == "" { // of a script's variable that is not set
					return usagef("ID is empty; '*' is all devices")
				}
				return a.actOnDevices(cmd.Context(), f, args[0], method, suffix, done)
			},
		}
	}
	cmd.AddCommand(
		act("delete", "Remove identities and end their connections", "DELETE", "", "deleted"),
		act("expire", "Do to devices' connections what the end of their token does", "POST", "/expire", "expired"),
		act("disconnect", "End devices' connections without a packet", "POST", "/disconnect", "disconnected"),
	)
	return cmd
}

// findDevices returns the devices whose id matches; none is an error that says so.
func (a *app) findDevices(ctx context.Context, f *deviceFlags, id string) ([]plane.Device, error) {
	query := url.Values{}
	for name, value := range map[string]string{"platform": f.platform, "endpoint": f.endpoint, "device": id} {
		if value != "" {
			query.Set(name, value)
		}
	}
	body, err := a.adminBytes(ctx, adminRequest{Path: "/api/v1/devices", Query: query})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Devices []plane.Device `json:"devices"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the instance's answer cannot be read: %w", err)
	}
	if id != "" && len(answer.Devices) == 0 {
		return nil, a.noDevice(ctx, id)
	}
	return answer.Devices, nil
}

func (a *app) noDevice(ctx context.Context, id string) error {
	all, err := a.findDevices(ctx, &deviceFlags{}, "")
	if err != nil {
		return err
	}
	var known []string
	for _, d := range all {
		known = append(known, d.ID)
	}
	if near := explain.Closest(id, known); len(near) > 0 {
		return fmt.Errorf("no device %q; is it %s?", id, strings.Join(near, " or "))
	}
	return fmt.Errorf("no device %q; `fakecloud devices` lists them", id)
}

func devicePath(d plane.Device) string {
	return "/api/v1/devices/" + url.PathEscape(d.Platform) + "/" + url.PathEscape(d.Endpoint) + "/" + url.PathEscape(d.ID)
}

func (a *app) listDevices(ctx context.Context, f *deviceFlags) error {
	list, err := a.findDevices(ctx, f, "")
	if err != nil {
		return err
	}
	if f.as == "json" {
		return a.printJSON(list)
	}
	switch {
	case len(list) == 0 && (f.platform != "" || f.endpoint != ""):
		fmt.Fprintln(a.out, "no devices there; `fakecloud devices` lists those of all platforms and instances")
	case len(list) == 0:
		fmt.Fprintln(a.out, "no devices; `fakecloud add` registers one, and DPS those that it provisions")
	}
	for _, d := range list {
		state := "offline"
		if d.Connected {
			state = fmt.Sprintf("connected (connection %d)", d.Conn)
		}
		fmt.Fprintf(a.out, "%-10s %-16s %-28s %s\n", d.Platform, d.Endpoint, explain.Clean(d.ID), state)
	}
	return nil
}

func (a *app) showDevice(ctx context.Context, f *deviceFlags, id string) error {
	list, err := a.findDevices(ctx, f, id)
	if err != nil {
		return err
	}
	for i := range list {
		if err := a.adminJSON(ctx, "GET", devicePath(list[i]), nil, &list[i]); err != nil {
			return err
		}
	}
	if len(list) == 1 {
		return a.printJSON(list[0])
	}
	return a.printJSON(list)
}

func (a *app) actOnDevices(ctx context.Context, f *deviceFlags, id, method, suffix, done string) error {
	list, err := a.findDevices(ctx, f, id)
	if err != nil {
		return err
	}
	acted, left := 0, 0
	for _, d := range list {
		err := a.adminJSON(ctx, method, devicePath(d)+suffix, nil, nil)
		if gone := (*adminError)(nil); errors.As(err, &gone) && gone.Status == http.StatusNotFound {
			continue // it went with another one: a module with its device
		} else if gone != nil && gone.Status == http.StatusConflict && len(list) > 1 {
			left++
			continue // among several, those that have nothing to expire are left alone
		}
		if err != nil {
			return fmt.Errorf("%s %s %s: %w", d.Platform, d.Endpoint, d.ID, err)
		}
		acted++
		fmt.Fprintf(a.out, "%s %s %s %s\n", done, d.Platform, d.Endpoint, explain.Clean(d.ID))
	}
	if acted == 0 && left > 0 {
		return fmt.Errorf("nothing was %s: none of these %d devices has a connection that a token ends", done, left)
	}
	return nil
}

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
