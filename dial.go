package fakecloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iotda"
)

// network is a network in memory.
type network interface {
	Listen(network, address string) (net.Listener, error)
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// errOutside says that what is asked for needs a network.
var errOutside = errors.New("an instance in memory has no network")

// inMemory checks what does not go together, and gives the ports that are not named their real numbers.
func (c Config) inMemory() (Config, error) {
	if c.memory == nil {
		return c, nil
	}
	if c.DataDir != "" {
		return c, fmt.Errorf("fakecloud: data directory %s: an instance in memory touches no files", c.DataDir)
	}
	for _, one := range []struct {
		port *int
		real int
	}{{&c.Ports.MQTTS, 8883}, {&c.Ports.MQTT, 1883}, {&c.Ports.Edge, 8884}, {&c.Ports.Proxy, 8485}} {
		if *one.port == 0 {
			*one.port = one.real
		}
	}
	if c.Ports.HTTPS == nil && c.Ports.HTTPSWherePermitted == nil {
		c.Ports.HTTPS = []int{443}
	}
	return c, nil
}

// lookupInMemory knows this machine only.
func lookupInMemory(_ context.Context, name string) ([]netip.Addr, error) {
	if name != "localhost" && !strings.HasSuffix(name, ".localhost") {
		return nil, fmt.Errorf("%s: %w", name, errOutside)
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
}

// Ports returns the bound ports; 0 is a listener that is off.
func (c *Cloud) Ports() Ports {
	b := c.door.Ports()
	return Ports{MQTTS: b.MQTTS, MQTT: b.MQTT, HTTPS: b.HTTPS, Edge: b.Edge, Proxy: b.Proxy}
}

// MQTTSAddr is where MQTT clients dial: "127.0.0.1:port".
func (c *Cloud) MQTTSAddr() string {
	return net.JoinHostPort(c.dialHost(), strconv.Itoa(c.door.Ports().MQTTS))
}

// dialHost is an address that leads to the listeners from this machine.
func (c *Cloud) dialHost() string {
	for _, bind := range c.config.Bind {
		if ip := net.ParseIP(bind); ip != nil && !ip.IsUnspecified() {
			return bind
		}
	}
	return "127.0.0.1"
}

// RootsPEM returns the certificate that clients are to trust.
func (c *Cloud) RootsPEM() []byte { return c.pki.RootPEM() }

// DialContext connects to the instance by a vendor's host name and port (8883 or 443, of IoTDA 1883 too), for clients that
// take a dial function and shall keep the vendors' names. The port may also be the instance's own, as in the addresses
// that it hands out. In memory it is the only way in, and takes addresses
// of this machine and advertised names with one of [Cloud.Ports] too. Any other name or port is an error: nothing
// leaves this machine.
func (c *Cloud) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if c.hosts.Lookup(host).Platform == "" {
		if c.config.memory != nil && (host == "localhost" || net.ParseIP(host) != nil) {
			return c.config.memory.DialContext(ctx, network, address)
		}
		if c.config.memory != nil && slices.Contains(c.config.Advertise, host) {
			return c.config.memory.DialContext(ctx, network, net.JoinHostPort(c.dialHost(), port))
		}
		return nil, fmt.Errorf("fakecloud: %s is not an emulated host", host)
	}
	bound := c.door.Ports()
	var target int
	switch {
	case port == "1883" && c.hosts.Lookup(host).Platform == iotda.Platform:
		target = bound.MQTT
	case port == "8883":
		target = bound.MQTTS
	case port == "443" && len(bound.HTTPS) > 0:
		target = bound.HTTPS[0]
	default: // in an address that the instance itself has handed out, such as a package's
		if own, err := strconv.Atoi(port); err == nil && (own == bound.MQTTS || slices.Contains(bound.HTTPS, own)) {
			target = own
		}
	}
	if target == 0 {
		return nil, fmt.Errorf("fakecloud: no listener stands for port %s of %s", port, host)
	}
	address = net.JoinHostPort(c.dialHost(), strconv.Itoa(target))
	if c.config.memory != nil {
		return c.config.memory.DialContext(ctx, network, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// Transport returns what makes an HTTP client speak to the instance by the vendors' names: DialContext, with
// TLSConfig(devices...). The client's CloseIdleConnections ends what is idle, as Close of the instance does.
func (c *Cloud) Transport(devices ...DeviceCertificate) *http.Transport {
	return &http.Transport{DialContext: c.DialContext, TLSClientConfig: c.TLSConfig(devices...)}
}

// Listen opens a listener of the caller's within an instance in memory, for webhooks and for what IoTDA forwards: they
// reach it by its loopback address. Port 0 is any free one. Elsewhere net.Listen does that.
func (c *Cloud) Listen(network, address string) (net.Listener, error) {
	if c.config.memory == nil {
		return nil, errors.New("fakecloud: Listen is for an instance in memory; net.Listen opens listeners that this one can call")
	}
	return c.config.memory.Listen(network, address)
}
