package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/pki"
)

// trust is what the server's chain is judged by.
type trust struct {
	from  string // for messages
	roots []*x509.Certificate
	pool  *x509.CertPool
}

// secure does the handshake without verification, judges what the server showed, and returns the connection;
// nil where the handshake failed.
func (d *doctor) secure(ctx context.Context, raw net.Conn, target string) net.Conn {
	asked := false
	cfg := &tls.Config{ServerName: d.name, InsecureSkipVerify: true} // judged below, more closely than by Go
	if net.ParseIP(d.name) != nil {
		cfg.ServerName = ""
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		if d.client == nil {
			return &tls.Certificate{}, nil
		}
		return d.client, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		what, mend := tlsTrouble(err, target, d.name, asked && d.client == nil)
		d.report.fail("TLS: "+what, mend)
		return nil
	}
	state := conn.ConnectionState()
	d.report.ok("TLS: %s, %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
	for _, f := range judgeChain(state.PeerCertificates, d.roots, d.now()) {
		d.report.say(f.verdict, f.what, f.mend)
	}
	f := judgeName(state.PeerCertificates[0], d.name)
	d.report.say(f.verdict, f.what, f.mend)
	d.judgeClient(d.client, asked)
	return conn
}

// trusted finds the roots: --ca, the running instance's where it has that port, or the system's.
func (d *doctor) trusted(ctx context.Context, port string) (trust, error) {
	if d.ca != "" {
		text, err := readFile("--ca", d.ca)
		if err != nil {
			return trust{}, err
		}
		roots, err := pki.ParseCertificates(text)
		if err != nil || len(roots) == 0 {
			return trust{}, usagef("--ca: %s: no certificate in PEM form in it", d.ca)
		}
		return trustOf(d.ca, roots), nil
	}
	probe := d.probe()
	if probe.connectInstance(ctx) == nil {
		p := probe.env.info.Ports
		for _, open := range []int{p.MQTTS, p.HTTPS, p.Edge} {
			if fmt.Sprint(open) != port {
				continue
			}
			roots, err := d.instanceRoots(ctx, open != p.HTTPS)
			if err != nil {
				return trust{}, err
			}
			d.env.local = true
			return trustOf("the running instance", roots), nil
		}
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	return trust{from: "this system's roots", pool: pool}, nil
}

// instanceRoots asks the running instance for its root, and for that of its gateways where they may stand behind
// the port.
func (d *doctor) instanceRoots(ctx context.Context, gateways bool) ([]*x509.Certificate, error) {
	paths := []string{"/api/v1/ca.pem"}
	if gateways {
		paths = append(paths, "/api/v1/pki/"+pki.EdgeRootFile)
	}
	var all []*x509.Certificate
	for _, path := range paths {
		text, err := d.app.adminBytes(ctx, adminRequest{Path: path})
		if err != nil {
			return nil, err
		}
		roots, err := pki.ParseCertificates(text)
		if err != nil {
			return nil, fmt.Errorf("%s of the running instance: %w", path, err)
		}
		all = append(all, roots...)
	}
	return all, nil
}

func trustOf(from string, roots []*x509.Certificate) trust {
	pool := x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r)
	}
	return trust{from, roots, pool}
}

