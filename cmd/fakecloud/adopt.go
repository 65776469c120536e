package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/explain"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/plane"
)

func (a *app) adoptCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "adopt [DEVICE | ADDRESS]",
		Short: "Make the world accept the last refused client: its hub, device, ID scope, CA or thumbprint",
		Long: `Makes the world accept the last refused client, or the last one of a device or address, and prints what was
added as world YAML, for a world file. A client that is wrong itself cannot be adopted, nor one that signs
with a key: fakecloud has only seen its signature. serve --adopt does the same at every refusal.`,
		Example: `  fakecloud adopt
  fakecloud adopt Flexy205
  fakecloud adopt 192.168.1.20 >> world.yaml`,
		Args: positional(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var whose struct {
				Device  string `json:"device,omitempty"`
				Address string `json:"address,omitempty"`
			}
			if len(args) == 1 {
				if args[0] == "" {
					return usagef("DEVICE or ADDRESS is empty; without it the last refused client is meant")
				}
				q := explain.Guess(args[0])
				if whose.Address = q.Address; q.Address == "" {
					whose.Device = args[0]
				}
			}
			var adopted plane.Adoption
			if err := a.adminJSON(cmd.Context(), http.MethodPost, "/api/v1/adopt", whose, &adopted); err != nil {
				return err
			}
			fmt.Fprint(a.out, adoptionText(&adopted))
			return nil
		},
	}
}

// adoptionText is what was added, as YAML with a comment on its occasion.
func adoptionText(d *plane.Adoption) string {
	who := d.Device
	if who == "" {
		who = "a client"
	}
	return fmt.Sprintf("# %s at %s was refused by %s; added so that its next attempt succeeds:\n%s", who, d.Address, d.Rule, d.Added)
}

// adoptAll lets every refused client in, as far as that can be, until ctx ends; loudly, because a test that
// runs against such an instance proves nothing about refusals.
func adoptAll(ctx context.Context, cloud *fakecloud.Cloud, tell func(string)) {
	tell("--adopt: every refused client is let in from its next attempt on; no test of refusals means anything here")
	var since uint64
	for {
		events, err := cloud.Await(ctx, fakecloud.Filter{Kind: journal.Refused, Since: since}, 1)
		if err != nil {
			return
		}
		for _, e := range events {
			since = e.Seq
			adoptOne(ctx, cloud, e, tell)
		}
	}
}

func adoptOne(ctx context.Context, cloud *fakecloud.Cloud, e fakecloud.Event, tell func(string)) {
	adopted, err := cloud.Adopt(ctx, e.Device, e.Address)
	switch {
	case errors.Is(err, plane.ErrNoAttempt):
	case err != nil:
		tell("--adopt: " + err.Error())
	default:
		tell("--adopt: " + strings.TrimRight(adoptionText(&adopted), "\n"))
	}
}
