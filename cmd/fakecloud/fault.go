package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/fault"
)

func (a *app) faultCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "List the faults that are set in the running instance; set and clear them",
		Example: `  fakecloud fault
  fakecloud fault set connect --code 3 --count 2 --device 'meter-*'
  fakecloud fault set puback --drop --probability 0.1 --seed 7
  fakecloud fault set dps.register --throttle 5 --count 2
  fakecloud fault set dps.register --rounds 3 --device 'meter-*'
  fakecloud fault set token --expire 5s --device meter-7
  fakecloud fault set tls --servercert expired --host '*.azure-devices.net' --count 1
  fakecloud fault clear`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var answer struct{ Faults []fault.Fault }
			if err := a.adminJSON(cmd.Context(), http.MethodGet, "/api/v1/faults", nil, &answer); err != nil {
				return err
			}
			return a.printJSON(answer.Faults)
		},
	}
	cmd.AddCommand(a.faultSetCommand(), a.faultClearCommand())
	return cmd
}

func (a *app) faultSetCommand() *cobra.Command {
	var f fault.Fault
	var code, throttle, rounds int
	var delay, expire time.Duration
	cmd := &cobra.Command{
		Use:     "set STEP",
		Short:   "Let a step fail",
		Long:    "Lets a step fail. STEP is one of " + strings.Join(fault.Steps(), ", ") + ".",
		Example: "  fakecloud fault set publish --drop --count 1\n  fakecloud fault set connect --delay 2s --close",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Match.Step = fault.Step(args[0])
			if cmd.Flags().Changed("code") {
				f.Action.Code = &code
			}
			if cmd.Flags().Changed("throttle") {
				f.Action.Throttle = &throttle
			}
			if cmd.Flags().Changed("rounds") {
				f.Action.Rounds = &rounds
			}
			f.Action.Delay, f.Action.Expire = durationOf(delay), durationOf(expire)
			if err := f.Validate(); err != nil {
				return usagef("%w", err)
			}
			var put fault.Fault
			if err := a.adminJSON(cmd.Context(), http.MethodPost, "/api/v1/faults", f, &put); err != nil {
				return err
			}
			return a.printJSON(put)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.ID, "id", "", "name of the fault (default made)")
	flags.StringVar(&f.Match.Platform, "platform", "", "only this platform")
	flags.StringVar(&f.Match.Endpoint, "endpoint", "", "only this instance")
	flags.StringVar(&f.Match.Device, "device", "", "only these devices (a glob)")
	flags.StringVar(&f.Match.Host, "host", "", "only handshakes for these names (a glob; step tls)")
	flags.StringVar(&f.Action.ServerCert, "servercert", "", "present a wrong certificate: "+strings.Join(fault.ServerCerts, ", "))
	flags.IntVar(&code, "code", 0, "answer with this return code or status")
	flags.IntVar(&throttle, "throttle", 0, "answer 429 with this retry-after in seconds")
	flags.IntVar(&rounds, "rounds", 0, "answer so many polls with status assigning")
	flags.DurationVar(&expire, "expire", 0, "end what is accepted so soon")
	flags.BoolVar(&f.Action.Close, "close", false, "close the connection")
	flags.BoolVar(&f.Action.Reset, "reset", false, "reset the connection")
	flags.BoolVar(&f.Action.Drop, "drop", false, "lose the packet")
	flags.BoolVar(&f.Action.Duplicate, "duplicate", false, "let the packet come twice")
	flags.DurationVar(&delay, "delay", 0, "wait first")
	flags.Float64Var(&f.Probability, "probability", 0, "share of the steps that fail (default all)")
	flags.IntVar(&f.Count, "count", 0, "fail so many times (default no limit)")
	flags.Uint64Var(&f.Seed, "seed", 0, "of the probability")
	return cmd
}

// durationOf is the span of a flag, nil where it was not given.
func durationOf(span time.Duration) *fault.Duration {
	if span == 0 {
		return nil
	}
	d := fault.Duration(span)
	return &d
}

func (a *app) faultClearCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "clear [ID]",
		Short:   "Remove one fault, or all",
		Example: "  fakecloud fault clear",
		Args:    positional(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/api/v1/faults"
			if len(args) == 1 {
				path += "?id=" + url.QueryEscape(args[0])
			}
			if err := a.adminJSON(cmd.Context(), http.MethodDelete, path, nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.out, "cleared")
			return err
		},
	}
}
