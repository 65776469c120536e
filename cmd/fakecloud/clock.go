package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

// clockState is the answer of the admin API's clock calls.
type clockState struct {
	Now, Wall, Skew string
	Frozen          bool
}

func (a *app) clockCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clock",
		Short: "Show or move the running instance's time",
		Long: `Two readings: timers (time to live, locks, delays, expiry of live credentials) follow advance;
the wall judges credentials presented now and moves only by skew, which counts from real time: a new skew replaces the
one before, and 0s ends it.`,
		Example: `  fakecloud clock
  fakecloud clock advance 1h
  fakecloud clock skew -- -10m
  fakecloud clock freeze
  fakecloud clock resume`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.clockCall(cmd.Context(), http.MethodGet, "", nil)
		},
	}
	by := func(use, short, example string) *cobra.Command {
		return &cobra.Command{Use: use + " DURATION", Short: short, Example: "  fakecloud clock " + use + " " + example,
			Args: positional(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.clockCall(cmd.Context(), http.MethodPost, "/"+use, map[string]string{"by": args[0]})
			}}
	}
	bare := func(use, short string) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Example: "  fakecloud clock " + use, Args: positional(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return a.clockCall(cmd.Context(), http.MethodPost, "/"+use, nil)
			}}
	}
	skew := by("skew", "Set how far the wall reading stands from real time, in place of an earlier skew; may be negative", "-- -10m")
	advance := by("advance", "Move the timers on; returns when what became due has happened", "1h")
	advance.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usagef("%w; time cannot move backwards; fakecloud clock skew -- -10m moves the wall reading either way", err)
	})
	cmd.AddCommand(advance, skew,
		bare("freeze", "Stop the timers"), bare("resume", "Let the timers run again"))
	skew.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usagef("%w; a negative duration stands behind two hyphens: fakecloud clock skew -- -10m", err)
	})
	return cmd
}

func (a *app) clockCall(ctx context.Context, method, path string, in any) error {
	var c clockState
	if err := a.adminJSON(ctx, method, "/api/v1/clock"+path, in, &c); err != nil {
		return err
	}
	state := "running"
	if c.Frozen {
		state = "frozen"
	}
	_, err := fmt.Fprintf(a.out, "timers %s (%s)\nwall   %s (skew %s)\n", c.Now, state, c.Wall, c.Skew)
	return err
}
