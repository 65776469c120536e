package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/plane"
)

// announce says on stdout that every listener accepts: one line that starts with "fakecloud ready", then
// lines to copy; with --log-format json one JSON line with all ports.
func (a *app) announce(p *plane.Plane, f *serveFlags) {
	ca := p.PKI.RootFile()
	if ca == "" && f.adminURL != "" {
		ca = f.adminURL + "/api/v1/ca.pem"
	}
	var lan []string
	if f.lan {
		lan = lanAddresses()
	}
	if f.logFormat == "json" {
		ready := map[string]any{
			"time": time.Now().UTC().Format(time.RFC3339Nano), "level": "INFO", "msg": "fakecloud ready",
			"version": p.Version, "seed": p.Seed, "ports": p.Ports, "admin": f.adminURL, "ca": ca,
		}
		if f.lan {
			ready["lan"] = lan
		}
		if line, err := json.Marshal(ready); err == nil {
			fmt.Fprintln(a.out, string(line))
		}
		return
	}
	fmt.Fprintf(a.out, "fakecloud ready  mqtts=%s https=%s proxy=%s admin=%s  seed=%d  ca=%s\n",
		portText(p.Ports.MQTTS), portText(p.Ports.HTTPS), portText(p.Ports.Proxy), orOff(f.adminURL), p.Seed, orOff(ca))
	for _, e := range p.Endpoints() {
		facts := ""
		if scope := e.Facts["idScope"]; scope != "" {
			facts = "  ID scope " + scope
		}
		fmt.Fprintf(a.out, "  %-10s %s%s\n", e.Platform, strings.Join(e.Hosts[:min(2, len(e.Hosts))], ", "), facts)
	}
	if f.adminURL != "" {
		fmt.Fprint(a.out, hints(f.adminURL))
	}
	if f.lan {
		fmt.Fprint(a.out, lanBlocks(p, lan))
	}
}

func portText(port int) string {
	if port == 0 {
		return "off"
	}
	return strconv.Itoa(port)
}

func orOff(text string) string {
	if text == "" {
		return "off"
	}
	return text
}

// hints are lines to copy: see it work, watch it, ask why.
func hints(adminURL string) string {
	admin := ""
	if adminURL != defaultAdmin {
		admin = " --admin " + adminURL
	}
	var text strings.Builder
	fmt.Fprintf(&text, "try:\n  fakecloud%s device azure        # one device: DPS, IoT Hub, telemetry\n", admin)
	fmt.Fprintf(&text, "  fakecloud%s events -f            # what happens on the wire\n", admin)
	fmt.Fprintf(&text, "  fakecloud%s explain --last       # why a client was refused\n", admin)
	return text.String()
}
