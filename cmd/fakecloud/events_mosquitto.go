package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/fakecloud/fakecloud/internal/explain"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// mosquittoInfo is what the commands need of the instance.
type mosquittoInfo struct {
	Ports     plane.Ports `json:"ports"`
	Addresses []string    `json:"addresses"`
	Data      string      `json:"data"`
}

// exchange is what one connection did.
type exchange struct {
	connect     *journal.Event
	certificate bool
	filters     []*journal.Event
	published   []*journal.Event
}

// mosquitto writes the mosquitto commands that repeat what each connection did. Masked passwords and
// private keys are not in the journal; they stand as $PASSWORD, device.pem and device.key.
func mosquitto(events []journal.Event, info mosquittoInfo) string {
	byConn := map[uint64]*exchange{}
	for i := range events {
		e := &events[i]
		x := byConn[e.Conn]
		if x == nil {
			x = &exchange{}
			byConn[e.Conn] = x
		}
		switch {
		case e.Kind == journal.Connect:
			x.connect = e
		case e.Kind == journal.TLS && e.Properties["clientCertificate"] != "":
			x.certificate = true
		case e.Kind == journal.Subscribe:
			x.filters = append(x.filters, e)
		case e.Kind == journal.Publish && e.Dir == journal.In:
			x.published = append(x.published, e)
		}
	}
	var conns []uint64
	for conn, x := range byConn {
		if x.connect != nil {
			conns = append(conns, conn)
		}
	}
	sort.Slice(conns, func(i, j int) bool { return conns[i] < conns[j] })
	if len(conns) == 0 {
		return "# no CONNECT among these events: leave --kind and --match out\n"
	}
	var out strings.Builder
	for _, conn := range conns {
		byConn[conn].write(&out, conn, info)
	}
	return out.String()
}

func (x *exchange) write(out *strings.Builder, conn uint64, info mosquittoInfo) {
	fmt.Fprintf(out, "# connection %d, %s %s, %s\n", conn, x.connect.Platform, explain.Clean(x.connect.Endpoint), x.connect.Time.UTC().Format("15:04:05.000"))
	common := x.arguments(info)
	switch {
	case len(x.published) == 0 && len(x.filters) == 0:
		fmt.Fprintf(out, "mosquitto_sub %s -t unused -E\n", common)
	case len(x.published) == 0:
		fmt.Fprintf(out, "mosquitto_sub %s -v", common)
		for _, f := range x.filters {
			fmt.Fprintf(out, " -q %d -t %s", f.QoS, shell(f.Topic))
		}
		out.WriteString("\n")
	}
	for _, p := range x.published {
		command := "mosquitto_pub " + common
		if len(x.filters) > 0 { // mosquitto_rr publishes and shows the answer on one connection
			command = "mosquitto_rr " + common + " -v -e " + shell(x.filters[0].Topic)
		}
		fmt.Fprintf(out, "%s%s -q %d -t %s%s\n", fed(p.Payload), command, p.QoS, shell(p.Topic), message(p.Payload))
	}
	out.WriteString("\n")
}

// arguments are those of the connection.
func (x *exchange) arguments(info mosquittoInfo) string {
	p := x.connect.Properties
	host := "127.0.0.1"
	if len(info.Addresses) > 0 {
		host = info.Addresses[0]
	}
	root := "root.pem"
	if info.Data != "" {
		root = info.Data + "/pki/root.pem"
	}
	args := fmt.Sprintf("-h %s -p %d --cafile %s", shell(host), info.Ports.MQTTS, shell(root))
	if x.certificate {
		args += " --cert device.pem --key device.key"
	}
	version := map[string]string{"3": "mqttv31", "5": "mqttv5"}[p["level"]]
	if version == "" {
		version = "mqttv311"
	}
	args += " -V " + version + " -i " + shell(p["clientId"])
	if name, ok := p["username"]; ok {
		args += " -u " + shell(name)
	}
	if _, ok := p["password"]; ok {
		args += ` -P "$PASSWORD"`
	}
	return args
}

// message is the argument that sends a payload; bytes that a shell cannot carry come from fed.
func message(payload []byte) string {
	switch {
	case len(payload) == 0:
		return " -n"
	case binary(payload):
		return " -s"
	}
	return " -m " + shell(string(payload))
}

func fed(payload []byte) string {
	if !binary(payload) {
		return ""
	}
	var text strings.Builder
	for _, b := range payload {
		fmt.Fprintf(&text, `\%03o`, b)
	}
	return "printf '" + text.String() + "' | "
}

func binary(payload []byte) bool {
	return len(payload) > 0 && explain.Clean(string(payload)) != string(payload)
}

// shell quotes text for a POSIX shell.
func shell(text string) string {
	safe := strings.IndexFunc(text, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@,+", r)
	}) < 0
	if safe && text != "" {
		return text
	}
	return "'" + strings.ReplaceAll(explain.Clean(text), "'", `'\''`) + "'"
}
