package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// gatewayState is the admin API's view of a gateway.
type gatewayState struct {
	Name, Hub, DeviceID, Upstream string
	Hosts, Children, Clients      []string
	Routes                        map[string]string
	Queue                         struct {
		Messages, Bytes int
		Lanes           []struct {
			Endpoint           string
			Priority, Messages int
			Expires            time.Time
		}
	}
}

func (a *app) edgeCommand() *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use:   "edge [GATEWAY]",
		Short: "IoT Edge gateways: children, clients, routes and what waits for the hub; take the hub away",
		Long: `Shows the IoT Edge gateways of the running instance. GATEWAY is one of a gateway's host names; without it
all are shown, and upstream and refresh mean the only one there is.`,
		Example: `  fakecloud edge
  fakecloud edge upstream down
  fakecloud edge upstream up mygateway.contoso.com
  fakecloud edge refresh`,
		Args: positional(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("as", as, "text", "json"); err != nil {
				return err
			}
			all, err := a.gateways(cmd.Context(), args)
			if err != nil {
				return err
			}
			if as == "json" {
				return a.printJSON(all)
			}
			for _, g := range all {
				a.printGateway(g)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&as, "as", "text", "text or json")
	up := &cobra.Command{
		Use: "upstream up|down [GATEWAY]", Short: "Make the hub reachable for a gateway or not",
		Example: "  fakecloud edge upstream down\n  fakecloud edge upstream up mygateway.contoso.com",
		Args:    positional(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != "up" && args[0] != "down" {
				return usagef("upstream %q: it is up or down", args[0])
			}
			return a.actOnGateway(cmd.Context(), args[1:], "/upstream", map[string]string{"state": args[0]})
		},
	}
	refresh := &cobra.Command{
		Use: "refresh [GATEWAY]", Short: "Let a gateway read its children from the hub now, instead of within two minutes",
		Example: "  fakecloud edge refresh", Args: positional(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.actOnGateway(cmd.Context(), args, "/refresh", nil)
		},
	}
	cmd.AddCommand(up, refresh)
	return cmd
}

const edgeAPI = "/api/v1/edge"

// gateways asks for the gateway that args name, or for all.
func (a *app) gateways(ctx context.Context, args []string) ([]gatewayState, error) {
	if len(args) > 0 {
		var one gatewayState
		err := a.adminJSON(ctx, http.MethodGet, edgeAPI+"/"+url.PathEscape(args[0]), nil, &one)
		return []gatewayState{one}, err
	}
	var answer struct{ Gateways []gatewayState }
	err := a.adminJSON(ctx, http.MethodGet, edgeAPI, nil, &answer)
	return answer.Gateways, err
}

// actOnGateway calls a switch of the gateway that args name, or of the only one, and shows it.
func (a *app) actOnGateway(ctx context.Context, args []string, path string, body any) error {
	all, err := a.gateways(ctx, args)
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		return fmt.Errorf("there is no gateway; the world has them under edge.gateways")
	case len(all) > 1:
		var names []string
		for _, g := range all {
			names = append(names, g.Name)
		}
		return usagef("which gateway? there are %s", strings.Join(names, ", "))
	}
	if err := a.adminJSON(ctx, http.MethodPost, edgeAPI+"/"+url.PathEscape(all[0].Name)+path, body, &struct{}{}); err != nil {
		return err
	}
	if all, err = a.gateways(ctx, []string{all[0].Name}); err != nil {
		return err
	}
	a.printGateway(all[0])
	return nil
}

func (a *app) printGateway(g gatewayState) {
	fmt.Fprintf(a.out, "%s  %s of %s  upstream %s\n", g.Name, g.DeviceID, g.Hub, g.Upstream)
	fmt.Fprintf(a.out, "  children  %s\n  connected %s\n", listed(g.Children), listed(g.Clients))
	for _, name := range slices.Sorted(maps.Keys(g.Routes)) {
		fmt.Fprintf(a.out, "  route     %s: %s\n", name, g.Routes[name])
	}
	fmt.Fprintf(a.out, "  queue     %d messages, %d bytes\n", g.Queue.Messages, g.Queue.Bytes)
	for _, l := range g.Queue.Lanes {
		fmt.Fprintf(a.out, "            %d for %s", l.Messages, l.Endpoint)
		if l.Priority < 10 {
			fmt.Fprintf(a.out, " at priority %d", l.Priority)
		}
		if !l.Expires.IsZero() {
			fmt.Fprintf(a.out, ", the first expires %s", l.Expires.UTC().Format(time.RFC3339))
		}
		fmt.Fprintln(a.out)
	}
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
