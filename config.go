package fakecloud

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/fakecloud/fakecloud/internal/memnet"
	"github.com/fakecloud/fakecloud/internal/world"
)

// Off as a port means that the listener is not opened.
const Off = -1

// Ports are TCP ports: 0 is any free port, Off no listener.
type Ports struct {
	MQTTS int   // MQTT over TLS, every platform
	MQTT  int   // plain MQTT, IoTDA only
	HTTPS []int // HTTPS and WebSockets; nil is one free port
	// HTTPSWherePermitted are further HTTPS ports, opened where the machine allows it and else done without.
	HTTPSWherePermitted []int
	Edge                int // the Edge gateway, for clients that do not send its name
	Proxy               int // HTTP CONNECT and SOCKS5 to the other ports, by the vendors' names
}

// Config says how to run an instance. The zero value listens on free loopback ports, keeps nothing on
// disk and serves the default world.
type Config struct {
	// DataDir holds PKI and state, created with mode 0700. Empty keeps everything in memory.
	DataDir string
	// Bind lists the addresses that device ports listen on. Empty means both loopbacks.
	Bind  []string
	Ports Ports
	// memory takes the place of the machine's network. An interface that only WithInMemory sets keeps what is behind it
	// out of programs that do not use it.
	memory network
	// Advertise lists further host names and addresses that clients dial; certificates and user names
	// accept them.
	Advertise []string
	// ServerKey is the kind of key that platforms present: "vendor" (RSA, as the real ones), "rsa" or
	// "ecdsa" (three times cheaper). Empty means vendor.
	ServerKey string
	// ServerCA and ServerCAKey are PEM files of a root of your own to issue server certificates from.
	ServerCA, ServerCAKey string
	// RootUnconstrained drops the name constraints of the generated root, so that any name may be advertised.
	RootUnconstrained bool
	// Seed fixes all generated ids. Nil draws one.
	Seed *uint64
	// World is inline YAML over the default world, and WorldFiles are world files over both, later ones over earlier
	// ones by id (`fakecloud world schema` has the form; `base: none` drops the default world).
	WorldFiles []string
	World      string
	// Profile is what the instance is for: "default", "ci", "strict", "hostile" or "classroom" (docs/profiles.md).
	// Empty means default. What the Config or the world says itself stays; a profile's log settings are for
	// `fakecloud serve` only.
	Profile string
	// AllowOutbound lists hosts, optionally with :port, that webhooks and forwarding may call besides loopback
	// and the hosts that the world names.
	AllowOutbound []string
	// Log receives state changes (Info) and packets (Debug). Nil discards.
	Log *slog.Logger
	// KeyLog receives TLS secrets in NSS key log format, for packet captures.
	KeyLog io.Writer
	// Version is shown by the admin API.
	Version string
}

// Option changes a Config.
type Option func(*Config)

// WithSeed makes generated ids follow from seed.
func WithSeed(seed uint64) Option { return func(c *Config) { c.Seed = &seed } }

// WithDataDir keeps PKI and state in dir.
func WithDataDir(dir string) Option { return func(c *Config) { c.DataDir = dir } }

// WithWorld lays a world (YAML) over the default world. Several add up.
func WithWorld(yaml string) Option {
	return func(c *Config) {
		if c.World != "" {
			c.World += "\n---\n"
		}
		c.World += yaml
	}
}

// WithProfile chooses what the instance is for: "hostile", say, breaks a share of everything that a correct
// client survives, always the same with WithSeed.
func WithProfile(name string) Option { return func(c *Config) { c.Profile = name } }

// withProfile sets what the profile has and nothing else says.
func (c Config) withProfile() (Config, error) {
	if why := world.CheckProfile(c.Profile); why != "" {
		return c, fmt.Errorf("profile %q: %s", c.Profile, why)
	}
	settings := world.ProfileServe(c.Profile)
	if c.ServerKey == "" {
		c.ServerKey = settings.ServerKey
	}
	if settings.LAN != nil && len(c.Bind) == 0 {
		c.Bind = []string{"0.0.0.0"}
	}
	return c, nil
}

// WithAllowOutbound lets webhooks and forwarding call further hosts ("name" or "name:port").
func WithAllowOutbound(hosts ...string) Option {
	return func(c *Config) { c.AllowOutbound = append(c.AllowOutbound, hosts...) }
}

// WithLogger passes a logger.
func WithLogger(log *slog.Logger) Option { return func(c *Config) { c.Log = log } }

// WithServerKey chooses the server's key: "vendor", "rsa" or "ecdsa".
func WithServerKey(kind string) Option { return func(c *Config) { c.ServerKey = kind } }

// WithBind listens on the given addresses instead of both loopbacks.
func WithBind(addresses ...string) Option { return func(c *Config) { c.Bind = addresses } }

// WithInMemory opens no sockets and touches no files. Clients connect by [Cloud.DialContext], HTTP clients with
// [Cloud.Transport]; the ports are the real ones ([Ports]: 0 is 8883, 1883, 443, 8884 and 8485) and exist within the
// instance only, and so do the listeners that webhooks and forwarding call ([Cloud.Listen]).
//
// In a testing/synctest bubble, where both the instance and its clients have to be made, time.Sleep moves all of
// the instance's time: timers, the wall reading that credentials are judged by, keep-alives, and TLS. An hour
// passes in no time, and every device's clock with it, which Advance cannot do: that leaves the wall alone. The bubble's
// clock begins in the year 2000, when demo-ca's certificate does.
func WithInMemory() Option { return func(c *Config) { c.memory = &memnet.Network{} } }

// WithPorts sets the ports.
func WithPorts(p Ports) Option { return func(c *Config) { c.Ports = p } }

// WithAdvertise adds names or addresses that clients dial.
func WithAdvertise(names ...string) Option {
	return func(c *Config) { c.Advertise = append(c.Advertise, names...) }
}
