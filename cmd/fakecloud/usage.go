package main

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// positional makes wrong arguments wrong usage (exit code 2).
func positional(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%w; see %s --help", err, cmd.CommandPath())
		}
		return nil
	}
}

// oneOf checks a flag that names one of a few things.
func oneOf(flag, value string, legal ...string) error {
	for _, l := range legal {
		if value == l {
			return nil
		}
	}
	return usagef("--%s is one of %s", flag, strings.Join(legal, ", "))
}

// colours reports whether w is a terminal that wants colours (https://no-color.org).
func (a *app) colours(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
