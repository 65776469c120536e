package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fakecloud/fakecloud/clientkit/azure"
)

// verdict is what the doctor says of one thing.
type verdict int

const (
	fine    verdict = iota
	remark          // worth knowing, and no fault
	trouble         // a device will fail here
)

// report prints the doctor's findings and counts what is wrong.
type report struct {
	out    io.Writer
	faults int
}

// say prints a finding; mend says what to do about it, where there is something.
func (r *report) say(v verdict, what, mend string) {
	mark := map[verdict]string{fine: "ok   ", remark: "note ", trouble: "FAIL "}[v]
	if v == trouble {
		r.faults++
	}
	fmt.Fprintln(r.out, mark+indent(what))
	if mend != "" {
		fmt.Fprintln(r.out, "     -> "+strings.ReplaceAll(mend, "\n", "\n        "))
	}
}

func indent(text string) string { return strings.ReplaceAll(text, "\n", "\n     ") }

func (r *report) ok(format string, args ...any) { r.say(fine, fmt.Sprintf(format, args...), "") }
func (r *report) note(what, mend string)        { r.say(remark, what, mend) }
func (r *report) fail(what, mend string)        { r.say(trouble, what, mend) }
func (r *report) title(format string, a ...any) { fmt.Fprintf(r.out, format+"\n", a...) }

// end returns what the command ends with.
func (r *report) end(happy string) error {
	if r.faults == 0 {
		fmt.Fprintln(r.out, "\n"+happy)
		return nil
	}
	fmt.Fprintf(r.out, "\n%d %s found.\n", r.faults, map[bool]string{true: "fault", false: "faults"}[r.faults == 1])
	return exitCode(1)
}

// doctor is `fakecloud doctor`.
type doctor struct {
	deviceBase // of it: cert, keyFile, ca, timeout, env
	name       string
	clientID   string
	username   string
	password   string
	connection string
	plain      bool

	// What the flags name, as readFiles has read it.
	roots  trust
	client *tls.Certificate // nil without --cert
	hub    azure.HubConfig  // of --connection-string

	report *report
	lookup func(ctx context.Context, host string) ([]string, error)
	now    func() time.Time
}

