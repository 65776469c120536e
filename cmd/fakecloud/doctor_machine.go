package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// insecure is for connections whose server was judged already.
func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// machine looks at this machine.
func (d *doctor) machine(ctx context.Context) error {
	if d.connection != "" || d.cert != "" || d.ca != "" || d.name != "" || d.clientID != "" || d.username != "" || d.plain {
		return usagef("flags are for a connection: fakecloud doctor HOST:PORT")
	}
	d.report.title("This machine\n")
	probe := d.probe()
	if err := probe.connectInstance(ctx); err == nil {
		d.env = probe.env
		d.report.ok("instance: fakecloud %s answers at %s", probe.env.info.Version, d.adminShown())
		d.openPorts(ctx)
		d.rootFile(ctx)
	} else {
		d.report.note("instance: "+err.Error(), "")
		d.freePorts(ctx)
	}
	d.clock(ctx)
	if err := d.names(ctx); err != nil {
		return err
	}
	d.proxies()
	return d.report.end("Nothing is wrong here.")
}

func (d *doctor) adminShown() string {
	bases, err := d.app.adminBases()
	if err != nil || len(bases) == 0 {
		return defaultAdmin
	}
	return bases[0]
}

// doctorPort is a port of fakecloud, with the flag that moves it.
type doctorPort struct {
	number     int
	what, flag string
}

// openPorts dials the running instance's ports, here and, where it listens for others, by this machine's own
// addresses.
func (d *doctor) openPorts(ctx context.Context) {
	p := d.env.info.Ports
	host := d.app.adminHost()
	for _, port := range []doctorPort{{p.MQTTS, "MQTT over TLS", "mqtts-port"}, {p.MQTT, "plain MQTT (IoTDA)", "mqtt-port"}, {p.HTTPS, "HTTPS and WebSocket", "https-port"},
		{p.Edge, "IoT Edge", "edge-port"}, {p.Proxy, "the proxy port", "proxy-port"}} {
		if port.number == 0 {
			d.report.note(fmt.Sprintf("port: %s is off", port.what), "")
			continue
		}
		if err := d.knock(ctx, host, port.number); err != nil {
			d.report.fail(fmt.Sprintf("port: %s, %d, cannot be reached on %s: %v", port.what, port.number, host, err), "a firewall on this machine, or a container whose port is not published")
			continue
		}
		d.report.ok("port: %s accepts on %d", port.what, port.number)
	}
	if p.MQTTS != 0 && p.MQTTS != 8883 {
		d.report.note(fmt.Sprintf("port: MQTT over TLS is on %d; devices that DPS sends on to a hub dial 8883", p.MQTTS), "publish it as 8883, or use the proxy port")
	}
	d.fromOutside(ctx, p.MQTTS)
}

// fromOutside tries the addresses that other machines use.
func (d *doctor) fromOutside(ctx context.Context, port int) {
	if port == 0 || net.ParseIP(d.app.adminHost()) == nil {
		return
	}
	var open, closed []string
	for _, address := range lanAddresses() {
		if d.knock(ctx, address, port) == nil {
			open = append(open, address)
		} else {
			closed = append(closed, address)
		}
	}
	switch {
	case len(open) > 0:
		d.report.ok("network: %s accepts on %d; whether a firewall lets others in, only they can tell: fakecloud doctor %s:%d, there",
			strings.Join(open, ", "), port, open[0], port)
	case len(closed) > 0:
		d.report.note(fmt.Sprintf("network: devices on other machines cannot reach it by %s", strings.Join(closed, ", ")),
			"by design: it listens on loopback alone; fakecloud serve --lan opens the device ports")
	}
}

func (d *doctor) knock(ctx context.Context, host string, port int) error {
	ctx, cancel := context.WithTimeout(ctx, min(d.timeout, 2*time.Second))
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// freePorts asks whether fakecloud could start with its default ports.
func (d *doctor) freePorts(ctx context.Context) {
	for _, port := range []doctorPort{{8883, "MQTT over TLS", "mqtts-port"}, {1883, "plain MQTT (IoTDA)", "mqtt-port"}, {8443, "HTTPS and WebSocket", "https-port"},
		{8884, "IoT Edge", "edge-port"}, {8484, "the admin API", "admin-port"}, {8485, "the proxy port", "proxy-port"}} {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port.number)))
		if err != nil {
			d.report.fail(fmt.Sprintf("port: %d, for %s, is taken: %v", port.number, port.what, err),
				fmt.Sprintf("find out by whom (ss -ltnp 'sport = :%d'), or move it: fakecloud serve --%s N", port.number, port.flag))
			continue
		}
		_ = l.Close()
		d.report.ok("port: %d, for %s, is free", port.number, port.what)
	}
}

