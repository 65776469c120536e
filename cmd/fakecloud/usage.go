package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/fakecloud/fakecloud/internal/explain"
)

// positional makes wrong arguments wrong usage (exit code 2).
func positional(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%s%s", argumentsWanted(cmd, args), help(cmd, nearCommands(cmd, args)))
		}
		return nil
	}
}

// argumentsWanted says what a command wants in place of wrong arguments.
func argumentsWanted(cmd *cobra.Command, args []string) string {
	wanted := strings.TrimSpace(strings.TrimPrefix(cmd.Use, cmd.Name()))
	name := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
	switch {
	case wanted == "" && cmd.HasAvailableSubCommands():
		return fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	case wanted == "":
		return fmt.Sprintf("%s takes no argument: %q", name, args[0])
	case len(args) == 0:
		return fmt.Sprintf("%s wants %s", name, wanted)
	}
	return fmt.Sprintf("%s wants %s, and got %d arguments", name, wanted, len(args))
}

// nearCommands are the commands below cmd that the first argument was probably meant to be.
func nearCommands(cmd *cobra.Command, args []string) []string {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return explain.Closest(args[0], names)
}

// flagError makes a wrong flag wrong usage, and names the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return usagef("--%s %q: %s is wanted%s", invalid.GetFlag().Name, invalid.GetValue(), wanted(invalid.GetFlag()), help(cmd, nil))
	}
	var near []string
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		for _, name := range explain.Closest(unknown.GetSpecifiedName(), names) {
			near = append(near, "--"+name)
		}
	}
	return usagef("%w%s", err, help(cmd, near))
}

// wanted says what a flag takes.
func wanted(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true or false"
	case "int":
		return "a whole number"
	case "uint64":
		return "a whole number from 0"
	case "float64":
		return "a number"
	case "duration":
		return "a duration such as 90s or 1h30m"
	}
	return "another value"
}

// help ends a message about wrong usage: what was probably meant, and where to read on.
func help(cmd *cobra.Command, near []string) string {
	if len(near) == 0 {
		return "; see " + cmd.CommandPath() + " --help"
	}
	return meant(near) + " See " + cmd.CommandPath() + " --help"
}

// meant asks for what was probably meant; empty when nothing comes near.
func meant(near []string) string {
	if len(near) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(near, " or ") + "?"
}

// helpWidth is how long a line of a help text may be.
const helpWidth = 118

// wrapHelp breaks the long lines of the help texts of cmd and all below it.
func wrapHelp(cmd *cobra.Command) {
	cmd.Long = wrap(cmd.Long, helpWidth)
	for _, below := range cmd.Commands() {
		wrapHelp(below)
	}
}

// wrap breaks lines between words where they are longer than width. Indented lines are tables and stay.
func wrap(text string, width int) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if utf8.RuneCountInString(line) <= width || strings.HasPrefix(line, " ") {
			continue
		}
		var b strings.Builder
		column := 0
		for _, word := range strings.Fields(line) {
			n := utf8.RuneCountInString(word)
			switch {
			case column == 0:
			case column+1+n > width:
				b.WriteByte('\n')
				column = 0
			default:
				b.WriteByte(' ')
				column++
			}
			b.WriteString(word)
			column += n
		}
		lines[i] = b.String()
	}
	return strings.Join(lines, "\n")
}

// oneOf checks a flag that names one of a few things.
func oneOf(flag, value string, legal ...string) error {
	for _, l := range legal {
		if value == l {
			return nil
		}
	}
	return usagef("--%s is one of %s%s", flag, strings.Join(legal, ", "), meant(explain.Closest(value, legal)))
}

// offer makes shell completion offer the values of a flag.
func offer(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // a flag of ours that is not there
	}
}

// colours reports whether w is a terminal that wants colours (https://no-color.org).
func (a *app) colours(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