func (a *app) doctorCommand() *cobra.Command {
	d := &doctor{deviceBase: deviceBase{app: a}, report: &report{out: a.out}, lookup: net.DefaultResolver.LookupHost, now: time.Now}
	cmd := &cobra.Command{
		Use:   "doctor [HOST:PORT]",
		Short: "Find out why a device does not connect: this machine, or a connection as a device would make it",
		Long: "Without an argument: this machine. Is an instance running, are its ports free or open, where do the vendors' names " +
			"lead, is the clock right, does a proxy stand in the way.\n\n" +
			"With HOST:PORT: tries a connection as a device would, step by step: name, TCP, TLS with the server's chain and names, " +
			"the client certificate, CONNECT. It names what is wrong, and how to mend it. Roots are those of --ca, else the running " +
			"instance's where it answers there, else the system's.\n\n" +
			"Exit code 0 when all is well, 1 when something is wrong, 2 for wrong usage.",
		Example: `  fakecloud doctor
  fakecloud doctor 127.0.0.1:8883
  fakecloud doctor mygateway.contoso.com:8883 --ca azure-iot-test-only.root.ca.cert.pem
  fakecloud doctor 192.168.1.20:8883 --name mindconnectmqtt.eu1.mindsphere.io --cert pump-7_chain.pem --key-file pump-7.key --client-id demo_pump-7
  fakecloud doctor fakecloud-hub.azure-devices.net:8883 --connection-string "HostName=…;DeviceId=…;SharedAccessKey=…"`,
		Args: positional(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return d.machine(cmd.Context())
			}
			return d.host(cmd.Context(), args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&d.name, "name", "", "the server's name as the device knows it, for SNI and certificate (default: HOST)")
	f.StringVar(&d.ca, "ca", "", "PEM file of the roots that the device trusts")
	f.StringVar(&d.cert, "cert", "", "PEM file of the device's certificate, with intermediates")
	f.StringVar(&d.keyFile, "key-file", "", "PEM file of its private key (default: in the file of --cert)")
	f.StringVar(&d.clientID, "client-id", "", "client id of CONNECT")
	f.StringVar(&d.username, "username", "", "user name of CONNECT")
	f.StringVar(&d.password, "password", "", "password of CONNECT")
	f.StringVar(&d.connection, "connection-string", "", "Azure: connect as this device")
	f.BoolVar(&d.plain, "plain", false, "without TLS, as on port 1883")
	f.DurationVar(&d.timeout, "timeout", 10*time.Second, "limit for each step")
	return cmd
}

// host tries a connection step by step; a step that fails ends it where the next ones need it.
func (d *doctor) host(ctx context.Context, target string) error {
	host, port, err := d.check(target)
	if err != nil {
		return err
	}
	if err := d.readFiles(ctx, port); err != nil {
		return err
	}
	if d.name == "" {
		d.name = host
	}
	d.report.title("A connection to %s, as a device makes it\n", target)
	addresses := d.resolve(ctx, host)
	if addresses == nil {
		return d.report.end("")
	}
	raw := d.dialTCP(ctx, host, port, addresses)
	if raw == nil {
		return d.report.end("")
	}
	defer raw.Close()
	conn := raw
	if !d.plain {
		if conn = d.secure(ctx, raw, target); conn == nil {
			return d.report.end("")
		}
	}
	if err := d.mqtt(ctx, conn, target, port); err != nil {
		return err
	}
	return d.report.end("A device can connect here.")
}

// check reads the argument and finds flags that do not go together.
func (d *doctor) check(target string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(target)
	switch {
	case err != nil:
		return "", "", usagef("%q is not HOST:PORT, like 127.0.0.1:8883", target)
	case host == "":
		return "", "", usagef("%q has no host", target)
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
		return "", "", usagef("%q is no port, expected 1 to 65535", port)
	}
	switch {
	case d.keyFile != "" && d.cert == "":
		return "", "", usagef("--key-file needs --cert")
	case d.plain && (d.cert != "" || d.ca != "" || d.connection != ""):
		return "", "", usagef("--plain has no certificates: leave --cert, --ca and --connection-string out")
	case d.connection != "" && (d.clientID != "" || d.username != "" || d.password != ""):
		return "", "", usagef("--connection-string says who the device is; leave --client-id, --username and --password out")
	case d.password != "" && d.username == "":
		return "", "", usagef("--password needs --username: MQTT 3.1.1 has no password without one")
	case d.timeout <= 0:
		return "", "", usagef("--timeout must be positive")
	}
	return host, port, nil
}

// readFiles reads what the flags name: a wrong one is told before anything is tried.
func (d *doctor) readFiles(ctx context.Context, port string) (err error) {
	if d.plain {
		return nil
	}
	if d.roots, err = d.trusted(ctx, port); err != nil {
		return err
	}
	if d.cert != "" {
		cert, err := d.certificateFiles()
		if err != nil {
			return err
		}
		d.client = &cert
	}
	if d.connection == "" {
		return nil
	}
	d.hub, err = d.readConnection()
	return err
}

// resolve looks the name up.
func (d *doctor) resolve(ctx context.Context, host string) []string {
	if net.ParseIP(host) != nil {
		d.report.ok("name: %s is an address", host)
		return []string{host}
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	addresses, err := d.lookup(ctx, host)
	if err != nil || len(addresses) == 0 {
		mend := "check the spelling, or point the name at fakecloud: fakecloud hosts | sudo tee -a /etc/hosts\n" +
			"or dial an address and give the name with --name; clients with a proxy setting can use the proxy port"
		d.report.fail(fmt.Sprintf("name: %s does not resolve: %v", host, plainDNS(err)), mend)
		return nil
	}
	d.report.ok("name: %s is %s (%s)", host, strings.Join(addresses, ", "), whose(addresses))
	return addresses
}

func plainDNS(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host"
	case errors.As(err, &dns) && dns.IsTimeout:
		return "the name server does not answer"
	case err == nil:
		return "no address"
	}
	return err.Error()
}

// whose says where addresses are.
func whose(addresses []string) string {
	kinds := map[string]bool{}
	for _, text := range addresses {
		switch ip := net.ParseIP(text); {
		case ip == nil:
		case ip.IsLoopback():
			kinds["this machine"] = true
		case ip.IsPrivate() || ip.IsLinkLocalUnicast():
			kinds["a private network"] = true
		default:
			kinds["the internet"] = true
		}
	}
	var list []string
	for _, kind := range []string{"this machine", "a private network", "the internet"} {
		if kinds[kind] {
			list = append(list, kind)
		}
	}
	return strings.Join(list, " and ")
}

// dialTCP opens the connection.
func (d *doctor) dialTCP(ctx context.Context, host, port string, addresses []string) net.Conn {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	start := time.Now()
	var err error
	for _, address := range addresses {
		var conn net.Conn
		if conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(address, port)); err == nil {
			d.report.ok("TCP: connected to %s after %s", conn.RemoteAddr(), time.Since(start).Round(100*time.Microsecond))
			return conn
		}
	}
	what, mend := tcpTrouble(err, host, port)
	d.report.fail("TCP: "+what, mend)
	return nil
}

func tcpTrouble(err error, host, port string) (what, mend string) {
	var timeout net.Error
	text := err.Error()
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("port %s of %s does not answer", port, host),
			"a firewall drops it, or the address is not this server's; on the server: is the port open to others? fakecloud listens on " +
				"loopback alone unless it runs with --lan or --bind"
	case strings.Contains(text, "refused"):
		return fmt.Sprintf("nothing listens on port %s of %s", port, host),
			"start fakecloud there, or see its ports: fakecloud doctor, without an argument\nfrom another machine it listens with --lan or --bind; " +
				"in a container the port must be published (-p 8883:8883)"
	case strings.Contains(text, "unreachable"), strings.Contains(text, "no route"):
		return host + " cannot be reached", "the two machines are in different networks, or a cable or VPN is out"
	}
	return text, ""
}
