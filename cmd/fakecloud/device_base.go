package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/internal/control"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// deviceBase is what the simulated devices of all platforms share.
type deviceBase struct {
	host, id, cert, keyFile, ca string
	port, count                 int
	interval, timeout           time.Duration
	message                     string

	app   *app
	print *printer
	env   deviceEnvironment
}

// deviceEnvironment is how the servers are reached and trusted.
type deviceEnvironment struct {
	local bool // the running instance of fakecloud
	info  control.Info
	dial  clientkit.DialFunc // nil is the network
	tls   *tls.Config        // nil is the system's roots
}

// deviceBase returns the beginning of a device; secret is what its passwords are.
func (a *app) deviceBase(secret string) deviceBase {
	return deviceBase{app: a, print: &printer{out: a.out, secret: secret}}
}

// probe returns a device that prints nothing, to look for an instance.
func (d *deviceBase) probe() *deviceBase { return &deviceBase{app: d.app} }

// deviceTexts are the flags' texts that differ between platforms, and the default message.
type deviceTexts struct{ host, port, id, message, what string }

func (d *deviceBase) flags(f *pflag.FlagSet, t deviceTexts) {
	d.connectionFlags(f, t)
	f.StringVar(&d.id, "id", "", t.id)
	f.StringVar(&d.cert, "cert", "", "PEM file of the device's certificate, with intermediates")
	f.StringVar(&d.keyFile, "key-file", "", "PEM file of its private key (default: in the file of --cert)")
	f.DurationVar(&d.interval, "interval", time.Second, "pause between messages")
	f.IntVar(&d.count, "count", 5, "how many messages; 0 is until interrupted")
	f.StringVar(&d.message, "message", t.message, t.what+"; {n} is the message's number, {time} the time in UTC")
}

// connectionFlags are those of one device and of a swarm.
func (d *deviceBase) connectionFlags(f *pflag.FlagSet, t deviceTexts) {
	f.StringVar(&d.host, "host", "", t.host)
	f.IntVar(&d.port, "port", 0, t.port)
	f.StringVar(&d.ca, "ca", "", "PEM file of the root that the server's certificate leads to (default: the running instance's, or the system's)")
	f.DurationVar(&d.timeout, "timeout", time.Minute, "limit for connecting, and for each message")
}

// checkFlags finds shared flags that make no sense.
func (d *deviceBase) checkFlags() error {
	switch {
	case d.keyFile != "" && d.cert == "":
		return usagef("--key-file needs --cert")
	case d.count < 0 || d.interval < 0 || d.timeout <= 0:
		return usagef("--count and --interval must not be negative, --timeout must be positive")
	case d.port < 0 || d.port > 65535:
		return usagef("--port is %d, expected 1 to 65535", d.port)
	}
	return nil
}

// body fills in the placeholders of a message.
func body(message string, n int) string {
	return strings.NewReplacer("{n}", strconv.Itoa(n), "{time}", time.Now().UTC().Format(time.RFC3339Nano)).Replace(message)
}

// connection is what pump needs of a kit's connection.
type connection interface {
	Done() <-chan struct{}
	Err() error
}

// pump sends messages at the interval until enough are acknowledged, or until interrupted.
func (d *deviceBase) pump(ctx context.Context, c connection, send func(ctx context.Context, n int, body string) error) error {
	until := "interrupted"
	if d.count > 0 {
		until = fmt.Sprintf("%d are acknowledged", d.count)
	}
	d.print.step("Send a message every %s, until %s", d.interval, until)
	for n := 1; d.count == 0 || n <= d.count; n++ {
		if n > 1 {
			select {
			case <-ctx.Done():
				return nil
			case <-c.Done():
				return c.Err()
			case <-time.After(d.interval):
			}
		}
		sending, cancel := context.WithTimeout(ctx, d.timeout)
		start := time.Now()
		err := send(sending, n, body(d.message, n))
		cancel()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil // interrupted: the way that --count 0 ends
		case err != nil:
			return err
		}
		d.print.line("  acknowledged after %s", time.Since(start).Round(100*time.Microsecond))
	}
	return nil
}

// explainWith adds where to look further; refused says that the service has refused the device.
func (d *deviceBase) explainWith(err error, refused bool) error {
	var verify *tls.CertificateVerificationError
	switch {
	case d.env.local && refused:
		return fmt.Errorf("%w\nwhy: fakecloud explain --last", err)
	case d.ca == "" && errors.As(err, &verify):
		return fmt.Errorf("%w\nname the root with --ca; fakecloud's is at its admin API under /api/v1/ca.pem", err)
	}
	return err
}

// remote sets up for any host: the running instance where it emulates that host and neither --ca nor --port is
// given, else the network, and the roots of --ca or the system. is tells among the endpoints of the host.
func (d *deviceBase) remote(ctx context.Context, host string, is func(plane.Endpoint) bool) error {
	if d.ca == "" {
		if d.port == 0 {
			d.lookForInstance(ctx, host, is)
		}
		return nil
	}
	return d.trustGiven()
}

// lookForInstance uses the running instance when it emulates host; otherwise host is the real one.
func (d *deviceBase) lookForInstance(ctx context.Context, host string, is func(plane.Endpoint) bool) {
	probe := d.probe()
	if probe.connectInstance(ctx) != nil {
		return
	}
	for _, e := range probe.env.info.Endpoints {
		if slices.ContainsFunc(e.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) && is(e) {
			d.env = probe.env
			d.print.step("%s is emulated by the running instance", host)
			return
		}
	}
}

