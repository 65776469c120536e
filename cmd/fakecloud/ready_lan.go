package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud/internal/plane"
)

// lanAddresses are the addresses at which other machines reach this one: IPv4, as devices speak it. First
// comes the one from which this machine reaches others, then the rest: bridges of containers and the like.
func lanAddresses() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var found []string
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		at := prefix.Addr()
		if err == nil && at.Is4() && !at.IsLoopback() && !at.IsLinkLocalUnicast() {
			found = append(found, at.String())
		}
	}
	outward := outwardAddress()
	slices.SortStableFunc(found, func(a, b string) int {
		switch outward {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	return found
}

// outwardAddress asks the routing table: connecting a UDP socket sends nothing. The destination is one of
// those that documentation has for itself (RFC 5737).
func outwardAddress() string {
	conn, err := net.Dial("udp4", "203.0.113.1:9")
	if err != nil {
		return ""
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).IP.String()
}

// lanBlocks are lines to copy on another machine, a block for each kind of client, with the first of the
// addresses; the others are named.
func lanBlocks(p *plane.Plane, addresses []string) string {
	if len(addresses) == 0 {
		return "on the local network: this machine has no address there\n"
	}
	at := addresses[0]
	var text strings.Builder
	fmt.Fprintf(&text, "on the local network, at %s", at)
	if len(addresses) > 1 {
		fmt.Fprintf(&text, " (also %s)", strings.Join(addresses[1:], ", "))
	}
	text.WriteString(":\n")
	if p.Ports.Admin != 0 {
		fmt.Fprintf(&text, "  the CA that clients have to trust, and why a client at ADDRESS was refused:\n"+
			"    curl -o fakecloud-ca.pem http://%[1]s:%[2]d/api/v1/ca.pem\n"+
			"    curl 'http://%[1]s:%[2]d/api/v1/explain?address=ADDRESS'\n", at, p.Ports.Admin)
	}
	if p.Ports.MQTTS == 0 {
		return text.String()
	}
	scope, hub := "", ""
	for _, e := range p.Endpoints() {
		if s := e.Facts["idScope"]; s != "" && (scope == "" || e.Name == "fakecloud-dps") {
			scope = s
		}
		if e.Platform == "iothub" && hub == "" && len(e.Hosts) > 0 {
			hub = e.Hosts[0]
		}
	}
	fmt.Fprintf(&text, "  firmware:   host %s, port %d, TLS, the CA above", at, p.Ports.MQTTS)
	if scope != "" {
		fmt.Fprintf(&text, ", DPS ID scope %s", scope)
	}
	text.WriteString("\n")
	if hub != "" {
		fmt.Fprintf(&text, "  mosquitto:  mosquitto_pub -h %s -p %d --cafile fakecloud-ca.pem --cert DEVICE.pem --key DEVICE.key -V mqttv311 -q 1 "+
			"-i DEVICE -u '%s/DEVICE/?api-version=2021-04-12' -t devices/DEVICE/messages/events/ -m '{\"n\":1}'\n", at, p.Ports.MQTTS, hub)
	}
	for _, sdk := range [][2]string{{"Python SDK", "SSL_CERT_FILE"}, {"Node SDK", "NODE_EXTRA_CA_CERTS"}} {
		fmt.Fprintf(&text, "  %s: export %s=$PWD/fakecloud-ca.pem PROVISIONING_HOST=%s PROVISIONING_IDSCOPE=%s; connection strings end with ;GatewayHostName=%s\n",
			sdk[0], sdk[1], at, scope, at)
	}
	if p.Ports.MQTTS != 8883 {
		fmt.Fprintf(&text, "  note: the Azure SDKs dial port 8883 only; MQTT over TLS is on %d here\n", p.Ports.MQTTS)
	}
	return text.String()
}
