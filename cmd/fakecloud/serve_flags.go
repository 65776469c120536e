package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/outbound"
	"github.com/fakecloud/fakecloud/internal/world"
)

// serveFlags are the flags of serve (design of the public surface); each is also an environment variable
// FAKECLOUD_… and a key of the world file's serve section: flag before environment before world.
type serveFlags struct {
	config                                                              []string
	data                                                                string
	ephemeral, lan, rootUnconstrained, adopt                            bool
	bind, adminBind                                                     string
	advertise, allowOutbound                                            []string
	mqtts, mqtt, https, amqps, amqp, edge, admin, proxy                 string
	serverKey, serverCA, serverCAKey, seed, logFormat, logLevel, keylog string
	adminToken, viewerToken, profile                                    string

	origins  map[string]string // where a value came from that no flag gave, by flag
	adminURL string            // where this machine reaches the admin API, once it is bound; empty: off
}

// origin names the place where a user finds the value of a flag.
func (f *serveFlags) origin(flag string) string {
	if from := f.origins[flag]; from != "" {
		return from
	}
	return "--" + flag
}

func (f *serveFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.config, "config", nil, "world file (repeatable; later ones override by id)")
	fs.StringVar(&f.profile, "profile", "default", "what it is for: "+strings.Join(world.Profiles, ", ")+"; sets what nothing else does")
	fs.StringVar(&f.data, "data", "fakecloud-data", "directory of PKI and state")
	fs.BoolVar(&f.ephemeral, "ephemeral", false, "keep nothing on disk")
	fs.StringVar(&f.bind, "bind", "", "address of the device ports (default both loopbacks)")
	fs.StringVar(&f.adminBind, "admin-bind", "", "address of the admin port (default loopback)")
	fs.BoolVar(&f.adopt, "adopt", false, "let every refused client in from its next attempt on, where that can be")
	fs.BoolVar(&f.lan, "lan", false, "device ports on all addresses; admin stays on loopback but for ca.pem and explain")
	fs.StringArrayVar(&f.advertise, "advertise", nil, "further name or address that clients dial (repeatable)")
	fs.StringVar(&f.mqtts, "mqtts-port", "8883", "MQTT over TLS; 0 is any free port, off is none")
	fs.StringVar(&f.mqtt, "mqtt-port", "1883", "plain MQTT, for IoTDA")
	fs.StringVar(&f.https, "https-port", "auto", "HTTPS and WebSocket; auto is 8443, and 443 where permitted")
	fs.StringVar(&f.amqps, "amqps-port", "5671", "for AMQP over TLS, which no platform speaks yet: nothing listens")
	fs.StringVar(&f.amqp, "amqp-port", "off", "for plain AMQP, likewise")
	fs.StringVar(&f.edge, "edge-port", "8884", "Edge gateway for clients without its name")
	fs.StringVar(&f.admin, "admin-port", "8484", "admin API")
	fs.StringVar(&f.proxy, "proxy-port", "8485", "HTTP CONNECT and SOCKS5 proxy to the device ports, by vendor name")
	fs.StringVar(&f.serverKey, "server-key", "vendor", "what the platforms present: vendor, ecdsa or rsa")
	fs.StringVar(&f.serverCA, "server-ca", "", "PEM file of your own root for server certificates")
	fs.StringVar(&f.serverCAKey, "server-ca-key", "", "its key")
	fs.BoolVar(&f.rootUnconstrained, "root-unconstrained", false, "make a server root without name constraints")
	fs.StringVar(&f.seed, "seed", "", "generated ids follow from this number (default random, printed)")
	fs.StringArrayVar(&f.allowOutbound, "allow-outbound", nil, "host, or host:port, that webhooks and forwarding may call besides loopback (repeatable)")
	fs.StringVar(&f.logFormat, "log-format", "text", "text or json")
	fs.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&f.keylog, "keylog", "", "file for TLS secrets, for packet captures")
	fs.StringVar(&f.adminToken, "admin-token", "", "bearer token that the admin API asks for")
	fs.StringVar(&f.viewerToken, "viewer-token", "", "bearer token for read-only calls")
}

// resolve fills flags that were not given from the environment, then from the world, then from the profile.
func (f *serveFlags) resolve(cmd *cobra.Command, env func(string) string, w *world.World) error {
	f.origins = map[string]string{}
	fromWorld := map[string][]string{}
	for _, flag := range w.Serve.Flags() {
		fromWorld[flag.Name] = flag.Values
	}
	var errs []error
	cmd.LocalNonPersistentFlags().VisitAll(func(flag *pflag.Flag) {
		if flag.Changed || flag.Name == "config" || flag.Name == "help" || flag.Name == "version" {
			return
		}
		name := "FAKECLOUD_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		if text := env(name); text != "" {
			f.origins[flag.Name] = name
			errs = append(errs, set(flag, name, splitList(flag, text)))
			return
		}
		if values := fromWorld[flag.Name]; len(values) > 0 {
			f.origins[flag.Name] = "serve." + flag.Name + " of the world file"
			errs = append(errs, set(flag, f.origins[flag.Name], values))
		}
	})
	if why := world.CheckProfile(f.profile); why != "" {
		errs = append(errs, usagef("%s %q: %s", f.origin("profile"), f.profile, why))
	}
	return errors.Join(append(errs, f.applyProfile(cmd.Flags()))...)
}

