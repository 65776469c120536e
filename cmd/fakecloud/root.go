package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
)

// app is what every command shares: the process's streams and environment, injected for tests.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	adminURL string // --admin or FAKECLOUD_ADMIN; empty: look for the instance
	token    string // that the instance of adminURL was started with; empty: that of the environment
}

// defaultAdmin is where client commands look for a running instance.
const defaultAdmin = "http://127.0.0.1:8484"

// errUsage marks wrong usage or configuration: exit code 2.
var errUsage = errors.New("usage")

// usagef makes an error that ends the process with exit code 2.
func usagef(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errUsage, fmt.Errorf(format, args...))
}

// run executes one command line and returns the exit code: 0 done, 1 failed, 2 wrong usage or configuration.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var exit exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.Is(err, errUsage), refusedValues(err):
		fmt.Fprintf(a.err, "fakecloud: %s\n", trimUsage(err))
		return 2
	default:
		fmt.Fprintf(a.err, "fakecloud: %v\n", err)
		return 1
	}
}

// refusedValues reports whether the admin API found what it was sent wrong: it reads the values of flags
// and files then, as this process reads others.
func refusedValues(err error) bool {
	var refusal *adminError
	return errors.As(err, &refusal) && refusal.Rule == "" && (refusal.Status == http.StatusBadRequest || refusal.Status == http.StatusUnprocessableEntity)
}

// exitCode ends the process silently with a code, for commands that have said everything already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func trimUsage(err error) string {
	text, prefix := err.Error(), errUsage.Error()+": "
	if len(text) > len(prefix) && text[:len(prefix)] == prefix {
		return text[len(prefix):]
	}
	return text
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "fakecloud",
		Short: "A local mock of IoT clouds for integration tests",
		Long: "A local mock of IoT clouds for integration tests: devices and SDKs that work against the real\n" +
			"platform work against it unchanged, and it says why one is refused. Without a command: serve.",
		Example: `  fakecloud                            # run every platform until Ctrl-C
  fakecloud device azure               # in a second terminal: one device, from DPS to telemetry
  fakecloud events -f                  # what happens on the wire
  fakecloud explain --last             # why a client was refused`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().StringVar(&a.adminURL, "admin", a.env("FAKECLOUD_ADMIN"),
		"`URL` of the running instance's admin API (env FAKECLOUD_ADMIN; default "+defaultAdmin+")")
	root.PersistentFlags().Lookup("admin").DefValue = "" // what the environment says is not the default
	root.AddCommand(a.commands()...)
	// fakecloud alone is fakecloud serve, with the same flags.
	serve := a.serveCommand()
	// Not cobra's own version flag: its template keeps every method of every type in the program.
	showVersion := root.Flags().BoolP("version", "v", false, "print version, Go version and platform")
	root.Args = positional(cobra.NoArgs)
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if *showVersion {
			_, err := io.WriteString(a.out, versionLine())
			return err
		}
		return serve.RunE(cmd, args)
	}
	root.Flags().AddFlagSet(serve.Flags())
	wrapHelp(root)
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Args = positional(cobra.NoArgs)
		completion.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	return root
}