// rootFile compares the root in the data directory with the one that the instance uses.
func (d *doctor) rootFile(ctx context.Context) {
	data := d.env.info.Data
	if data == "" {
		return
	}
	file := filepath.Join(data, "pki", "root.pem")
	kept, err := os.ReadFile(file)
	if err != nil {
		return // on another machine, or in a container
	}
	served, err := d.app.adminBytes(ctx, adminRequest{Path: "/api/v1/ca.pem"})
	switch {
	case err != nil:
		d.report.fail("root: "+err.Error(), "")
	case !bytes.Equal(bytes.TrimSpace(kept), bytes.TrimSpace(served)):
		d.report.fail("root: "+file+" is not the root that the instance uses", "clients that trust the file refuse it: take the root from its admin API, /api/v1/ca.pem")
	default:
		d.report.ok("root: %s is the one to trust", file)
	}
}

// earliest is before any clock that is right.
var earliest = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// clock compares this machine's clock with reason, and with the instance's machine.
func (d *doctor) clock(ctx context.Context) {
	now := d.now()
	if now.Before(earliest) {
		d.report.fail("clock: it is "+now.UTC().Format(time.RFC3339), "set it: certificates and tokens are judged by it")
		return
	}
	if !d.env.local {
		d.report.ok("clock: it is %s", now.UTC().Format(time.RFC3339))
		return
	}
	answer, err := d.app.adminDo(ctx, adminRequest{Path: "/healthz"})
	if err != nil {
		d.report.fail("clock: "+err.Error(), "")
		return
	}
	defer answer.Body.Close()
	if there, err := http.ParseTime(answer.Header.Get("Date")); err == nil && there.Sub(now).Abs() > 30*time.Second {
		d.report.fail(fmt.Sprintf("clock: the instance's machine and this one are %s apart", there.Sub(now).Round(time.Second)),
			"set the wrong one (virtual machines and containers after sleep): tokens and certificates are judged by it")
		return
	}
	var c struct {
		Skew string `json:"skew"`
	}
	if err := d.app.adminJSON(ctx, "GET", "/api/v1/clock", nil, &c); err == nil && c.Skew != "" && c.Skew != "0s" {
		d.report.note("clock: the instance's is skewed by "+c.Skew+" on purpose", "tokens and certificates are judged by it")
		return
	}
	d.report.ok("clock: it is %s, here and there", now.UTC().Format(time.RFC3339))
}

// names looks up where the vendors' names lead.
func (d *doctor) names(ctx context.Context) error {
	i, err := d.app.instance(ctx)
	if err != nil {
		return err
	}
	var here, away, none []string
	for _, name := range i.names {
		lookup, cancel := context.WithTimeout(ctx, min(d.timeout, 3*time.Second))
		addresses, err := d.lookup(lookup, name)
		cancel()
		switch {
		case err != nil || len(addresses) == 0:
			none = append(none, name)
		case slices.ContainsFunc(addresses, func(a string) bool { ip := net.ParseIP(a); return ip != nil && (ip.IsLoopback() || ip.IsPrivate()) }):
			here = append(here, name)
		default:
			away = append(away, name)
		}
	}
	const mend = "to use it here: fakecloud hosts | sudo tee -a /etc/hosts, or the proxy port, or 127.0.0.1 in place of the name"
	if len(here) > 0 {
		d.report.ok("names: %s lead to this machine or network", fewNames(here))
	}
	if len(away) > 0 {
		d.report.note("names: "+fewNames(away)+" lead to the internet: a device that uses them reaches the real cloud", mend)
	}
	if len(none) > 0 {
		d.report.note("names: "+fewNames(none)+" do not resolve", mend)
	}
	if addresses, err := d.lookup(ctx, "localhost"); err != nil || !slices.ContainsFunc(addresses, func(a string) bool { ip := net.ParseIP(a); return ip != nil && ip.IsLoopback() }) {
		d.report.fail("names: localhost does not lead to this machine", "put 127.0.0.1 localhost into /etc/hosts, or use 127.0.0.1")
	}
	return nil
}

func fewNames(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// proxies finds proxy settings that lead clients past this machine.
func (d *doctor) proxies() {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		value := d.app.env(name)
		if value == "" || strings.Contains(value, ":8485") {
			continue
		}
		except := d.app.env("NO_PROXY") + "," + d.app.env("no_proxy")
		if strings.Contains(except, "*") || (strings.Contains(except, "localhost") && strings.Contains(except, "127.0.0.1")) {
			continue
		}
		d.report.note("proxy: "+name+" is set: SDKs may send what is for this machine to that proxy", "export NO_PROXY=localhost,127.0.0.1")
		return
	}
}
