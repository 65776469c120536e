package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/clientkit/azure"
	"github.com/fakecloud/fakecloud/internal/control"
)

// azureEnvironment is how the servers are reached and trusted.
type azureEnvironment struct {
	local bool // the running instance of fakecloud
	info  control.Info
	dial  azure.DialFunc // nil is the network
	tls   *tls.Config    // nil is the system's roots
}

// hubConfig provisions the device where that is asked for, and returns the connection to its hub.
func (d *azureDevice) hubConfig(ctx context.Context) (azure.HubConfig, error) {
	switch {
	case d.connection != "":
		return d.fromConnectionString(ctx)
	case d.host != "" && d.idScope == "":
		if err := d.remote(ctx, d.host, ""); err != nil {
			return azure.HubConfig{}, err
		}
		credential, err := d.credential(ctx)
		if err != nil {
			return azure.HubConfig{}, err
		}
		return d.hub(d.host, d.id, credential), nil
	case d.host != "":
		if err := d.remote(ctx, d.host, d.idScope); err != nil {
			return azure.HubConfig{}, err
		}
	default:
		if err := d.instance(ctx); err != nil {
			return azure.HubConfig{}, err
		}
	}
	return d.provision(ctx)
}

func (d *azureDevice) hub(host, id string, credential azure.Credential) azure.HubConfig {
	return azure.HubConfig{
		Host: host, Port: d.port, DeviceID: id, Credential: credential, TLS: d.env.tls, Dial: d.env.dial,
		Product: "fakecloud device",
	}
}

func (d *azureDevice) fromConnectionString(ctx context.Context) (azure.HubConfig, error) {
	s, err := azure.ParseConnectionString(d.connection)
	if err != nil {
		return azure.HubConfig{}, usagef("--connection-string: %w", err)
	}
	cfg, err := s.HubConfig()
	if err != nil {
		return cfg, err
	}
	if s.X509 {
		if d.cert == "" {
			return cfg, usagef("the connection string has x509=true: give the certificate with --cert and --key-file")
		}
		if cfg.Credential, err = d.certificate(); err != nil {
			return cfg, err
		}
	}
	if err := d.remote(ctx, s.HostName, ""); err != nil {
		return cfg, err
	}
	own := d.hub(cfg.Host, cfg.DeviceID, cfg.Credential)
	own.ModuleID, own.GatewayHost = cfg.ModuleID, cfg.GatewayHost
	return own, nil
}

// remote sets up for any host: the running instance where it emulates that host and neither --ca nor --port
// is given, else the network, and the roots of --ca or the system.
func (d *azureDevice) remote(ctx context.Context, host, idScope string) error {
	if d.ca == "" {
		if d.port == 0 {
			d.lookForInstance(ctx, host, idScope)
		}
		return nil
	}
	return d.trustGiven()
}