// tlsTrouble names a handshake that failed; wanted says that the server asked for a certificate and got none.
func tlsTrouble(err error, target, name string, wanted bool) (what, mend string) {
	var record tls.RecordHeaderError
	var op *net.OpError
	var timeout net.Error
	text := strings.TrimPrefix(err.Error(), "tls: ")
	switch {
	case errors.As(err, &record):
		return "the server does not speak TLS on this port", "is this the plain port? Try: fakecloud doctor " + target + " --plain"
	case errors.As(err, &op) && op.Op == "remote error":
		alert := strings.TrimPrefix(op.Err.Error(), "tls: ")
		mend := "fakecloud events shows the handshake from the other side"
		if strings.Contains(alert, "unrecognized name") {
			mend = "it has no certificate for the name " + name + ": is that the server's right name? Of an IoT Edge gateway it is the hostname in\n" +
				"config.toml, and GatewayHostName in the connection string; fakecloud takes more names with --advertise"
		}
		switch {
		case wanted:
			mend = "the server asked for a certificate of the device: give it with --cert and --key-file"
		case strings.Contains(alert, "certificate"):
			mend = "the server does not accept the device's certificate: is its CA known there, has it expired?"
		}
		return "the server ends the handshake with the alert: " + alert, mend
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "the server does not answer the handshake", "is this a port of TLS? A plain MQTT port waits for CONNECT: try --plain"
	case strings.Contains(text, "EOF"), strings.Contains(text, "reset"):
		return "the server closes the connection during the handshake", "is this a port of TLS? Try: fakecloud doctor " + target + " --plain\nelse something between may do so: fakecloud events shows whether the connection arrived"
	}
	return text, ""
}

// finding is one judgement.
type finding struct {
	verdict    verdict
	what, mend string
}

// judgeChain judges what the server presented as a device does that trusts only trusted.
func judgeChain(presented []*x509.Certificate, trusted trust, now time.Time) []finding {
	leaf := presented[0]
	var found []finding
	for _, c := range presented {
		if f, bad := judgeTime(c, now); bad {
			found = append(found, f)
		}
	}
	inter := x509.NewCertPool()
	for _, c := range presented[1:] {
		inter.AddCert(c)
	}
	// Trust is judged apart from time: a chain may be right and too old.
	options := x509.VerifyOptions{Roots: trusted.pool, Intermediates: inter, CurrentTime: now}
	if len(found) > 0 {
		options.CurrentTime = sharedTime(presented)
	}
	chains, err := leaf.Verify(options)
	if err == nil {
		return append(found, finding{fine, "chain: " + describe(chains[0]) + ", trusted by " + trusted.from, ""})
	}
	return append(found, chainTrouble(err, presented, trusted))
}

// judgeTime finds a certificate that is not good now.
func judgeTime(c *x509.Certificate, now time.Time) (finding, bool) {
	switch day := "2006-01-02 15:04 MST"; {
	case now.After(c.NotAfter):
		return finding{trouble, fmt.Sprintf("chain: the certificate of %s expired at %s", pki.Name(c.Subject), c.NotAfter.UTC().Format(day)),
			"renew it; if it should be good still, this machine's clock is wrong: it is " + now.UTC().Format(day)}, true
	case now.Before(c.NotBefore):
		return finding{trouble, fmt.Sprintf("chain: the certificate of %s is not good before %s", pki.Name(c.Subject), c.NotBefore.UTC().Format(day)),
			"this machine's clock is behind: it is " + now.UTC().Format(day)}, true
	}
	return finding{}, false
}

// sharedTime is a moment at which all certificates were good, where there is one.
func sharedTime(chain []*x509.Certificate) time.Time {
	at := chain[0].NotBefore
	for _, c := range chain {
		if c.NotBefore.After(at) {
			at = c.NotBefore
		}
	}
	return at
}

func describe(chain []*x509.Certificate) string {
	names := make([]string, len(chain))
	for i, c := range chain {
		names[i] = pki.Name(c.Subject)
	}
	return strings.Join(names, " <- ")
}