// applyProfile fills what neither flag nor environment nor world has said.
func (f *serveFlags) applyProfile(fs *pflag.FlagSet) error {
	given := func(name string) bool { return fs.Changed(name) || f.origins[name] != "" }
	var errs []error
	for _, one := range world.ProfileServe(f.profile).Flags() {
		if given(one.Name) || one.Name == "ephemeral" && given("data") {
			continue
		}
		f.origins[one.Name] = "the profile " + f.profile
		errs = append(errs, set(fs.Lookup(one.Name), f.origins[one.Name], one.Values))
	}
	return errors.Join(errs...)
}

func splitList(flag *pflag.Flag, text string) []string {
	if flag.Value.Type() == "stringArray" {
		list := strings.Split(text, ",")
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		return list
	}
	return []string{text}
}

func set(flag *pflag.Flag, origin string, values []string) error {
	for _, v := range values {
		if err := flag.Value.Set(v); err != nil {
			return usagef("%s %q: it is true or false", origin, v) // only booleans refuse a text here
		}
	}
	return nil
}

// port reads one port flag; auto is only known to --https-port.
func (f *serveFlags) port(name, text string) (int, error) {
	if text == "off" {
		return fakecloud.Off, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		auto := ""
		if name == "https-port" {
			auto = ", auto"
		}
		return 0, usagef("%s %q: a port is a number from 0 (any free one) to 65535%s, or off", f.origin(name), text, auto)
	}
	return int(n), nil
}

func (f *serveFlags) ports() (p fakecloud.Ports, admin int, err error) {
	var errs []error
	read := func(name, text string) int {
		n, err := f.port(name, text)
		errs = append(errs, err)
		return n
	}
	p.MQTTS, p.MQTT, p.Edge = read("mqtts-port", f.mqtts), read("mqtt-port", f.mqtt), read("edge-port", f.edge)
	p.Proxy, admin = read("proxy-port", f.proxy), read("admin-port", f.admin)
	if f.https == "auto" {
		p.HTTPS, p.HTTPSWherePermitted = []int{8443}, []int{443}
	} else {
		p.HTTPS = []int{read("https-port", f.https)} // no list would be any free port
	}
	// No platform of this version speaks on these; their values are checked all the same.
	for _, unused := range [][2]string{{"amqps-port", f.amqps}, {"amqp-port", f.amqp}} {
		read(unused[0], unused[1])
	}
	return p, admin, errors.Join(errs...)
}

// checkNames refuses what cannot be meant by an address to bind, a kind of key, a root of one's own or a
// host to call. No name is looked up for an address: what it would bind to would depend on a name server.
func (f *serveFlags) checkNames() error {
	for _, one := range [][2]string{{"bind", f.bind}, {"admin-bind", f.adminBind}} {
		if one[1] == "" {
			continue
		}
		for text := range strings.SplitSeq(one[1], ",") {
			if _, err := netip.ParseAddr(text); err != nil {
				return usagef("%s %q: it is an IP address of this machine, like 127.0.0.1, or 0.0.0.0 for all", f.origin(one[0]), one[1])
			}
		}
	}
	for _, host := range f.allowOutbound {
		if _, err := outbound.ParseHost(host); err != nil {
			return usagef("%s: %w", f.origin("allow-outbound"), err)
		}
	}
	if (f.serverCA == "") != (f.serverCAKey == "") {
		return usagef("%s and %s belong together: give both or none", f.origin("server-ca"), f.origin("server-ca-key"))
	}
	switch f.serverKey {
	case "vendor", "rsa", "ecdsa":
		return nil
	}
	return usagef("%s %q: it is vendor, rsa or ecdsa", f.origin("server-key"), f.serverKey)
}

// build turns the flags into an instance's configuration.
func (f *serveFlags) build(inline string) (c fakecloud.Config, admin int, err error) {
	c = fakecloud.Config{
		DataDir: f.data, Advertise: f.advertise, ServerKey: f.serverKey, ServerCA: f.serverCA,
		ServerCAKey: f.serverCAKey, RootUnconstrained: f.rootUnconstrained, WorldFiles: f.config, World: inline, Version: buildVersion(),
		AllowOutbound: f.allowOutbound, Profile: f.profile,
	}
	if f.ephemeral {
		c.DataDir = ""
	}
	switch {
	case f.bind != "":
		c.Bind = strings.Split(f.bind, ",")
	case f.lan:
		c.Bind = []string{"0.0.0.0"}
	}
	if f.seed != "" {
		n, err := strconv.ParseUint(f.seed, 10, 64)
		if err != nil {
			return c, 0, usagef("%s %q: a seed is a whole number from 0", f.origin("seed"), f.seed)
		}
		c.Seed = &n
	}
	if err := f.checkNames(); err != nil {
		return c, 0, err
	}
	c.Ports, admin, err = f.ports()
	if err != nil {
		return c, 0, fmt.Errorf("%w", err)
	}
	return c, admin, nil
}
