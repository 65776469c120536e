package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/explain"
	"github.com/fakecloud/fakecloud/internal/fault"
)

func (a *app) scenariosCommand() *cobra.Command {
	var as string
	var met bool
	cmd := &cobra.Command{
		Use:   "scenarios [NAME]",
		Short: "The reserved device ids that misbehave by themselves, without any set-up",
		Long: "Lists the scenario devices of this version; no instance has to run. A device whose id begins with " + fault.ScenarioPrefix +
			"NAME meets what is said there, in the default world without any set-up. " + fault.ScenarioPrefix + "NAME-7 is another device of the same " +
			"kind, which begins anew. With --met: those that have come to the running instance, and how far they are.",
		Example: "  fakecloud scenarios\n  fakecloud scenarios throttled\n  fakecloud scenarios --met",
		Args:    positional(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("as", as, "text", "json"); err != nil {
				return err
			}
			list, err := chosenScenarios(args)
			switch {
			case err != nil:
				return err
			case met:
				return a.metScenarios(cmd, args, as)
			case as == "json":
				return a.printJSON(list)
			}
			for _, s := range list {
				fmt.Fprintf(a.out, "%s%s   %s\n  happens  %s\n  correct  %s\n  try      %s\n", fault.ScenarioPrefix, s.Name,
					strings.Join(s.Platforms, ", "), s.Happens, s.Correct, s.Try)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&as, "as", "text", "text or json")
	cmd.Flags().BoolVar(&met, "met", false, "the devices of the running instance")
	return cmd
}

// chosenScenarios returns the scenario that an argument names, by itself or as a device's id, or all.
func chosenScenarios(args []string) ([]fault.Scenario, error) {
	if len(args) == 0 {
		return fault.Scenarios(), nil
	}
	name := args[0]
	if !strings.Contains(name, fault.ScenarioPrefix) {
		name = fault.ScenarioPrefix + name
	}
	s, ok := fault.FindScenario(name)
	if !ok {
		return nil, usagef("there is no scenario %q; it is one of %s%s", args[0], strings.Join(fault.ScenarioNames(), ", "),
			meant(explain.Closest(args[0], fault.ScenarioNames())))
	}
	return []fault.Scenario{*s}, nil
}

// progressOf says how far a scenario device is.
func progressOf(d fault.ScenarioDevice) string {
	if s, ok := fault.FindScenario(d.Device); ok && s.Disabled {
		return "disabled"
	}
	times := "1 time"
	if d.Fired != 1 {
		times = fmt.Sprintf("%d times", d.Fired)
	}
	if d.Over {
		return times + ", over"
	}
	return times + ", goes on"
}

func (a *app) metScenarios(cmd *cobra.Command, args []string, as string) error {
	var answer struct{ Devices []fault.ScenarioDevice }
	if err := a.adminJSON(cmd.Context(), http.MethodGet, "/api/v1/scenarios", nil, &answer); err != nil {
		return err
	}
	if len(args) > 0 {
		chosen, _ := chosenScenarios(args) // judged before
		answer.Devices = slices.DeleteFunc(answer.Devices, func(d fault.ScenarioDevice) bool { return d.Scenario != chosen[0].Name })
	}
	if as == "json" {
		return a.printJSON(answer.Devices)
	}
	for _, d := range answer.Devices {
		fmt.Fprintf(a.out, "%s  %s  %s  %s\n", d.Device, d.Platform, d.Endpoint, progressOf(d))
	}
	return nil
}
