package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/fakecloud/fakecloud"
)

// runTargets are whose variables a command gets unless --for chooses. Java's are left out: they take the
// JVM's usual roots away from every Java program below, build tools included.
var runTargets = []string{"python", "node", "dotnet", "c"}

const (
	// runAddresses is how many loopback addresses are tried for one whose device ports are free.
	runAddresses = 64
	// runGrace is how long a command that has been told to end may take.
	runGrace = 10 * time.Second
	// explainTimeout bounds the explanation that follows a failure.
	explainTimeout = 5 * time.Second
)

func (a *app) runCommand() *cobra.Command {
	f := &serveFlags{}
	var targets []string
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG...]",
		Short: "A fresh instance for one command: sets its environment, explains when it fails, passes its exit code on",
		Long: `Starts a fresh instance, runs one command with the variables of fakecloud env set (addresses, ID scope, keys,
connection strings, server root), FAKECLOUD_ADMIN and, where it has a token, FAKECLOUD_ADMIN_TOKEN, and stops the
instance. When the command fails, the newest refusals are explained on stderr. The exit code is the command's own.

Nothing is kept on disk unless --data is given. Device ports are the usual ones, on the first loopback
address where they are free, so that several may run at once; where the machine has no further loopback
addresses, any free ports.`,
		Example: `  fakecloud run -- pytest tests/
  fakecloud run --for java -- mvn -q test
  fakecloud run --config world.yaml -- ./firmware-test.sh`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("say which command: fakecloud run -- COMMAND")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.runOne(cmd, f, targets, args) },
	}
	f.register(cmd.Flags())
	data := cmd.Flags().Lookup("data")
	data.DefValue, data.Usage = "", "directory of PKI and state (default none: nothing is kept)"
	for name, value := range map[string]string{"admin-port": "0", "proxy-port": "0", "edge-port": "0", "log-level": "error"} {
		flag := cmd.Flags().Lookup(name)
		flag.DefValue = value
		if err := flag.Value.Set(value); err != nil {
			panic(err) // a default of ours
		}
	}
	cmd.Flags().StringSliceVar(&targets, "for", runTargets, "whose variables to set")
	return cmd
}

func (a *app) runOne(cmd *cobra.Command, f *serveFlags, names, args []string) (err error) {
	for _, name := range names {
		if err := oneOf("for", name, targets...); err != nil {
			return err
		}
	}
	program, err := exec.LookPath(args[0])
	if err != nil {
		return usagef("%s: %w", args[0], errors.Unwrap(err))
	}
	i, err := a.openForRun(cmd, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.close()) }()
	switch {
	case f.adminURL == "":
		return usagef("%s off: run asks its instance through it", f.origin("admin-port"))
	case f.adminToken == "" && f.viewerToken != "":
		return usagef("%s alone: run reads keys, which asks for --admin-token beside it", f.origin("viewer-token"))
	}
	dir, err := os.MkdirTemp("", "fakecloud-run-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	a.adminURL, a.token = f.adminURL, f.adminToken
	environment, err := a.runEnvironment(cmd.Context(), names, dir)
	if err != nil {
		return err
	}
	return a.execute(cmd, program, args, environment)
}

// openForRun starts the instance on the first loopback address where its device ports are free, unless
// flags, environment or world say where.
func (a *app) openForRun(cmd *cobra.Command, f *serveFlags) (*served, error) {
	config, adminPort, err := a.configure(cmd, f)
	if err != nil {
		return nil, err
	}
	if !cmd.Flags().Changed("data") && f.origins["data"] == "" {
		config.DataDir = ""
	}
	for _, name := range []string{"bind", "lan", "mqtts-port", "https-port", "mqtt-port", "edge-port", "amqps-port", "amqp-port"} {
		if cmd.Flags().Changed(name) || f.origins[name] != "" {
			return a.openWith(cmd.Context(), f, config, adminPort)
		}
	}
	for n := 1; n <= runAddresses; n++ {
		address := fmt.Sprintf("127.0.0.%d", n)
		config.Bind, f.adminBind = []string{address}, address
		i, err := a.openWith(cmd.Context(), f, config, adminPort)
		switch {
		case errors.Is(err, syscall.EADDRINUSE) && runtime.GOOS == "linux":
			continue
		case errors.Is(err, syscall.EADDRINUSE):
			return a.openAnywhere(cmd.Context(), f, config, adminPort)
		}
		return i, err
	}
	return a.openAnywhere(cmd.Context(), f, config, adminPort)
}

// openAnywhere starts the instance on free ports.
func (a *app) openAnywhere(ctx context.Context, f *serveFlags, config fakecloud.Config, adminPort int) (*served, error) {
	fmt.Fprintln(a.err, "note: port 8883 is taken; clients that cannot dial another port must use the proxy")
	config.Bind, f.adminBind = nil, ""
	config.Ports = fakecloud.Ports{HTTPS: []int{0}}
	return a.openWith(ctx, f, config, adminPort)
}

// runEnvironment is this process's environment with what the instance adds. Files that variables name are
// written into dir.
func (a *app) runEnvironment(ctx context.Context, names []string, dir string) ([]string, error) {
	i, err := a.instance(ctx)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, i.root, 0o600); err != nil {
		return nil, err
	}
	if slices.Contains(names, "java") {
		if err := writeTrustStore(trustStore(root), i.root); err != nil {
			return nil, err
		}
	}
	environment := append(os.Environ(), "FAKECLOUD_ADMIN="+a.adminURL)
	if a.token != "" {
		environment = append(environment, "FAKECLOUD_ADMIN_TOKEN="+a.token)
	}
	for _, name := range names {
		variables, err := i.environment(&envFlags{target: name, id: defaultRegistrationID}, root)
		if err != nil {
			return nil, err
		}
		for _, v := range variables {
			environment = append(environment, v.name+"="+v.value)
		}
	}
	return environment, nil
}

// writeTrustStore writes a PKCS #12 trust store with the one certificate, as Java reads it.
func writeTrustStore(name string, rootPEM []byte) error {
	block, _ := pem.Decode(rootPEM)
	if block == nil {
		return errors.New("the server root is no PEM")
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	store, err := pkcs12.Modern.EncodeTrustStore([]*x509.Certificate{root}, "changeit")
	if err != nil {
		return err
	}
	return os.WriteFile(name, store, 0o600)
}

// execute runs the command to its end and returns its exit code as error.
func (a *app) execute(cmd *cobra.Command, program string, args, environment []string) error {
	c := exec.CommandContext(cmd.Context(), program, args[1:]...)
	c.Args[0] = args[0]
	c.Env, c.Stdin, c.Stdout, c.Stderr = environment, a.in, a.out, a.err
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = runGrace
	err := c.Run()
	if c.ProcessState == nil {
		return usagef("%s: %w", args[0], err)
	}
	code := c.ProcessState.ExitCode()
	if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal()) // as shells say it
	}
	if code == 0 {
		return nil
	}
	a.explainFailure(cmd, strings.Join(args, " "), code)
	return exitCode(code)
}

// explainFailure tells on stderr what the instance has refused.
func (a *app) explainFailure(cmd *cobra.Command, line string, code int) {
	fmt.Fprintf(a.err, "\nfakecloud: %s ended with %d. What was refused meanwhile:\n", line, code)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), explainTimeout)
	defer cancel()
	onErr := *a
	onErr.out = a.err
	if err := onErr.explain(ctx, "", false, "text"); err != nil {
		fmt.Fprintf(a.err, "fakecloud: no explanation: %v\n", err)
	}
}
