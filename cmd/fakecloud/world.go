package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/world"
)

func (a *app) worldCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "world",
		Short: "The world file: what an instance starts with, and what it holds now",
		Example: `  fakecloud world example > world.yaml
  fakecloud world check world.yaml
  fakecloud serve --config world.yaml
  fakecloud world patch more.yaml
  fakecloud world show`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.worldPrint("default", "Print the default world", "  fakecloud world default > world.yaml", world.DefaultText),
		a.worldPrint("example", "Print an example that uses most keys, with comments", "  fakecloud world example > world.yaml", world.ExampleText),
		a.worldPrint("schema", "Print the JSON Schema of world files, for editors", "  fakecloud world schema > world.schema.json", world.Schema),
		a.worldCheck(), a.worldShow(), a.worldPatch())
	return cmd
}

func (a *app) worldPrint(use, short, example string, text func() []byte) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Example: example, Args: positional(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := a.out.Write(text())
			return err
		}}
}

func (a *app) worldCheck() *cobra.Command {
	return &cobra.Command{
		Use:     "check FILE…",
		Short:   "Check world files, laid over each other and over the default world; no instance has to run",
		Example: "  fakecloud world check world.yaml more.yaml",
		Args:    positional(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, files []string) error {
			w, err := world.Load("", files...)
			if err != nil {
				return usagef("%w", err)
			}
			fmt.Fprintf(a.out, "ok: %s\n", contents(w))
			return nil
		},
	}
}

// contents counts what a world holds.
func contents(w *world.World) string {
	counts := map[string]int{"DPS instance": len(w.Azure.DPS), "hub": len(w.Azure.Hubs), "MindSphere tenant": len(w.MindSphere.Tenants),
		"IoTDA instance": len(w.IoTDA.Instances), "Edge gateway": len(w.Edge.Gateways), "CA": len(w.PKI.CAs), "fault": len(w.Faults)}
	for _, d := range w.Azure.DPS {
		counts["enrollment"] += len(d.Enrollments)
		counts["group"] += len(d.Groups)
	}
	for _, h := range w.Azure.Hubs {
		counts["device"] += len(h.Devices)
		for _, d := range h.Devices {
			counts["module"] += len(d.Modules)
		}
	}
	for _, i := range w.IoTDA.Instances {
		counts["product"] += len(i.Products)
		counts["IoTDA device"] += len(i.Devices)
	}
	var parts []string
	for _, noun := range []string{"DPS instance", "enrollment", "group", "hub", "device", "module", "MindSphere tenant",
		"IoTDA instance", "product", "IoTDA device", "Edge gateway", "CA", "fault"} {
		switch n := counts[noun]; {
		case n == 1:
			parts = append(parts, "1 "+noun)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, noun))
		}
	}
	if len(parts) == 0 {
		return "an empty world"
	}
	return strings.Join(parts, ", ")
}

func (a *app) worldShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Print the running world, keys and secrets included",
		Example: "  fakecloud world show > world.yaml",
		Args:    positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := a.worldText(cmd.Context())
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		},
	}
}

func (a *app) worldPatch() *cobra.Command {
	return &cobra.Command{
		Use:   "patch FILE",
		Short: "Add what a file names to the running world, by id; - reads standard input",
		Example: `  fakecloud world patch more.yaml
  echo 'azure: {hubs: [{name: second-hub}]}' | fakecloud world patch -`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			patch, err := a.readPatch(args[0])
			if err != nil {
				return usagef("%w", err)
			}
			if err := a.patchWorld(cmd.Context(), world.Format(patch)); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "patched: %s\n", contents(patch))
			return nil
		},
	}
}

func (a *app) readPatch(name string) (*world.World, error) {
	if name != "-" {
		return world.ParseFile(name)
	}
	const most = 16 << 20
	text, err := io.ReadAll(io.LimitReader(a.in, most+1))
	if err != nil {
		return nil, err
	}
	return world.Parse("standard input", text)
}

// send adds a patch to the running world, or only prints it. Problems of the merged world are told
// before anything is sent.
func (a *app) send(ctx context.Context, i *instance, patch *world.World, printOnly bool) error {
	// The patch is read back as the instance will read it, for positions and forms.
	text := world.Format(patch)
	parsed, err := world.Parse("what you add", text)
	if err == nil {
		err = world.Validate(world.Merge(i.world, parsed))
	}
	var problems world.Problems
	if errors.As(err, &problems) {
		return usagef("%s", texts(problems))
	}
	if err != nil {
		return err
	}
	if !printOnly {
		if !i.running {
			return noInstance(defaultAdmin, nil)
		}
		if err := a.patchWorld(ctx, text); err != nil {
			return err
		}
	}
	_, err = a.out.Write(text)
	return err
}

// texts are problems without line numbers, which mean nothing for a file that nobody wrote.
func texts(problems world.Problems) string {
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.Key+": "+p.Text)
	}
	return strings.Join(slices.Compact(lines), "\n")
}
