package door

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/internal/hosts"
)

// names are the host names by which this machine is reached, beside the vendors'.
type names struct {
	advertised []string
	// always may stand in user names and SAS resources on every connection.
	always []string
}

func newNames(advertised []string) names {
	n := names{advertised: make([]string, len(advertised))}
	for i, name := range advertised {
		n.advertised[i] = hosts.Canonical(name)
	}
	n.always = append([]string{"localhost", "127.0.0.1", "::1"}, n.advertised...)
	n.always = slices.Clip(n.always)
	return n
}

// accepted returns the names that may stand for the endpoint on a connection to local by name. The result
// is shared: it must not be changed.
func (n *names) accepted(name string, local netip.Addr) []string {
	all := n.always
	for _, more := range []string{name, text(local)} {
		if more != "" && !slices.Contains(all, more) {
			all = append(all, more)
		}
	}
	return all
}

// handOver returns the host to hand over to a client that came to local by name; vendor says
// that name is a vendor's, which needs none. What the client dialled leads back here: a name with a dot,
// or else the address, since the C, Java and C# SDKs refuse a name without a dot. An address that is only
// inside a container or behind a mapped port is told by --advertise.
func (n *names) handOver(name string, vendor bool, local netip.Addr) string {
	switch {
	case vendor:
		return ""
	case !local.IsValid() || local == netip.IPv6Loopback() || name == "localhost" && !local.IsLoopback():
		return "127.0.0.1"
	case local.IsLoopback():
		return local.String()
	case strings.Contains(name, "."):
		return name
	case len(n.advertised) > 0 && !slices.Contains(n.advertised, local.String()):
		return n.advertised[0]
	}
	return local.String()
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
