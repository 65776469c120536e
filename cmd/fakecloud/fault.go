package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fakecloud/fakecloud/internal/fault"
)

func (a *app) faultCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "List the faults that are set in the running instance; set and clear them",
		Long: `Lists the faults that are set, with the count, or the time of a failover, that is left of each. docs/faults.md has the
whole table of steps and actions.`,
		Example: `  fakecloud fault
  fakecloud fault set connect --code 3 --count 2 --device 'meter-*'
  fakecloud fault set publish --halfopen --device meter-7 --count 1
  fakecloud fault set deliver --slow 100
  fakecloud fault set puback --drop --probability 0.1 --seed 7
  fakecloud fault set dps.register --throttle 5 --count 2
  fakecloud fault set dps.register --rounds 3 --device 'meter-*'
  fakecloud fault set token --expire 5s --device meter-7
  fakecloud fault set tls --servercert expired --host '*.azure-devices.net' --count 1
  fakecloud fault failover fakecloud-hub.azure-devices.net --for 30s
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
	cmd.AddCommand(a.faultSetCommand(), a.faultFailoverCommand(), a.faultClearCommand())
	return cmd
}

func (a *app) faultSetCommand() *cobra.Command {
	var f fault.Fault
	var numbers faultNumbers
	cmd := &cobra.Command{
		Use:     "set STEP",
		Short:   "Let a step fail",
		Long:    "Lets a step fail. STEP, and what can go wrong there:\n\n" + stepTable(),
		Example: "  fakecloud fault set publish --drop --count 1\n  fakecloud fault set connect --delay 2s --close",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Match.Step = fault.Step(args[0])
			numbers.fill(cmd.Flags(), &f.Action)
			written := func(key string) bool { return cmd.Flags().Changed(strings.TrimPrefix(key, "match.")) }
			if err := f.ValidateWritten(written); err != nil {
				return usagef("%w", err)
			}
			return a.setFault(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.ID, "id", "", "name of the fault (default made)")
	flags.StringVar(&f.Match.Platform, "platform", "", "only this platform")
	flags.StringVar(&f.Match.Endpoint, "endpoint", "", "only this instance")
	flags.StringVar(&f.Match.Device, "device", "", "only these devices (a glob)")
	flags.StringVar(&f.Match.Host, "host", "", "only handshakes for these names (a glob; step tls)")
	flags.StringVar(&f.Action.ServerCert, "servercert", "", "present a wrong certificate: "+strings.Join(fault.ServerCerts, ", "))
	flags.IntVar(&numbers.code, "code", 0, "answer with this return code or status")
	flags.IntVar(&numbers.throttle, "throttle", 0, "answer 429 with this retry-after in seconds")
	flags.IntVar(&numbers.rounds, "rounds", 0, "answer so many polls with status assigning")
	flags.DurationVar(&numbers.expire, "expire", 0, "end what is accepted so soon")
	flags.BoolVar(&f.Action.Close, "close", false, "close the connection")
	flags.BoolVar(&f.Action.Reset, "reset", false, "reset the connection")
	flags.BoolVar(&f.Action.Drop, "drop", false, "lose the packet")
	flags.BoolVar(&f.Action.Duplicate, "duplicate", false, "let the packet come twice")
	flags.BoolVar(&f.Action.HalfOpen, "halfopen", false, "from the step on lose everything both ways and keep the socket open")
	flags.IntVar(&numbers.slow, "slow", 0, "from the step on let so many bytes a second through, each way")
	flags.DurationVar(&numbers.reorder, "reorder", 0, "hold the message back until the next one has gone, at most this long")
	flags.DurationVar(&numbers.failover, "failover", 0, "close every connection of the hub and keep it unavailable this long (step hub)")
	flags.DurationVar(&numbers.delay, "delay", 0, "wait first")
	flags.Float64Var(&f.Probability, "probability", 0, "share of the steps that fail (default all)")
	flags.IntVar(&f.Count, "count", 0, "fail so many times (default no limit)")
	flags.Uint64Var(&f.Seed, "seed", 0, "of the probability")
	return cmd
}

// faultNumbers are the values of actions that are left out of a fault unless their flag is given.
type faultNumbers struct {
	code, throttle, rounds, slow     int
	expire, reorder, failover, delay time.Duration
}

func (n *faultNumbers) fill(flags *pflag.FlagSet, a *fault.Action) {
	for name, to := range map[string]struct {
		value *int
		field **int
	}{"code": {&n.code, &a.Code}, "throttle": {&n.throttle, &a.Throttle}, "rounds": {&n.rounds, &a.Rounds}, "slow": {&n.slow, &a.Slow}} {
		if flags.Changed(name) {
			*to.field = to.value
		}
	}
	for name, to := range map[string]struct {
		value *time.Duration
		field **fault.Duration
	}{"expire": {&n.expire, &a.Expire}, "reorder": {&n.reorder, &a.Reorder}, "failover": {&n.failover, &a.Failover}, "delay": {&n.delay, &a.Delay}} {
		if flags.Changed(name) {
			*to.field = (*fault.Duration)(to.value)
		}
	}
}

// stepTable lists the steps with what can go wrong at each.
func stepTable() string {
	var b strings.Builder
	for _, step := range fault.Steps() {
		fmt.Fprintf(&b, "  %-14s %s\n", step, strings.Join(fault.Actions(fault.Step(step)), " "))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (a *app) setFault(ctx context.Context, f fault.Fault) error {
	if err := f.Validate(); err != nil {
		return usagef("%w", err)
	}
	var put fault.Fault
	if err := a.adminJSON(ctx, http.MethodPost, "/api/v1/faults", f, &put); err != nil {
		return err
	}
	return a.printJSON(put)
}

func (a *app) faultFailoverCommand() *cobra.Command {
	span := fault.Duration(30 * time.Second)
	cmd := &cobra.Command{
		Use:   "failover HUB",
		Short: "Let a hub fail over: close its connections and keep it unavailable for a while",
		Long: `Closes every connection of HUB, a host name. Until the time is over, by the timers clock, a CONNECT is answered with
return code 3 and an HTTPS request with 503; then the hub is back with all that it has acknowledged. The same as
fault set hub --endpoint HUB --failover 30s; fault clear ends it at once.`,
		Example: "  fakecloud fault failover fakecloud-hub.azure-devices.net --for 30s\n  fakecloud clock advance 30s",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			hub, err := a.hubNamed(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.setFault(cmd.Context(), fault.Fault{Match: fault.Match{Step: fault.Hub, Endpoint: hub}, Action: fault.Action{Failover: &span}})
		},
	}
	cmd.Flags().DurationVar((*time.Duration)(&span), "for", time.Duration(span), "how long the hub is unavailable")
	return cmd
}

// hubNamed returns the endpoint of a hub, given by one of its names.
func (a *app) hubNamed(ctx context.Context, name string) (string, error) {
	var info struct {
		Endpoints []struct {
			Platform, Name string
			Hosts          []string
		}
	}
	if err := a.adminJSON(ctx, http.MethodGet, "/api/v1/info", nil, &info); err != nil {
		return "", err
	}
	var hubs []string
	for _, e := range info.Endpoints {
		if e.Platform != "iothub" {
			continue
		}
		if slices.ContainsFunc(append(e.Hosts, e.Name), func(h string) bool { return strings.EqualFold(h, name) }) {
			return e.Name, nil
		}
		hubs = append(hubs, e.Name)
	}
	return "", usagef("there is no hub %s; there are %s", name, strings.Join(hubs, ", "))
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
