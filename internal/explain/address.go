package explain

import (
	"net"
	"net/netip"
)

// isAddress reports whether text is an IP address, with or without port.
func isAddress(text string) bool {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	_, err := netip.ParseAddr(text)
	return err == nil
}