// trustGiven makes the roots of --ca those that servers are judged by.
func (d *azureDevice) trustGiven() error {
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

// lookForInstance uses the running instance when it emulates host, and for DPS, whose global host is every
// customer's, the ID scope as well; otherwise host is the real one.
func (d *azureDevice) lookForInstance(ctx context.Context, host, idScope string) {
	probe := &azureDevice{app: d.app, print: &printer{out: d.print.out}}
	if probe.connectInstance(ctx) != nil {
		return
	}
	for _, e := range probe.env.info.Endpoints {
		if slices.ContainsFunc(e.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) &&
			(idScope == "" || e.Facts["idScope"] == idScope) {
			d.env = probe.env
			d.print.step("%s is emulated by the running instance", host)
			return
		}
	}
}

// instance sets up for the running instance and says so.
func (d *azureDevice) instance(ctx context.Context) error {
	if err := d.connectInstance(ctx); err != nil {
		return err
	}
	if d.ca != "" {
		if err := d.trustGiven(); err != nil {
			return err
		}
	}
	d.print.step("The instance at %s, version %s", d.instanceAddress(), d.env.info.Version)
	if d.idScope != "" {
		return nil
	}
	for _, e := range d.env.info.Endpoints {
		scope := e.Facts["idScope"]
		if e.Platform == "dps" && (d.idScope == "" || scope == demoScope) {
			d.idScope = scope
		}
	}
	if d.idScope == "" {
		return usagef("the running instance has no DPS instance; name a hub with --connection-string")
	}
	return nil
}

// connectInstance asks the admin API for ports and root.
func (d *azureDevice) connectInstance(ctx context.Context) error {
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
	d.env.dial = redirect(d.instanceAddress())
	return nil
}

// instanceAddress is the MQTT port on the host that the admin API answers on.
func (d *azureDevice) instanceAddress() string {
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

func (d *azureDevice) provision(ctx context.Context) (azure.HubConfig, error) {
	credential, err := d.credential(ctx)
	if err != nil {
		return azure.HubConfig{}, err
	}
	host := d.host
	if host == "" {
		host = azure.DefaultProvisioningHost
	}
	d.print.step("Register with DPS at %s, ID scope %s", host, d.idScope)
	assignment, err := azure.Provision(ctx, azure.ProvisionConfig{
		Host: host, Port: d.port, IDScope: d.idScope, RegistrationID: d.id, Credential: credential,
		TLS: d.env.tls, Dial: d.env.dial, Timeout: d.timeout, Trace: d.print.packet,
		Log: slog.New(slog.NewTextHandler(d.app.err, nil)),
	})
	if err != nil {
		return azure.HubConfig{}, err
	}
	d.print.line("  assigned to %s as %s (%s)", assignment.Hub, assignment.DeviceID, assignment.Substatus)
	return d.hub(assignment.Hub, assignment.DeviceID, credential), nil
}

// credential takes what the flags name, else a fresh certificate from the running instance.
func (d *azureDevice) credential(ctx context.Context) (azure.Credential, error) {
	if d.cert != "" {
		return d.certificate()
	}
	if d.id == "" {
		d.id = demoDevice
	}
	switch {
	case d.groupKey != "":
		key, err := azure.DeriveDeviceKey(d.groupKey, d.id)
		if err != nil {
			return azure.Credential{}, usagef("--group-key: %w", err)
		}
		return azure.SymmetricKey(key)
	case d.key != "":
		credential, err := azure.SymmetricKey(d.key)
		if err != nil {
			return credential, usagef("--key: %w", err)
		}
		return credential, nil
	case !d.env.local:
		return azure.Credential{}, usagef("no credential for %s: give --key, --group-key, or --cert and --key-file", d.host)
	}
	d.print.line("  a certificate with CN=%s, signed by its demo-ca", d.id)
	var issued struct {
		Chain      string `json:"chain"`
		PrivateKey string `json:"privateKey"`
	}
	if err := d.app.adminJSON(ctx, "POST", "/api/v1/pki/devices", map[string]string{"commonName": d.id}, &issued); err != nil {
		return azure.Credential{}, err
	}
	cert, err := tls.X509KeyPair([]byte(issued.Chain), []byte(issued.PrivateKey))
	if err != nil {
		return azure.Credential{}, err
	}
	return azure.X509(cert), nil
}

// certificate reads --cert and --key-file.
func (d *azureDevice) certificate() (azure.Credential, error) {
	keyFile := d.keyFile
	if keyFile == "" {
		keyFile = d.cert
	}
	certPEM, err := readFile("--cert", d.cert)
	if err != nil {
		return azure.Credential{}, err
	}
	keyPEM, err := readFile("--key-file", keyFile)
	if err != nil {
		return azure.Credential{}, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return azure.Credential{}, usagef("--cert %s, --key-file %s: %w", d.cert, keyFile, err)
	}
	if d.id == "" && cert.Leaf != nil {
		d.id = cert.Leaf.Subject.CommonName
	}
	return azure.X509(cert), nil
}