// chainTrouble names why a chain does not lead to a trusted root.
func chainTrouble(err error, presented []*x509.Certificate, trusted trust) finding {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return finding{trouble, "chain: the certificate of " + pki.Name(presented[0].Subject) + " is not one for servers (extended key usage)",
			"issue a server certificate: extendedKeyUsage = serverAuth"}
	case errors.As(err, &invalid):
		return finding{trouble, "chain: " + strings.TrimPrefix(err.Error(), "x509: "), "the CA that issued it does not allow this; `fakecloud pki` makes chains that fit"}
	case !errors.As(err, &unknown):
		return finding{trouble, "chain: " + strings.TrimPrefix(err.Error(), "x509: "), ""}
	}
	top := topOf(presented)
	issuer := pki.Name(top.Issuer)
	if self := slices.Equal(top.RawSubject, top.RawIssuer); self && len(presented) == 1 && !top.IsCA {
		return finding{trouble, "chain: " + pki.Name(top.Subject) + " is self-signed and not trusted by " + trusted.from, "trust it with --ca, or give the server a certificate of a CA"}
	}
	for _, r := range trusted.roots {
		if slices.Equal(r.RawSubject, top.RawIssuer) {
			return finding{trouble, fmt.Sprintf("chain: %s holds a root %s, but with another key than the one that signed", trusted.from, issuer),
				"it is from another instance or data directory, or an older one: take the server's own root (fakecloud's is at its admin API under /api/v1/ca.pem)"}
		}
	}
	if slices.Equal(top.RawSubject, top.RawIssuer) {
		return finding{trouble, fmt.Sprintf("chain: it ends at the root %s, which %s does not hold", issuer, trusted.from),
			"name that root with --ca, and give it to the device (fakecloud trust --for …)"}
	}
	who := pki.Name(top.Subject)
	return finding{trouble, fmt.Sprintf("chain: %s was issued by %s, which the server does not send and %s does not hold", who, issuer, trusted.from),
		fmt.Sprintf("if %s is an intermediate, the server must send it: its certificate file holds the chain, the leaf first\n"+
			"if it is the root, name it with --ca, and give it to the device", issuer)}
}

// topOf follows the issuers from the leaf as far as the server has sent them.
func topOf(presented []*x509.Certificate) *x509.Certificate {
	top := presented[0]
	for range presented {
		i := slices.IndexFunc(presented, func(c *x509.Certificate) bool {
			return slices.Equal(c.RawSubject, top.RawIssuer) && !c.Equal(top)
		})
		if i < 0 || slices.Equal(top.RawSubject, top.RawIssuer) {
			return top
		}
		top = presented[i]
	}
	return top
}

// judgeName asks whether the certificate is for the name that the device uses.
func judgeName(leaf *x509.Certificate, name string) finding {
	if leaf.VerifyHostname(name) == nil {
		return finding{fine, "name check: the certificate is for " + name, ""}
	}
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return finding{trouble, fmt.Sprintf("name check: the certificate names no host (no subjectAltName), only the common name %q, which clients ignore", leaf.Subject.CommonName),
			"issue it with subjectAltName = DNS:" + name}
	}
	const most = 8
	more := ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(names)-most)
	}
	return finding{trouble, fmt.Sprintf("name check: the certificate is not for %s but for %s%s", name, strings.Join(names, ", "), more),
		"connect by one of these names (of an IoT Edge gateway: its hostname in config.toml, which is GatewayHostName in the connection string),\n" +
			"or try the right name at this address: --name " + strings.TrimPrefix(names[0], "*.") + "\nfakecloud makes certificates for more names with --advertise"}
}

// judgeClient says what the server wanted of the device, and what is wrong with what it got.
func (d *doctor) judgeClient(cert *tls.Certificate, asked bool) {
	switch {
	case cert == nil && asked:
		d.report.note("client certificate: the server asks for one, and none was given", "devices with X.509: --cert and --key-file")
	case cert == nil:
	case !asked:
		d.report.note("client certificate: the server does not ask for one", "")
	default:
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			d.report.fail("client certificate: "+err.Error(), "")
			return
		}
		if f, bad := judgeTime(leaf, d.now()); bad {
			d.report.fail(strings.Replace(f.what, "chain: ", "client certificate: ", 1), f.mend)
			return
		}
		d.report.ok("client certificate: CN=%s issued by %s, sent with %d more", leaf.Subject.CommonName, pki.Name(leaf.Issuer), len(cert.Certificate)-1)
	}
}
