package outbound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// The limits of a call.
const (
	MaxBody = 1 << 20 // bytes of a request, and of an answer
	MaxTime = 10 * time.Second

	maxHeader = 64 << 10
	idleTime  = 30 * time.Second
	idleConns = 4 // for each host
)

// Header marks every outbound request.
const Header = "Fakecloud-Outbound"

// Config is what a Policy is made from. The zero value allows loopback only.
type Config struct {
	Allow   []string      // hosts as ParseHost reads them
	Timeout time.Duration // of a whole call; 0 is MaxTime
	// Lookup resolves a host name; nil asks the system's resolver.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	// Dial connects to an address; nil takes the system's network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Policy makes outbound calls. Its methods may be called concurrently.
type Policy struct {
	allowed []Host
	lookup  func(context.Context, string) ([]netip.Addr, error)
	connect func(ctx context.Context, network, address string) (net.Conn, error)
	client  *http.Client

	mu    sync.RWMutex
	named []Host // by the world
}

// New makes a policy. An error names the host that cannot be read.
func New(c Config) (*Policy, error) {
	p := &Policy{lookup: c.Lookup, connect: c.Dial}
	for _, text := range c.Allow {
		h, err := ParseHost(text)
		if err != nil {
			return nil, err
		}
		p.allowed = append(p.allowed, h)
	}
	if p.lookup == nil {
		p.lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	if p.connect == nil {
		p.connect = (&net.Dialer{}).DialContext
	}
	if c.Timeout == 0 {
		c.Timeout = MaxTime
	}
	p.client = &http.Client{
		Timeout:       c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{ // without the environment's proxies
			DialContext: p.dial, MaxResponseHeaderBytes: maxHeader,
			MaxIdleConnsPerHost: idleConns, IdleConnTimeout: idleTime,
		},
	}
	return p, nil
}

// Close ends connections that are kept for the next call.
func (p *Policy) Close() { p.client.CloseIdleConnections() }

// Name sets the hosts that the world names.
func (p *Policy) Name(hosts []Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.named = slices.Clone(hosts)
}

// Post sends body as JSON and returns the status of the answer, whose body it ignores.
func (p *Policy) Post(ctx context.Context, address string, body []byte) (status int, err error) {
	status, _, err = p.Call(ctx, address, body)
	return status, err
}

// Call posts body as JSON and returns status and body of the answer; a redirect is an answer like any
// other. Calls that are not allowed, and those beyond the limits, are a *rule.Refusal with Silent set.
func (p *Policy) Call(ctx context.Context, address string, body []byte) (status int, answer []byte, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return 0, nil, refuse("OUT-1/url", "", "an absolute URL of http or https")
	}
	port, ok := portOf(u)
	if !ok {
		return 0, nil, refuse("OUT-1/url", u.Host, "a port from 1 to 65535")
	}
	if name := canonical(u.Hostname()); !p.permits(name, port) {
		return 0, nil, refuse("OUT-1/host", u.Host, "loopback, a host that the world names, or one of --allow-outbound")
	}
	if len(body) > MaxBody {
		return 0, nil, refuse("OUT-2/request", fmt.Sprintf("%d bytes", len(body)), fmt.Sprintf("%d bytes at most", MaxBody))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, refuse("OUT-1/url", "", "an absolute URL of http or https")
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", "fakecloud")
	request.Header.Set(Header, "1")
	response, err := p.client.Do(request)
	if err != nil {
		return 0, nil, p.cause(ctx, u, err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, MaxBody+1))
	switch {
	case err != nil:
		return 0, nil, p.cause(ctx, u, err)
	case len(answer) > MaxBody:
		return 0, nil, refuse("OUT-2/answer", fmt.Sprintf("more than %d bytes", MaxBody), fmt.Sprintf("%d bytes at most", MaxBody))
	}
	return response.StatusCode, answer, nil
}

func portOf(u *url.URL) (port uint16, ok bool) {
	switch text := u.Port(); {
	case text != "":
		n, err := strconv.ParseUint(text, 10, 16)
		return uint16(n), err == nil && n > 0
	case u.Scheme == "https":
		return 443, true
	}
	return 80, true
}

// cause finds the refusal in an error of the client. Any other error loses the URL, whose query may be secret.
func (p *Policy) cause(ctx context.Context, u *url.URL, err error) error {
	var refused *rule.Refusal
	if errors.As(err, &refused) {
		return refused
	}
	var wrapped *url.Error
	if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() && ctx.Err() == nil {
		return refuse("OUT-2/time", "no whole answer of "+u.Host, "an answer within "+p.client.Timeout.String())
	}
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("%s: %w", u.Host, err)
}

// permits reports whether name may be called at all; where it leads to is judged when it is dialled.
func (p *Policy) permits(name string, port uint16) bool {
	if ip, err := netip.ParseAddr(name); err == nil && ip.IsLoopback() || local(name) {
		return true
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	allows := func(h Host) bool { return h.matches(name, port) }
	return slices.ContainsFunc(p.allowed, allows) || slices.ContainsFunc(p.named, allows)
}

// dial connects to the first address of a permitted name that the name may lead to.
func (p *Policy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	name := canonical(host)
	addresses, literal := []netip.Addr{}, true
	if ip, err := netip.ParseAddr(name); err == nil {
		addresses = append(addresses, ip)
	} else {
		literal = false
		if addresses, err = p.lookup(ctx, name); err != nil {
			return nil, err
		}
	}
	var failed []error
	for _, ip := range addresses {
		ip = ip.Unmap()
		if !literal && !mayLead(name, ip) {
			failed = append(failed, refuse("OUT-1/address", ip.String()+" for "+name, "an address that the name may lead to"))
			continue
		}
		c, err := p.connect(ctx, network, net.JoinHostPort(ip.String(), port))
		if err == nil {
			return c, nil
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		return nil, fmt.Errorf("no address for %s", name)
	}
	return nil, errors.Join(failed...)
}

// mayLead judges an answer of a name server.
func mayLead(name string, ip netip.Addr) bool {
	if local(name) {
		return ip.IsLoopback()
	}
	return !ip.IsUnspecified() && !ip.IsMulticast() && !ip.IsLinkLocalUnicast()
}

func refuse(id rule.ID, seen, expected string) *rule.Refusal {
	return &rule.Refusal{Rule: id, Silent: true, Seen: seen, Expected: expected}
}
