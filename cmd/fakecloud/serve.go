package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/control"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/world"
)

// stopTimeout bounds the stop: a container that is told to stop is gone within a second.
const stopTimeout = 900 * time.Millisecond

func (a *app) serveCommand() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run every platform until SIGINT or SIGTERM (what fakecloud does without a command)",
		Long: `Runs every platform until SIGINT or SIGTERM. fakecloud without a command does the same.

Each flag but --config is also a variable of the environment (--mqtts-port is FAKECLOUD_MQTTS_PORT) and a
key of the world file's section serve: the flag wins over the variable, that over the world file.
FAKECLOUD_WORLD holds a world file's text.`,
		Example: `  fakecloud serve
  fakecloud serve --config world.yaml --data ./state
  fakecloud serve --ephemeral --mqtts-port 0 --admin-port 0 --log-format json`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd, f) },
	}
	f.register(cmd.Flags())
	offer(cmd, "profile", world.Profiles...)
	offer(cmd, "server-key", "vendor", "ecdsa", "rsa")
	offer(cmd, "log-format", "text", "json")
	offer(cmd, "log-level", "debug", "info", "warn", "error")
	return cmd
}

func (a *app) serve(cmd *cobra.Command, f *serveFlags) error {
	i, err := a.open(cmd, f)
	if err != nil {
		return err
	}
	forget, err := noteAdmin(i.plane, f.adminURL)
	if err != nil {
		i.log.Warn("client commands will not find this instance by its data directory", "cause", err)
	}
	a.announce(i.plane, f)
	if f.adopt {
		go adoptAll(cmd.Context(), i.cloud, func(text string) { i.log.Warn(text) })
	}
	debug.FreeOSMemory() // what starting has used and idling does not need
	releaseProgramPages()
	<-cmd.Context().Done()
	i.log.Info("stopping")
	forget()
	return i.close()
}

// served is a running cloud with its admin API.
type served struct {
	cloud  *fakecloud.Cloud
	plane  *plane.Plane
	server *control.Server
	log    *slog.Logger
	keylog io.Closer // nil without --keylog
}

// open starts a cloud as flags, environment and world say, and its admin API beside it.
func (a *app) open(cmd *cobra.Command, f *serveFlags) (*served, error) {
	config, adminPort, err := a.configure(cmd, f)
	if err != nil {
		return nil, err
	}
	return a.openWith(cmd.Context(), f, config, adminPort)
}

// configure reads flags, environment and world.
func (a *app) configure(cmd *cobra.Command, f *serveFlags) (config fakecloud.Config, adminPort int, err error) {
	inline := a.env("FAKECLOUD_WORLD")
	w, err := world.Load(inline, f.config...)
	if err != nil {
		return config, 0, usagef("%w", err)
	}
	if err := f.resolve(cmd, a.env, w); err != nil {
		return config, 0, err
	}
	if config, adminPort, err = f.build(inline); err != nil {
		return config, 0, err
	}
	config.Log, err = f.logger(a.err)
	return config, adminPort, err
}

func (a *app) openWith(ctx context.Context, f *serveFlags, config fakecloud.Config, adminPort int) (*served, error) {
	i := &served{log: config.Log}
	if f.keylog != "" {
		file, err := os.OpenFile(f.keylog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, usagef("%s: %w", f.origin("keylog"), err)
		}
		config.KeyLog, i.keylog = file, file
	}
	var err error
	i.cloud, err = fakecloud.Open(ctx, config)
	if err == nil {
		err = i.control(f, adminPort)
	}
	switch {
	case errors.Is(err, pki.ErrRequest) || errors.Is(err, pki.ErrNotPermitted):
		return nil, errors.Join(usagef("%w", err), i.close())
	case err != nil:
		return nil, errors.Join(err, i.close())
	}
	return i, nil
}

// control serves the admin API beside the running cloud.
func (i *served) control(f *serveFlags, port int) error {
	i.plane = i.cloud.Plane()
	listeners, err := f.adminListeners(port)
	if err != nil {
		return err
	}
	if len(listeners) > 0 {
		i.plane.Ports.Admin = listeners[0].Addr().(*net.TCPAddr).Port
		f.adminURL = urlOf(listeners[0].Addr().(*net.TCPAddr))
	}
	options := control.Options{AdminToken: f.adminToken, ViewerToken: f.viewerToken, Advertised: f.advertise, LAN: f.lan, Log: i.log}
	i.server = control.Serve(control.New(i.plane, options), i.log, listeners...)
	return nil
}

// close stops what has been started, within stopTimeout.
func (i *served) close() error {
	var errs []error
	if i.server != nil {
		stop, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		errs = append(errs, i.server.Close(stop))
	}
	if i.cloud != nil {
		errs = append(errs, i.cloud.Close())
	}
	if i.keylog != nil {
		errs = append(errs, i.keylog.Close())
	}
	return errors.Join(errs...)
}

// adminListeners binds the admin port: on loopback unless told otherwise, with --lan on all addresses.
func (f *serveFlags) adminListeners(port int) ([]net.Listener, error) {
	if port == fakecloud.Off {
		return nil, nil
	}
	hosts := []string{"127.0.0.1", "::1"}
	switch {
	case f.adminBind != "":
		hosts = strings.Split(f.adminBind, ",")
	case f.lan:
		hosts = []string{""}
	}
	var listeners []net.Listener
	for i, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		switch {
		case err == nil:
			listeners = append(listeners, l)
			port = l.Addr().(*net.TCPAddr).Port
		case i > 0 && f.adminBind == "":
			// a machine without IPv6, or a free port that is taken on ::1
		default:
			return nil, fmt.Errorf("%s %d cannot be had on %q: %w; choose another, or 0 for any free one", f.origin("admin-port"), port, host, err)
		}
	}
	return listeners, nil
}

// noteAdmin leaves the admin URL in the data directory, for health and the client commands.
func noteAdmin(p *plane.Plane, url string) (forget func(), err error) {
	if p.DataDir == "" || url == "" {
		return func() {}, nil
	}
	file := filepath.Join(p.DataDir, adminFile)
	if err := os.WriteFile(file, []byte(url+"\n"), 0o600); err != nil {
		return func() {}, err
	}
	return func() { _ = os.Remove(file) }, nil
}

// urlOf is where a listener is reached from this machine.
func urlOf(at *net.TCPAddr) string {
	host := at.IP.String()
	if at.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(at.Port))
}

func (f *serveFlags) logger(out io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usagef("%s %q: it is debug, info, warn or error", f.origin("log-level"), f.logLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(out, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(out, options)), nil
	}
	return nil, usagef("%s %q: it is text or json", f.origin("log-format"), f.logFormat)
}