// useInstance sets up for the running instance and says so.
func (d *deviceBase) useInstance(ctx context.Context) error {
	if err := d.connectInstance(ctx); err != nil {
		return err
	}
	if d.ca != "" {
		if err := d.trustGiven(); err != nil {
			return err
		}
	}
	d.print.step("The instance at %s, version %s", d.instanceAddress(), d.env.info.Version)
	return nil
}

// connectInstance asks the admin API for ports and root.
func (d *deviceBase) connectInstance(ctx context.Context) error {
	if err := d.app.adminJSON(ctx, "GET", "/api/v1/info", nil, &d.env.info); err != nil {
		return err
	}
	root, err := d.app.adminBytes(ctx, adminRequest{Path: "/api/v1/ca.pem"})
	if err != nil {
		return err
	}
	if d.env.tls, err = rootsOf(root); err != nil {
		return err
	}
	if d.env.info.Ports.MQTTS == 0 {
		return usagef("the running instance has its MQTT port switched off (--mqtts-port)")
	}
	d.env.local = true
	d.env.dial = d.toInstance()
	return nil
}

// instanceAddress is the MQTT port on the host that the admin API answers on.
func (d *deviceBase) instanceAddress() string {
	host := "127.0.0.1"
	if bases, err := d.app.adminBases(); err == nil {
		if u, err := url.Parse(bases[0]); err == nil && u.Hostname() != "" {
			host = u.Hostname()
		}
	}
	port := d.env.info.Ports.MQTTS
	if d.port != 0 {
		port = d.port
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// toInstance dials the instance whatever name is asked for: its HTTPS port for 443, else its MQTT port.
func (d *deviceBase) toInstance() clientkit.DialFunc {
	mqtts := d.instanceAddress()
	host, _, _ := net.SplitHostPort(mqtts)
	https := d.env.info.Ports.HTTPS
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if _, port, _ := net.SplitHostPort(address); port != "443" {
			return redirect(mqtts)(ctx, network, address)
		}
		if https == 0 {
			return nil, usagef("the running instance has its HTTPS port switched off (--https-port)")
		}
		return redirect(net.JoinHostPort(host, strconv.Itoa(https)))(ctx, network, address)
	}
}

// trustGiven makes the roots of --ca those that servers are judged by.
func (d *deviceBase) trustGiven() error {
	text, err := readFile("--ca", d.ca)
	if err != nil {
		return err
	}
	d.env.tls, err = rootsOf(text)
	if err != nil {
		return usagef("--ca: %s: %w", d.ca, err)
	}
	return nil
}

func rootsOf(text []byte) (*tls.Config, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, usagef("no certificate in PEM form in it")
	}
	return &tls.Config{RootCAs: pool}, nil
}

// Keys that the running instance makes for certificates.
const (
	keyECDSA = "ecdsa"
	keyRSA   = "rsa2048"
)

// issue gets a certificate from the running instance.
func (d *deviceBase) issue(ctx context.Context, commonName, key string) (tls.Certificate, error) {
	d.print.line("  a certificate with CN=%s, signed by its demo-ca", commonName)
	return d.issueQuietly(ctx, commonName, key)
}

func (d *deviceBase) issueQuietly(ctx context.Context, commonName, key string) (tls.Certificate, error) {
	var issued struct {
		Chain      string `json:"chain"`
		PrivateKey string `json:"privateKey"`
	}
	if err := d.app.adminJSON(ctx, "POST", "/api/v1/pki/devices", map[string]string{"commonName": commonName, "key": key}, &issued); err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair([]byte(issued.Chain), []byte(issued.PrivateKey))
}

// certificateFiles reads --cert and --key-file; the common name is the id where there is none.
func (d *deviceBase) certificateFiles() (tls.Certificate, error) {
	keyFile := d.keyFile
	if keyFile == "" {
		keyFile = d.cert
	}
	certPEM, err := readFile("--cert", d.cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyPEM, err := readFile("--key-file", keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	switch {
	case !bytes.Contains(certPEM, []byte("-----BEGIN CERTIFICATE-----")):
		return tls.Certificate{}, usagef("--cert: %s is no certificate; PEM begins with -----BEGIN CERTIFICATE-----", d.cert)
	case d.keyFile == "" && !bytes.Contains(keyPEM, []byte("PRIVATE KEY-----")):
		return tls.Certificate{}, usagef("--cert: %s holds no private key; name its file with --key-file", d.cert)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, usagef("--cert %s, --key-file %s: %w", d.cert, keyFile, err)
	}
	if d.id == "" && cert.Leaf != nil {
		d.id = cert.Leaf.Subject.CommonName
	}
	return cert, nil
}

// redirect dials address whatever name is asked for, so that the vendors' names stay in TLS and MQTT.
func redirect(address string) clientkit.DialFunc {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}

// readFile reads a file that the user names, by a flag or an argument.
func readFile(flag, name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("%s: %s does not exist", flag, name)
	case err != nil:
		return nil, usagef("%s: %w", flag, err)
	}
	return text, nil
}
