package door

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// Off is a port that is not opened.
const Off = -1

// Ports are the TCP ports to listen on; 0 is any free one, Off is none.
type Ports struct {
	MQTTS int
	MQTT  int
	HTTPS []int // all of them are needed
	// HTTPSWherePermitted are had where the machine lets us (443), and else done without.
	HTTPSWherePermitted []int
	Edge                int
	Proxy               int
}

// Bound are the ports that are listened on, 0 for those that are off.
type Bound struct {
	MQTTS int
	MQTT  int
	HTTPS []int
	Edge  int
	Proxy int
}

type listener struct {
	net.Listener
	port Port
}

// address is one to listen on; an optional one may be missing on this machine.
type address struct {
	host     string
	optional bool
}

// loopbacks are what is listened on by default.
var loopbacks = []address{{host: "127.0.0.1"}, {host: "::1", optional: true}}

// listen binds all ports or none.
func (d *Door) listen(bind []string, ports Ports, listen listenFunc) error {
	err := d.bindAll(addressesOf(bind), ports, listen)
	if err != nil {
		for _, l := range d.listeners {
			_ = l.Close()
		}
		d.listeners = nil
	}
	return err
}

// addressesOf is bind as addresses. One that means all of them, of either family, leaves no room for others:
// a second listener on its port would find it taken.
func addressesOf(bind []string) []address {
	if len(bind) == 0 {
		return loopbacks
	}
	all := make([]address, len(bind))
	for i, host := range bind {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			return []address{{}}
		}
		all[i].host = host
	}
	return all
}

func (d *Door) bindAll(addresses []address, ports Ports, listen listenFunc) error {
	for _, one := range []struct {
		port  Port
		want  int
		bound *int
	}{
		{MQTTS, ports.MQTTS, &d.bound.MQTTS},
		{MQTT, ports.MQTT, &d.bound.MQTT},
		{Edge, ports.Edge, &d.bound.Edge},
		{Proxy, ports.Proxy, &d.bound.Proxy},
	} {
		n, err := d.bindPort(addresses, one.port, one.want, listen)
		if err != nil {
			return err
		}
		*one.bound = n
	}
	for i, want := range append(append([]int(nil), ports.HTTPS...), ports.HTTPSWherePermitted...) {
		n, err := d.bindPort(addresses, HTTPS, want, listen)
		switch {
		case err != nil && i < len(ports.HTTPS):
			return err
		case err != nil:
			d.log.Info("one HTTPS port less", "port", want, "cause", err)
		case n != 0:
			d.bound.HTTPS = append(d.bound.HTTPS, n)
		}
	}
	return nil
}

func (d *Door) bindPort(addresses []address, port Port, want int, listen listenFunc) (int, error) {
	if want == Off {
		return 0, nil
	}
	if want < 0 || want > 65535 {
		return 0, fmt.Errorf("--%s-port %d: a port is a number from 0 (any free one) to 65535", port, want)
	}
	bound, err := bind(addresses, want, listen)
	if err != nil {
		return 0, flagError(port, want, err)
	}
	for _, l := range bound {
		d.listeners = append(d.listeners, &listener{Listener: l, port: port})
	}
	return portOf(bound[0]), nil
}

// tries is how often a free port is looked for that is free on every address.
const tries = 32

type listenFunc func(network, address string) (net.Listener, error)

// bind listens on the same port of every address. Port 0 is one port that is free on all of them.
func bind(addresses []address, port int, listen listenFunc) ([]net.Listener, error) {
	var err error
	for range tries {
		var bound []net.Listener
		if bound, err = bindOnce(addresses, port, listen); err == nil {
			return bound, nil
		}
		if port != 0 || !taken(err) {
			break
		}
	}
	return nil, err
}

func bindOnce(addresses []address, port int, listen listenFunc) ([]net.Listener, error) {
	var bound []net.Listener
	var missing error
	for _, a := range addresses {
		l, err := listen("tcp", net.JoinHostPort(a.host, strconv.Itoa(port)))
		if err != nil && a.optional && notHere(err) {
			missing = err
			continue
		}
		if err != nil {
			for _, l := range bound {
				_ = l.Close()
			}
			return nil, err
		}
		if port == 0 {
			port = portOf(l)
		}
		bound = append(bound, l)
	}
	if len(bound) == 0 {
		return nil, missing
	}
	return bound, nil
}

func portOf(l net.Listener) int {
	if tcp, ok := l.Addr().(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// notHere reports that a machine has no such address, or no IPv6 at all.
func notHere(err error) bool {
	return isOne(err, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT,
		wsaADDRNOTAVAIL, wsaAFNOSUPPORT)
}

func taken(err error) bool { return isOne(err, syscall.EADDRINUSE, wsaADDRINUSE) }

// Windows' own numbers, which package syscall does not map to the names above.
const (
	wsaAFNOSUPPORT  syscall.Errno = 10047
	wsaADDRINUSE    syscall.Errno = 10048
	wsaADDRNOTAVAIL syscall.Errno = 10049
)

func isOne(err error, numbers ...syscall.Errno) bool {
	return slices.ContainsFunc(numbers, func(n syscall.Errno) bool { return errors.Is(err, n) })
}

// flagError says which flag to change.
func flagError(port Port, number int, err error) error {
	flag := fmt.Sprintf("--%s-port %d", port, number)
	switch {
	case taken(err):
		return fmt.Errorf("%s is taken: %w; choose another or 0", flag, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s is not permitted: %w; choose one above 1023 or 0", flag, err)
	default:
		return fmt.Errorf("%s cannot be listened on: %w; --bind must be an IP address of this machine", flag, err)
	}
}
