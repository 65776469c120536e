package door

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// maxProxyRequest is the longest request on the proxy port, header included.
const maxProxyRequest = 16 << 10

// tunnels are the ports that the vendors' names can be reached at through the proxy.
var tunnels = map[uint16]Port{8883: MQTTS, 443: HTTPS, 1883: MQTT}

// proxy talks HTTP CONNECT (RFC 9110, section 9.3.6) or SOCKS5 (RFC 1928), told by the first byte. When it
// reports true, s is what the client asked for: a connection to one of our own ports by a vendor's name.
func (d *Door) proxy(s *sock) bool {
	_ = s.SetDeadline(time.Now().Add(d.timeouts.Handshake))
	in := bufio.NewReader(io.LimitReader(s, maxProxyRequest))
	first, err := in.Peek(1)
	var refusal *rule.Refusal
	switch {
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		d.closed(s, "the client connected to the proxy port and closed without sending a byte")
		return false
	case err != nil:
		refusal = badRequest("nothing", fmt.Sprintf("no request within %s", d.timeouts.Handshake))
	case first[0] == socksVersion:
		refusal = d.socks5(s, in)
	default:
		refusal = d.httpConnect(s, in)
	}
	if refusal != nil {
		d.refuse(s, refusal, "")
		return false
	}
	s.prefix, _ = in.Peek(in.Buffered())
	s.prefix = bytes.Clone(s.prefix)
	return true
}

func badRequest(seen, detail string) *rule.Refusal {
	return &rule.Refusal{Rule: "DOOR-6/request", Code: http.StatusBadRequest, Seen: seen, Detail: detail,
		Expected: "CONNECT host:port HTTP/1.1, or SOCKS5 without a password"}
}

// httpConnect reads the request and answers it.
func (d *Door) httpConnect(s *sock, in *bufio.Reader) *rule.Refusal {
	refusal := d.readHTTPConnect(s, in)
	answer := "HTTP/1.1 200 Connection established\r\n\r\n"
	if refusal != nil {
		body := refusal.Detail + "; expected " + refusal.Expected + "\n"
		answer = fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			refusal.Code, http.StatusText(refusal.Code), len(body), body)
	}
	_, _ = io.WriteString(s, answer) // a client that is gone shows at the next read
	return refusal
}

func (d *Door) readHTTPConnect(s *sock, in *bufio.Reader) *rule.Refusal {
	r, err := http.ReadRequest(in)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return badRequest("a part of a request", fmt.Sprintf("no whole request within %s", d.timeouts.Handshake))
	case err != nil:
		return badRequest("bytes that are neither HTTP nor SOCKS5", "the request cannot be read")
	case r.Method != http.MethodConnect:
		return &rule.Refusal{Rule: "DOOR-6/method", Code: http.StatusMethodNotAllowed,
			Seen:   r.Method + " " + shown(r.RequestURI),
			Detail: "the proxy port only opens tunnels; it fetches nothing", Expected: "CONNECT host:port"}
	}
	host, port, err := net.SplitHostPort(r.Host)
	number, numErr := strconv.ParseUint(port, 10, 16)
	if err != nil || numErr != nil {
		return badRequest("CONNECT "+shown(r.Host), "the target has no port")
	}
	return d.tunnel(s, host, uint16(number))
}

// tunnel makes s a connection to one of our own ports.
func (d *Door) tunnel(s *sock, host string, port uint16) *rule.Refusal {
	refusal := &rule.Refusal{Code: http.StatusForbidden, Seen: fmt.Sprintf("%s port %d", shown(host), port),
		Expected: "a vendor's host name with port 8883, 443 or 1883"}
	name := hosts.Canonical(host)
	match := d.table.hosts.Lookup(name)
	to, ok := tunnels[port]
	switch {
	case net.ParseIP(host) != nil:
		refusal.Rule, refusal.Detail = "DOOR-6/address", "the client asked for an address, not for a name"
	case match.Platform == "":
		refusal.Rule, refusal.Detail = "DOOR-6/name", "the proxy reaches nothing but the emulated vendors' names"
		if best := d.table.hosts.Nearest(name); best != "" {
			refusal.Detail += fmt.Sprintf("; the closest is %q", best)
		}
	case !ok:
		refusal.Rule, refusal.Detail = "DOOR-6/port", "no platform is emulated on this port"
	default:
		s.port, s.dialled, s.received = to, name, false
		return nil
	}
	return refusal
}
