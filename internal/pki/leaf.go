package pki

import (
	"container/list"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/hosts"
)

const (
	// leafDays is the longest validity that clients with the CA/Browser Forum's limit accept
	// (Baseline Requirements, 6.3.2: 398 days).
	leafDays = 397
	// renewBefore replaces a cached leaf that comes near its end.
	renewBefore = 30 * 24 * time.Hour
	// maxLeaves bounds the cache: names come from clients.
	maxLeaves = 1024
	// maxFallback bounds the names of the certificate for clients without SNI.
	maxFallback = 100
)

// GetCertificate is Certificate for tls.Config. For clients that dial an address and compare it as a host
// name it adds the address in that form, see comparesAddressAsName.
func (a *Authority) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	var local netip.Addr
	if hello.Conn != nil {
		if addr, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok {
			local = addr.AddrPort().Addr()
		}
	}
	return a.certificate(hello.ServerName, local, comparesAddressAsName(hello))
}

// Certificate returns the server's leaf for a TLS server name, or, where the client sent none, one for
// the local address with loopback, the addresses of this machine and all advertised names. Leaves are
// made on first use and cached. The first one waits for the RSA key (up to a second, once per data
// directory; see Warm). A name that the root may not certify is refused with ErrNotPermitted.
func (a *Authority) Certificate(sni string, local netip.Addr) (*tls.Certificate, error) {
	return a.certificate(sni, local, false)
}

// comparesAddressAsName recognises mbedTLS 2.x by its hello: an IP address as server name (against RFC
// 6066, section 3), no TLS 1.3, and only uncompressed points, where OpenSSL lists three formats. Before
// 3.6 it ignores addresses in certificates and compares dNSNames with what was dialled
// (mbedtls: library/x509_crt.c, x509_crt_check_san). All others get addresses as addresses only: a dNSName
// in digits is outside any name constraint, and rustls takes it for a malformed name.
func comparesAddressAsName(hello *tls.ClientHelloInfo) bool {
	return isAddress(hello.ServerName) &&
		!slices.Contains(hello.SupportedVersions, tls.VersionTLS13) &&
		slices.Equal(hello.SupportedPoints, []uint8{0})
}

func (a *Authority) certificate(sni string, local netip.Addr, asName bool) (*tls.Certificate, error) {
	names, key, err := a.subjects(sni, local, asName)
	if err != nil {
		return nil, err
	}
	now := a.now()
	if cert := a.leaves.get(key, now); cert != nil {
		return cert, nil
	}
	signer, err := a.server.get(a)
	if err != nil {
		return nil, err
	}
	cert, err := a.mint(names, signer, now)
	if err != nil {
		return nil, err
	}
	a.leaves.put(key, cert)
	return cert, nil
}

// subjects are the names of a leaf.
type subjects struct {
	common string
	names  []string
	addrs  []netip.Addr
}

// subjects decides what a leaf certifies, and its key in the cache.
func (a *Authority) subjects(sni string, local netip.Addr, asName bool) (subjects, string, error) {
	if sni == "" {
		s, local := a.leaves.fallback, plainAddr(local)
		if local.IsValid() && !local.IsUnspecified() && a.issuer.scope.holdsAddr(local) && !slices.Contains(s.addrs, local) {
			s.addrs = append([]netip.Addr{local}, s.addrs...)
			return s, "addr " + local.String(), nil
		}
		return s, "", nil
	}
	if addr, ok := parseAddr(sni); ok {
		if err := a.Permits(addr.String()); err != nil {
			return subjects{}, "", err
		}
		// The common name must not look like a host name: OpenSSL judges it by the name constraints
		// where there is no dNSName (crypto/x509/v3_ncons.c, NAME_CONSTRAINTS_check_CN).
		s := subjects{common: "address " + addr.String(), addrs: []netip.Addr{addr}}
		if asName {
			s.names = []string{addr.String()}
			return s, "named " + addr.String(), nil
		}
		return s, "addr " + addr.String() + " only", nil
	}
	name := hosts.Canonical(sni)
	if err := checkName(name); err != nil {
		return subjects{}, "", fmt.Errorf("server name: %w", err)
	}
	if err := a.Permits(name); err != nil {
		return subjects{}, "", err
	}
	return subjects{common: name, names: []string{name}}, "name " + name, nil
}

