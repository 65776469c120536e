package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/internal/hosts"
)

// ErrNotPermitted refuses a name that the server root may not certify; the message says the remedy.
var ErrNotPermitted = errors.New("outside the names that the server root may certify")

// private are names that no public authority certifies (RFC 6761, RFC 6762, ICANN's reservation of
// .internal), those of container networks, and our own.
var private = []string{
	"localhost", "test", "internal", "local", "svc", "cluster.local", "fakecloud", "host.docker.internal",
}

// privateNets are loopback (RFC 1122, RFC 4291), private (RFC 1918, RFC 4193), link-local (RFC 3927,
// RFC 4291) and shared (RFC 6598) addresses.
var privateNets = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// scope is what a root may certify: names with everything below them, and address ranges. A nil list
// holds everything of its kind, as in RFC 5280: constraints restrict only the kinds that they name.
type scope struct {
	names []string
	nets  []netip.Prefix
}

// newScope joins the emulated vendors' domains and private names with the world's own domains.
func newScope(domains []string) scope {
	s := scope{names: []string{}, nets: privateNets}
	for _, name := range slices.Concat(hosts.VendorDomains(), private, domains) {
		if name = hosts.Canonical(strings.TrimPrefix(name, "*.")); name != "" && !isAddress(name) && !s.holdsName(name) {
			s.names = append(s.names, name)
		}
	}
	return s
}

// scopeOf reads the scope from a certificate's permitted names.
func scopeOf(c *x509.Certificate) scope {
	s := scope{}
	for _, name := range c.PermittedDNSDomains {
		s.names = append(s.names, strings.ToLower(name))
	}
	for _, n := range c.PermittedIPRanges {
		addr, ok := netip.AddrFromSlice(n.IP)
		if ones, bits := n.Mask.Size(); ok && bits > 0 {
			s.nets = append(s.nets, netip.PrefixFrom(addr, ones))
		}
	}
	return s
}

func (s scope) free() bool { return s.names == nil && s.nets == nil }

// holdsName reports whether name is one of the scope's or below one.
func (s scope) holdsName(name string) bool {
	return s.names == nil || slices.ContainsFunc(s.names, func(n string) bool {
		return name == n || strings.HasSuffix(name, "."+strings.TrimPrefix(n, "."))
	})
}

func (s scope) holdsAddr(addr netip.Addr) bool {
	return s.nets == nil || slices.ContainsFunc(s.nets, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// holds judges a host name or address as a client dials it.
func (s scope) holds(host string) bool {
	if addr, ok := parseAddr(host); ok {
		return s.holdsAddr(addr)
	}
	return s.holdsName(hosts.Canonical(host))
}

// parseAddr reads an address as it stands in a URL or in an SNI: brackets and zone are dropped.
func parseAddr(host string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return plainAddr(addr), err == nil
}

func isAddress(host string) bool {
	_, ok := parseAddr(host)
	return ok
}

func plainAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// checkName refuses what is no host name: RFC 1123 letters, digits and hyphens, and the underscore that
// container names have.
func checkName(name string) error {
	if name == "" || len(name) > 253 {
		return fmt.Errorf("a host name has 1 to 253 characters, this one %d", len(name))
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("host name %q has a part of %d characters; each has 1 to 63", name, len(label))
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
				return fmt.Errorf("host name %q holds %q; letters, digits, hyphens and dots are allowed", name, r)
			}
		}
	}
	return nil
}

var oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

// generalSubtree is RFC 5280, section 4.2.1.10; minimum and maximum are always absent.
type generalSubtree struct {
	Base asn1.RawValue
}

type nameConstraints struct {
	Permitted []generalSubtree `asn1:"tag:0"`
}

// extension returns the scope as a non-critical extension. crypto/x509 has no field for the names in
// directoryName form, and none are needed: an absent kind is not restricted.
func (s scope) extension() (pkix.Extension, error) {
	var nc nameConstraints
	for _, name := range s.names {
		nc.Permitted = append(nc.Permitted, generalSubtree{asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(name)}})
	}
	for _, n := range s.nets {
		mask := net.CIDRMask(n.Bits(), n.Addr().BitLen())
		raw := append(n.Masked().Addr().AsSlice(), mask...)
		nc.Permitted = append(nc.Permitted, generalSubtree{asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 7, Bytes: raw}})
	}
	der, err := asn1.Marshal(nc)
	return pkix.Extension{Id: oidNameConstraints, Critical: false, Value: der}, err
}
