package outbound

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Host is an allowed target: a host name in lower case or an address, and a port or 0 for all.
type Host struct {
	Name string
	Port uint16
}

var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

// maxHostName is the longest name that DNS knows.
const maxHostName = 253

// ParseHost reads what --allow-outbound takes: a host name or an IP address, optionally with :port. Errors
// say what would be right.
func ParseHost(text string) (Host, error) {
	const want = "a host name or address, optionally with a port, such as hooks.example.com or 192.168.1.5:7071"
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return Host{}, fmt.Errorf("%.80q is a URL, expected %s: use %s", text, want, u.Host)
	}
	name, port := text, ""
	if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		name = strings.Trim(text, "[]")
	} else if strings.Contains(text, ":") {
		var err error
		if name, port, err = net.SplitHostPort(text); err != nil {
			return Host{}, fmt.Errorf("%.80q is not %s", text, want)
		}
	}
	h := Host{Name: canonical(name)}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Host{}, fmt.Errorf("%.80q has no port from 1 to 65535 behind the colon", text)
		}
		h.Port = uint16(n)
	}
	if _, err := netip.ParseAddr(h.Name); err != nil && (len(h.Name) > maxHostName || !hostName.MatchString(h.Name)) {
		return Host{}, fmt.Errorf("%.80q is not %s", text, want)
	}
	return h, nil
}

// canonical is the form in which hosts are compared.
func canonical(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return host
}

// local reports whether a name stands for this machine whatever a name server says (RFC 6761).
func local(name string) bool { return name == "localhost" || strings.HasSuffix(name, ".localhost") }

func (h Host) matches(name string, port uint16) bool {
	return h.Name == name && (h.Port == 0 || h.Port == port)
}

// String is the form that ParseHost reads.
func (h Host) String() string {
	if h.Port == 0 {
		return h.Name
	}
	return net.JoinHostPort(h.Name, strconv.Itoa(int(h.Port)))
}
