package memnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// The ports that are given out where none is asked for (RFC 6335, section 6: dynamic ports).
const (
	firstPort = 49152
	lastPort  = 65535
)

// Network is one network, whose only machine has every address. The zero value is ready. Its methods may be called
// concurrently.
type Network struct {
	mu        sync.Mutex
	listeners map[netip.AddrPort]*listener
	given     uint16 // the last dynamic port
}

// Listen listens at an address as net.Listen does: an IP address or localhost with a port, of which 0 is any
// free one. An empty host is every address.
func (n *Network) Listen(network, address string) (net.Listener, error) {
	at, err := parse(address)
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.TCPAddrFromAddrPort(at), Err: err}
	}
	if err != nil {
		return fail(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if at.Port() == 0 {
		at = netip.AddrPortFrom(at.Addr(), n.dynamic())
	}
	if n.listeners[at] != nil {
		return fail(os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	l := &listener{network: n, at: at, conns: make(chan net.Conn), done: make(chan struct{})}
	if n.listeners == nil {
		n.listeners = map[netip.AddrPort]*listener{}
	}
	n.listeners[at] = l
	return l, nil
}

// DialContext connects to a listener, as net.Dialer.DialContext does. It returns once the listener has
// accepted.
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := parse(address)
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	if err != nil {
		return fail(err)
	}
	n.mu.Lock()
	l := n.listeners[to]
	if l == nil {
		l = n.listeners[netip.AddrPortFrom(netip.IPv6Unspecified(), to.Port())]
	}
	from := netip.AddrPortFrom(to.Addr(), n.dynamic())
	n.mu.Unlock()
	refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	if l == nil {
		return fail(refused)
	}
	client, server := pair(net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to))
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return fail(refused)
	case <-ctx.Done():
		return fail(context.Cause(ctx))
	}
}

// dynamic returns a port that no listener has. The caller holds mu.
func (n *Network) dynamic() uint16 {
	for {
		if n.given < firstPort || n.given == lastPort {
			n.given = firstPort
		} else {
			n.given++
		}
		free := true
		for at := range n.listeners {
			free = free && at.Port() != n.given
		}
		if free {
			return n.given
		}
	}
}

// parse reads an address; every address of the machine is the unspecified one of IPv6.
func parse(address string) (netip.AddrPort, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %.20q: it is a number up to 65535", text)
	}
	ip := netip.IPv6Unspecified()
	switch host {
	case "":
	case "localhost":
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	default:
		if ip, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, fmt.Errorf("in memory there are no names: %w", err)
		}
		if ip = ip.Unmap(); ip.IsUnspecified() {
			ip = netip.IPv6Unspecified()
		}
	}
	return netip.AddrPortFrom(ip, uint16(port)), nil
}

type listener struct {
	network *Network
	at      netip.AddrPort
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		delete(l.network.listeners, l.at)
		l.network.mu.Unlock()
		close(l.done)
	})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }
