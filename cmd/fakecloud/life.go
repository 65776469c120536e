package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/internal/plane"
)

const snapshotsPath = "/api/v1/snapshots"

func (a *app) resetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reset [DEVICE]",
		Short: "Empty the running instance and seed its world again, or do so to some devices",
		Long: `Makes the running instance as it was after its first start: connections, identities, state, messages,
faults and journal go, what its world says comes back. With DEVICE, an id or a glob, only those devices,
with the messages that they have sent to a hub and their events.`,
		Example: "  fakecloud reset\n  fakecloud reset 'job42-*'",
		Args:    positional(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				if err := a.adminJSON(cmd.Context(), http.MethodPost, "/api/v1/reset", nil, nil); err != nil {
					return err
				}
				_, err := fmt.Fprintln(a.out, "reset")
				return err
			}
			if args[0] == "" {
				return usagef("DEVICE is empty; without it everything is reset")
			}
			var answer struct{ Devices int }
			if err := a.adminJSON(cmd.Context(), http.MethodPost, "/api/v1/reset", map[string]string{"device": args[0]}, &answer); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.out, "reset %d devices\n", answer.Devices)
			return err
		},
	}
}

func (a *app) snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "List, save and restore snapshots of the running instance's state",
		Long: `A snapshot is one file that any instance restores: the world, device CAs, twins, shadows, queues, stored
messages and faults. It holds keys and secrets as they are, and no connections, journal or server root.`,
		Example: `  fakecloud snapshot save before-update
  fakecloud snapshot restore before-update
  fakecloud snapshot save fleet --output fleet.fcsnap
  fakecloud snapshot restore fleet.fcsnap`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var answer struct{ Snapshots []plane.Snapshot }
			if err := a.adminJSON(cmd.Context(), http.MethodGet, snapshotsPath, nil, &answer); err != nil {
				return err
			}
			if len(answer.Snapshots) == 0 {
				fmt.Fprintln(a.err, "no snapshots; `fakecloud snapshot save NAME` makes one")
			}
			for _, s := range answer.Snapshots {
				fmt.Fprintf(a.out, "%-32s %s %10d bytes\n", s.Name, s.Made.Format("2006-01-02 15:04:05"), s.Bytes)
			}
			return nil
		},
	}
	cmd.AddCommand(a.snapshotSaveCommand(), a.snapshotRestoreCommand(), &cobra.Command{
		Use: "delete NAME", Short: "Remove a snapshot", Example: "  fakecloud snapshot delete before-update", Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.adminJSON(cmd.Context(), http.MethodDelete, snapshotPath(args[0]), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.out, "deleted")
			return err
		},
	})
	return cmd
}

func snapshotPath(name string) string { return snapshotsPath + "/" + url.PathEscape(name) }

func (a *app) snapshotSaveCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "save NAME",
		Short:   "Keep the state under a name, in place of an earlier snapshot",
		Example: "  fakecloud snapshot save before-update\n  fakecloud snapshot save fleet --output fleet.fcsnap",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var s plane.Snapshot
			if err := a.adminJSON(cmd.Context(), http.MethodPost, snapshotPath(args[0]), nil, &s); err != nil {
				return err
			}
			if output != "" {
				if err := a.fetchSnapshot(cmd.Context(), args[0], output); err != nil {
					return err
				}
			}
			_, err := fmt.Fprintf(a.out, "saved %s, %d bytes\n", s.Name, s.Bytes)
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write the snapshot to this file as well")
	return cmd
}

// fetchSnapshot writes a snapshot to a file that only its owner reads: it holds keys.
func (a *app) fetchSnapshot(ctx context.Context, name, output string) error {
	answer, err := a.adminDo(ctx, adminRequest{Path: snapshotPath(name), Patient: true})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	file, err := os.OpenFile(output, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, answer.Body)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("%s is not whole: %w", output, err)
	}
	return nil
}

func (a *app) snapshotRestoreCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "restore NAME|FILE",
		Short:   "Make the instance what it was when a snapshot was taken",
		Long:    "Makes the instance what it was when a snapshot was taken. What is a file here is sent to the instance first.",
		Example: "  fakecloud snapshot restore before-update\n  fakecloud snapshot restore ./fleet.fcsnap",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if file, err := os.ReadFile(name); err == nil {
				const uploaded = "uploaded"
				name = uploaded
				put := adminRequest{Method: http.MethodPut, Path: snapshotPath(name), Body: file, ContentType: "application/gzip", Patient: true}
				if _, err := a.adminBytes(cmd.Context(), put); err != nil {
					return err
				}
			} else if strings.ContainsRune(name, os.PathSeparator) {
				return err
			}
			if err := a.adminJSON(cmd.Context(), http.MethodPost, snapshotPath(name)+"/restore", nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.out, "restored")
			return err
		},
	}
}
