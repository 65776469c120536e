package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/plane"
)

// announce says on stdout that every listener accepts: one line that starts with "fakecloud ready", then
// lines to copy; with --log-format json one JSON line with all ports.
func (a *app) announce(p *plane.Plane, f *serveFlags) {
	ca := p.PKI.RootFile()
	if ca == "" {
		ca = adminURL(p) + "/api/v1/ca.pem"
	}
	if f.logFormat == "json" {
		line, err := json.Marshal(map[string]any{
			"time": time.Now().UTC().Format(time.RFC3339Nano), "level": "INFO", "msg": "fakecloud ready",
			"version": p.Version, "seed": p.Seed, "ports": p.Ports, "admin": adminURL(p), "ca": ca,
		})
		if err == nil {
			fmt.Fprintln(a.out, string(line))
		}
		return
	}
	fmt.Fprintf(a.out, "fakecloud ready  mqtts=%d https=%d proxy=%d admin=%s  seed=%d  ca=%s\n",
		p.Ports.MQTTS, p.Ports.HTTPS, p.Ports.Proxy, adminURL(p), p.Seed, ca)
	for _, e := range p.Endpoints() {
		facts := ""
		if scope := e.Facts["idScope"]; scope != "" {
			facts = "  ID scope " + scope
		}
		fmt.Fprintf(a.out, "  %-8s %s%s\n", e.Platform, strings.Join(e.Hosts[:min(2, len(e.Hosts))], ", "), facts)
	}
	fmt.Fprint(a.out, a.hints(p, ca))
}

// hints are lines to copy: see it work, watch it, ask why.
func (a *app) hints(p *plane.Plane, ca string) string {
	admin := ""
	if adminURL(p) != defaultAdmin {
		admin = " --admin " + adminURL(p)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "try:\n  fakecloud%s device azure        # one device: DPS, IoT Hub, telemetry\n", admin)
	fmt.Fprintf(&text, "  fakecloud%s events -f            # what happens on the wire\n", admin)
	fmt.Fprintf(&text, "  fakecloud%s explain --last       # why a client was refused\n", admin)
	return text.String()
}
