package door

import (
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// amznALPN selects MQTT on the HTTPS port. It is the protocol name of AWS IoT custom authentication that
// MindSphere's eu1 broker documents ("MindConnect MQTT Broker", table of ports).
const amznALPN = "x-amzn-mqtt-ca"

// table is what routing decides by.
type table struct {
	hosts     *hosts.Table
	platforms []Platform
}

func (t *table) platform(name string) *Platform {
	for i := range t.platforms {
		if t.platforms[i].Name == name {
			return &t.platforms[i]
		}
	}
	return nil
}

// target is where a connection goes: a platform and one of its instances, or a refusal.
type target struct {
	platform *Platform
	endpoint string // empty: the platform refuses by itself
	refusal  *rule.Refusal
}

// route decides where a client goes. A name that tells the platform settles that; the CONNECT
// or the path then settles the instance, and goes before the name's own instance, since every vendor
// routes by user name. Without a telling name the platforms are asked in turn.
func route(h Hello, t *table) target {
	name, known := fixed(&h, t)
	if name == "" {
		return ask(&h, t)
	}
	p := t.platform(name)
	switch {
	case p == nil:
		return target{refusal: absent(&h, name)}
	case !serves(p, &h):
		return target{refusal: wrongPort(&h, p)}
	}
	h.Endpoint = known.Endpoint
	if p.Claim != nil {
		if c := p.Claim(&h); c.OK && c.Endpoint != "" {
			return target{platform: p, endpoint: c.Endpoint}
		}
	}
	return target{platform: p, endpoint: known.Endpoint}
}

// fixed returns the platform that port, name or ALPN settle, empty when none does.
func fixed(h *Hello, t *table) (platform string, m hosts.Match) {
	m = t.hosts.Lookup(h.Name)
	switch {
	case h.Port == Edge:
		if m.Platform != hosts.Edge {
			m = hosts.Match{}
		}
		return hosts.Edge, m
	case m.Platform != "":
		return m.Platform, m
	case h.ALPN == amznALPN:
		return hosts.MindSphere, m
	}
	return "", m
}

// serves reports whether p has what the client speaks.
func serves(p *Platform, h *Hello) bool {
	if h.Level == 0 {
		return p.HTTP != nil
	}
	return p.MQTT != nil && (h.Port != MQTT || p.Plain)
}

// onlyPlain returns the platform that the plain MQTT port is for, which then refuses by itself what leads to
// no platform; nil where there are several.
func (t *table) onlyPlain() *Platform {
	var only *Platform
	for i := range t.platforms {
		switch p := &t.platforms[i]; {
		case p.Plain && only != nil:
			return nil
		case p.Plain:
			only = p
		}
	}
	return only
}

// ask goes through the platforms in the order of their registration.
func ask(h *Hello, t *table) target {
	var near []string
	var elsewhere *Platform
	other := false // a platform that is not on the plain port nearly claims the client
	for i := range t.platforms {
		p := &t.platforms[i]
		if p.Claim == nil {
			continue
		}
		c := p.Claim(h)
		switch {
		case c.OK && serves(p, h):
			return target{platform: p, endpoint: c.Endpoint}
		case c.OK:
			elsewhere = p
		case c.Near != "":
			near = append(near, p.Name+": "+c.Near)
			other = other || !p.Plain
		}
	}
	if elsewhere != nil {
		return target{refusal: wrongPort(h, elsewhere)}
	}
	if p := t.onlyPlain(); h.Port == MQTT && p != nil && !other {
		return target{platform: p} // nobody else speaks there: its own refusal says most
	}
	return target{refusal: nobody(h, t, near)}
}

func nobody(h *Hello, t *table, near []string) *rule.Refusal {
	if best := t.hosts.Nearest(h.Name); best != "" && !strings.EqualFold(best, h.Name) {
		near = append(near, fmt.Sprintf("host name %q is close to %q", shown(h.Name), best))
	}
	r := &rule.Refusal{Rule: "DOOR-1/nobody", Code: refusedCode(h), Seen: seen(h),
		Detail:   "no platform recognises this client, by host name or by what it sent",
		Expected: "a vendor's host name, or a user name, client id or certificate of an emulated instance"}
	if h.Level == 0 {
		r.Rule = "DOOR-5/host"
		r.Expected = "the host name of an emulated instance, or a path that only one platform has"
	}
	if len(near) > 0 {
		r.Detail += "; nearly: " + strings.Join(near, "; ")
	}
	return r
}

func absent(h *Hello, platform string) *rule.Refusal {
	r := &rule.Refusal{Rule: "DOOR-1/platform", Code: refusedCode(h), Seen: seen(h),
		Detail:   fmt.Sprintf("the name leads to the platform %q, which is not emulated here", platform),
		Expected: "the name of a platform that this instance emulates"}
	if h.Level == 0 {
		r.Rule = "DOOR-5/platform"
	}
	return r
}

func wrongPort(h *Hello, p *Platform) *rule.Refusal {
	r := &rule.Refusal{Rule: "DOOR-1/port", Code: refusedCode(h), Seen: seen(h),
		Detail: fmt.Sprintf("the platform %q does not speak MQTT on the %s port", p.Name, h.Port)}
	switch {
	case h.Level == 0:
		r.Rule, r.Detail = "DOOR-5/platform", fmt.Sprintf("the platform %q has no HTTPS", p.Name)
		r.Expected = "MQTT over TLS on the mqtts port"
	case h.Port == MQTT:
		r.Expected = "MQTT over TLS on the mqtts port (8883)"
	default:
		r.Expected = "a protocol that the platform has"
	}
	return r
}

// refusedCode is what the client is shown: return code 5 (not authorized) to a CONNECT, 404 to a request.
func refusedCode(h *Hello) int {
	if h.Level == 0 {
		return 404
	}
	return 5
}

// seen writes down what the client said, for a person.
func seen(h *Hello) string {
	var parts []string
	add := func(label, value string) {
		if value != "" {
			parts = append(parts, label+" "+shown(value))
		}
	}
	add("host name", h.Name)
	add("ALPN", h.ALPN)
	add("path", h.Path)
	if h.Level != 0 {
		parts = append(parts, fmt.Sprintf("client id %q", shown(h.ClientID)))
		if h.HasUsername {
			parts = append(parts, fmt.Sprintf("user name %q", shown(h.Username)))
		} else {
			parts = append(parts, "no user name")
		}
		if len(h.Certificates) > 0 {
			add("client certificate", h.Certificates[0].Subject.String())
		} else {
			parts = append(parts, "no client certificate")
		}
	}
	return strings.Join(parts, ", ")
}

// mostShown is how many bytes of a client's text the journal repeats.
const mostShown = 256

// shown cuts a client's text to what the journal repeats, in valid UTF-8.
func shown(s string) string {
	if len(s) > mostShown {
		s = fmt.Sprintf("%s… (%d bytes)", s[:mostShown], len(s))
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
