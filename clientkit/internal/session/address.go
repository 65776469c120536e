package session

import (
	"fmt"
	"net"
	"strings"
)

// BadHost reports whether a configuration's host is no name or address, as when a port or a scheme is in it. It could
// never be dialled, and dialling is repeated for as long as the context lasts.
func BadHost(host string) bool {
	return host == "" || strings.ContainsAny(host, "/ ") || (strings.Contains(host, ":") && net.ParseIP(host) == nil)
}

// CheckPort returns an error for a port that cannot be; 0 is the default one.
func CheckPort(prefix string, port int) error {
	if port < 0 || port > 65535 {
		return fmt.Errorf("%s: port is %d, expected 1 to 65535, or 0 for the default", prefix, port)
	}
	return nil
}