// fallbackNames are certified for clients that send no server name: what they may have dialled.
func (a *Authority) fallbackNames() subjects {
	s := subjects{common: "fakecloud"}
	for _, name := range slices.Concat(a.opts.Advertise, []string{"localhost", "fakecloud", "host.docker.internal"}, a.opts.Domains) {
		addr, isAddr := parseAddr(name)
		name = hosts.Canonical(name)
		switch {
		case len(s.names)+len(s.addrs) >= maxFallback || !a.issuer.scope.holds(strings.TrimPrefix(name, "*.")):
		case isAddr && !slices.Contains(s.addrs, addr):
			s.addrs = append(s.addrs, addr)
		case !isAddr && !slices.Contains(s.names, name):
			s.names = append(s.names, name)
		}
	}
	for _, addr := range slices.Concat([]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, a.opts.Addresses) {
		addr = plainAddr(addr)
		if len(s.addrs) < maxFallback && addr.IsValid() && !slices.Contains(s.addrs, addr) && a.issuer.scope.holdsAddr(addr) {
			s.addrs = append(s.addrs, addr)
		}
	}
	return s
}

// mint signs one leaf, with the certificates that are sent after it.
func (a *Authority) mint(s subjects, key crypto.Signer, now time.Time) (*tls.Certificate, error) {
	if len(s.common) > maxCommonName {
		s.common = "fakecloud"
	}
	cert, err := a.mintFor(s, key, now, leafDays, pkix.Name{Organization: []string{"fakecloud"}, CommonName: s.common})
	if err != nil {
		return nil, err
	}
	if err := a.checkOwn(cert.Leaf); err != nil {
		return nil, err
	}
	for _, c := range a.issuer.sent() {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}

// mintFor signs one leaf for so many days.
func (a *Authority) mintFor(s subjects, key crypto.Signer, now time.Time, days int, subject pkix.Name) (*tls.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	start := now.Add(-backDate)
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               subject,
		NotBefore:             start,
		NotAfter:              start.AddDate(0, 0, days).Add(-time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              s.names,
	}
	for _, addr := range s.addrs {
		template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
	}
	if _, isRSA := key.(*rsa.PrivateKey); isRSA {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment // TLS 1.2 without ECDHE
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.issuer.cert, key.Public(), a.issuer.key)
	if err != nil {
		return nil, fmt.Errorf("server certificate for %s: %w", s.common, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("server certificate for %s: %w", s.common, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// checkOwn verifies a leaf of the tester's own issuer, whose restrictions we have not written ourselves.
func (a *Authority) checkOwn(leaf *x509.Certificate) error {
	if !a.issuer.own {
		return nil
	}
	intermediates := x509.NewCertPool()
	for _, c := range a.issuer.sent() {
		intermediates.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: a.RootPool(), Intermediates: intermediates, CurrentTime: a.now()})
	if err != nil {
		return fmt.Errorf("--server-ca %s cannot certify %s: %w", a.opts.ServerCA, leaf.Subject.CommonName, err)
	}
	return nil
}

// sent are the certificates that follow a leaf in the handshake: all up to the root, which clients have.
func (i issuer) sent() []*x509.Certificate {
	if i.cert == i.root {
		return nil
	}
	return slices.Concat([]*x509.Certificate{i.cert}, i.above[:len(i.above)-1])
}

// leaves is a cache of certificates; the least recently used go first.
type leaves struct {
	fallback subjects
	mu       sync.Mutex
	byKey    map[string]*list.Element
	recent   *list.List // of entry, most recent first
}

type entry struct {
	key  string
	cert *tls.Certificate
}

func (l *leaves) init(fallback subjects) {
	l.fallback, l.byKey, l.recent = fallback, map[string]*list.Element{}, list.New()
}

// get returns a cached leaf that is in date for a while, nil for none.
func (l *leaves) get(key string, now time.Time) *tls.Certificate {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.byKey[key]
	if e == nil {
		return nil
	}
	cert := e.Value.(entry).cert
	if now.Before(cert.Leaf.NotBefore) || now.After(cert.Leaf.NotAfter.Add(-renewBefore)) {
		return nil
	}
	l.recent.MoveToFront(e)
	return cert
}

func (l *leaves) put(key string, cert *tls.Certificate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.byKey[key]; old != nil {
		l.recent.Remove(old)
	}
	l.byKey[key] = l.recent.PushFront(entry{key, cert})
	for l.recent.Len() > maxLeaves {
		last := l.recent.Back()
		delete(l.byKey, l.recent.Remove(last).(entry).key)
	}
}
