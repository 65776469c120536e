package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// healthTimeout bounds a health check; a container's HEALTHCHECK waits longer.
const healthTimeout = 4 * time.Second

func (a *app) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Exit with 0 when the running instance is ready",
		Long: "Exit with 0 when every listener of the running instance accepts, else with 1.\n" +
			"The instance is the one of --admin or FAKECLOUD_ADMIN, else that of the data directory\n" +
			"(FAKECLOUD_DATA, default fakecloud-data), else " + defaultAdmin + ".",
		Example: "  fakecloud health\n  fakecloud health --admin http://127.0.0.1:8484",
		Args:    positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), healthTimeout)
			defer cancel()
			var answer struct {
				Status string `json:"status"`
			}
			if err := a.adminJSON(ctx, "GET", "/readyz", nil, &answer); err != nil {
				return err
			}
			fmt.Fprintln(a.out, answer.Status)
			return nil
		},
	}
}
