package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fakecloud/fakecloud"
)

const (
	demoWidth   = 100
	demoPayload = 600
	demoIndent  = "   "
)

// wrapText breaks text into lines of demoWidth, each behind indent.
func wrapText(text, indent string) string {
	var lines []string
	line := indent
	for word := range strings.FieldsSeq(text) {
		if line != indent {
			if len(line)+1+len(word) > demoWidth {
				lines = append(lines, line)
				line = indent
			} else {
				line += " "
			}
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n")
}

var platformNames = map[string]string{"dps": "DPS", "iothub": "hub", "edge": "edge", "mindsphere": "cloud", "iotda": "IoTDA"}

// describe prints an event as a line of the exchange, with what it means below it, the first time.
func (l *lesson) describe(e fakecloud.Event) string {
	kind := string(e.Kind)
	if kind == "refused" {
		return demoRefusal(e)
	}
	server := platformNames[e.Platform]
	way := server + " (inside)   "
	switch {
	case kind == "tls" || kind == "telemetry" || kind == "provisioned" || kind == "property" || kind == "http" || kind == "twin":
	case e.Dir == "in":
		way = "device -> " + server + "   "
	case e.Dir == "out":
		way = "device <- " + server + "   "
	}
	b := &strings.Builder{}
	head := fmt.Sprintf("%s%-17s%-12s%s", demoIndent, way, strings.ToUpper(kind), demoHeadline(e))
	fmt.Fprintln(b, strings.TrimRight(head, " "))
	if len(e.Payload) > 0 && kind == "publish" {
		fmt.Fprintf(b, "%s%29s%s\n", demoIndent, "", demoClip(string(e.Payload)))
	}
	if note := demoMeaning(e); note != "" && !l.told[note] {
		l.told[note] = true
		fmt.Fprintln(b, wrapText(note, demoIndent+strings.Repeat(" ", 29)+"# "))
	}
	return b.String()
}

// demoHeadline is what a packet carries.
func demoHeadline(e fakecloud.Event) string {
	p := e.Properties
	switch e.Kind {
	case "tls":
		return fmt.Sprintf("%s, server name %s, client certificate %s", p["version"], p["sni"], p["clientCertificate"])
	case "connect":
		return fmt.Sprintf("client id %s, user name %s", p["clientId"], p["username"])
	case "connack":
		if e.Code != nil {
			return fmt.Sprintf("return code %d", *e.Code)
		}
	case "subscribe", "suback":
		return fmt.Sprintf("%s, QoS %d", e.Topic, e.QoS)
	case "publish":
		return e.Topic
	case "http":
		if e.Code != nil {
			return fmt.Sprintf("%s, status %d", e.Topic, *e.Code)
		}
	case "property", "twin":
		if e.Platform == "iotda" {
			return demoClip(string(e.Payload))
		}
	case "telemetry":
		return demoClip(string(e.Payload)) + " " + demoProperties(p)
	}
	return e.Detail
}

// demoClip shortens a payload.
func demoClip(text string) string {
	if len(text) > demoPayload {
		return text[:demoPayload] + "…"
	}
	return text
}

func demoProperties(p map[string]string) string {
	var all []string
	for name, value := range p {
		all = append(all, name+"="+value)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// demoMeaning is the lesson's remark on a packet.
func demoMeaning(e fakecloud.Event) string {
	switch {
	case e.Kind == "tls" && e.Platform == "dps":
		return "Any certificate passes the handshake. It is judged when the device registers."
	case e.Kind == "connect" && e.Platform == "dps":
		return "Nobody knows yet which hub: the user name carries the ID scope and the registration ID. " +
			"No password; the certificate is the proof."
	case e.Kind == "connack" && e.Platform == "iothub":
		return "Here the certificate is judged at once: a wrong one would get return code 5."
	case e.Kind == "tls" && e.Platform == "edge":
		return "The gateway shows its own certificate, for its own name."
	case e.Kind == "telemetry" && e.Platform == "edge":
		return "Stored at the gateway; its routes say what goes to the hub."
	case e.Kind == "subscribe" && e.Platform == "dps":
		return "The only topic that DPS lets a device subscribe to; all answers come on it."
	case e.Kind == "publish" && strings.Contains(e.Topic, "/iotdps-register/"):
		return "$rid is the device's own number for this request; the answer repeats it."
	case e.Kind == "publish" && strings.Contains(e.Topic, "/res/202/"):
		return "Not yet: ask again after retry-after seconds, with this operation ID."
	case e.Kind == "publish" && strings.Contains(e.Topic, "/res/200/"):
		return "Done: assignedHub is where the device connects from now on."
	case e.Kind == "connect" && e.Platform == "iotda":
		return "The 0 before the time says that it is not judged; with 1 it must be within an hour of the platform's."
	case e.Kind == "property" && e.Platform == "iotda":
		return "This is what data forwarding posts to the application."
	case e.Kind == "publish" && strings.Contains(e.Topic, "/sys/commands/request_id="):
		return "With QoS 0 and without a subscription, as to every system topic."
	case e.Kind == "connect" && e.Platform == "mindsphere":
		return "The certificate is the proof. Its CA says which tenant; {tenant}_{common name} must be the client id."
	case e.Kind == "telemetry" && e.Platform == "mindsphere":
		return "There is no answer but the PUBACK, also for values that are lost: those are told of in the journal alone."
	case e.Kind == "publish" && strings.HasSuffix(e.Topic, "/o/amo_v4/mi"):
		return "o is for what the agent publishes, i for what it subscribes to: tc/{tenant}/{client id}/{o or i}/{application}/{topic}."
	case e.Kind == "publish" && strings.HasSuffix(e.Topic, "/events/amo_v4=mi"):
		return "Application and topic are a property of the message; the answers come on devicebound, with one too."
	case e.Kind == "publish" && strings.Contains(e.Topic, "/res/401/"):
		return "This is all that the device gets to know."
	}
	return ""
}

// demoRefusal prints the reason as fakecloud explain does.
func demoRefusal(e fakecloud.Event) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "\n%sREFUSED by rule %s: %s\n", demoIndent, e.Rule, e.Detail)
	for _, line := range [][2]string{{"seen", e.Seen}, {"expected", e.Expected}, {"fix", e.Fix}, {"source", e.Source}} {
		if line[1] != "" {
			fmt.Fprintf(b, "%s   %-10s%s\n", demoIndent, line[0], line[1])
		}
	}
	b.WriteString("\n")
	return b.String()
}
