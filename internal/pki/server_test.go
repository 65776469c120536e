package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dialled are names and addresses of every form of the host table that clients may dial.
var dialled = []string{
	"global.azure-devices-provisioning.net", "global.azure-devices-provisioning.cn", "fakecloud-dps.azure-devices-provisioning.net",
	"fakecloud-hub.azure-devices.net", "fakecloud-hub.device.azure-devices.net", "fakecloud-hub.service.azure-devices.net",
	"fakecloud-hub.azure-devices.cn", "conn-demo2-iothub.azure-devices.net",
	"mindconnectmqtt.eu1.mindsphere.io", "mindconnectmqtt.eu2.mindsphere.io", "gateway.eu1.mindsphere.io",
	"fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com", "fakecloud.iotda.cn-north-4.myhuaweicloud.com",
	"iot-bs.cn-north-4.myhuaweicloud.com", "iam.cn-north-4.myhuaweicloud.com", "management.azure.com",
	"mygateway.contoso.com", "edge.localhost", "localhost", "fakecloud", "host.docker.internal",
	"hub1.fakecloud.test", "fakecloud.default.svc", "fakecloud.default.svc.cluster.local", "printer.local", "job_42.internal",
	"127.0.0.1", "127.9.8.7", "10.1.2.3", "172.17.0.2", "192.168.1.20", "169.254.3.4", "100.64.0.9",
	"::1", "fd12:3456::1", "fe80::1",
}

var gateways = []string{"mygateway.contoso.com"}

func TestEveryNameVerifies(t *testing.T) {
	t.Parallel()
	for _, unconstrained := range []bool{false, true} {
		a := open(t, Options{Domains: gateways, RootUnconstrained: unconstrained})
		for _, name := range dialled {
			cert, err := a.Certificate(name, netip.Addr{})
			require.NoError(t, err, name)
			_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: a.RootPool(), DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			require.NoError(t, err, name)
			require.NoError(t, a.Permits(name))
		}
	}
}

func TestCertificateWithoutServerName(t *testing.T) {
	t.Parallel()
	a := open(t, Options{
		Domains: gateways, Advertise: []string{"box.test", "192.168.1.20"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("fe80::2%eth0")},
	})
	for local, names := range map[string][]string{
		"172.17.0.2":        {"172.17.0.2", "192.168.1.20", "10.0.0.5", "127.0.0.1", "::1", "fe80::2", "box.test", "localhost", "mygateway.contoso.com"},
		"::ffff:172.17.0.3": {"172.17.0.3", "localhost"},
		"203.0.113.7":       {"box.test", "127.0.0.1"},
		"0.0.0.0":           {"box.test", "fakecloud", "host.docker.internal"},
	} {
		cert, err := a.Certificate("", netip.MustParseAddr(local))
		require.NoError(t, err)
		for _, name := range names {
			_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: a.RootPool(), DNSName: name})
			require.NoError(t, err, "%s at %s", name, local)
		}
		require.NotContains(t, cert.Leaf.DNSNames, "192.168.1.20")
	}
}

func TestGoEnforcesTheConstraints(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	for _, s := range []subjects{{common: "x", names: []string{"example.com"}}, {common: "x", addrs: []netip.Addr{netip.MustParseAddr("8.8.8.8")}}} {
		cert, err := a.mint(s, a.issuer.key, time.Now())
		require.NoError(t, err)
		_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: a.RootPool()})
		var e x509.CertificateInvalidError
		require.ErrorAs(t, err, &e)
		require.Equal(t, x509.CANotAuthorizedForThisName, e.Reason)
	}
}

func TestAddressAsNameForOldEmbeddedClients(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	old := tls.ClientHelloInfo{ServerName: "192.168.1.20", SupportedVersions: []uint16{tls.VersionTLS12}, SupportedPoints: []uint8{0}}
	openssl := old
	openssl.SupportedPoints = []uint8{0, 1, 2}
	modern := old
	modern.SupportedVersions = []uint16{tls.VersionTLS13, tls.VersionTLS12}
	named := old
	named.ServerName = "localhost"
	for hello, want := range map[*tls.ClientHelloInfo][]string{&old: {"192.168.1.20"}, &openssl: nil, &modern: nil, &named: {"localhost"}} {
		cert, err := a.GetCertificate(hello)
		require.NoError(t, err)
		require.Equal(t, want, cert.Leaf.DNSNames)
	}
}

// own writes an issuer below a root of its own; change may restrict it.
func own(t *testing.T, change func(issuer *x509.Certificate)) (certFile, keyFile string) {
	t.Helper()
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: demoName("corp root"), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	issuer := *root
	issuer.Subject = demoName("corp issuer")
	if change != nil {
		change(&issuer)
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	require.NoError(t, err)
	root, err = x509.ParseCertificate(rootDER)
	require.NoError(t, err)
	issuerDER, err := x509.CreateCertificate(rand.Reader, &issuer, root, key.Public(), rootKey)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(issuerDER)
	require.NoError(t, err)
	keyPEM, err := encodeKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	require.NoError(t, os.WriteFile(certFile, encodeCertificates(cert, root), 0o600))
	require.NoError(t, os.WriteFile(keyFile, keyPEM, 0o600))
	return certFile, keyFile
}

func TestOwnIssuer(t *testing.T) {
	t.Parallel()
	certFile, keyFile := own(t, nil)
	a := open(t, Options{ServerCA: certFile, ServerCAKey: keyFile, Advertise: []string{"iot.example.com"}})
	require.Equal(t, certFile, a.RootFile())
	cert, err := a.Certificate("iot.example.com", netip.Addr{})
	require.NoError(t, err)
	require.Len(t, cert.Certificate, 2, "leaf and issuer, no root")
	issuer, err := x509.ParseCertificate(cert.Certificate[1])
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(issuer)
	_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: a.RootPool(), Intermediates: pool, DNSName: "iot.example.com"})
	require.NoError(t, err)

	certFile, keyFile = own(t, func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.ExcludedDNSDomains = []string{"corp.example"}, []string{"no.corp.example"}
	})
	a = open(t, Options{ServerCA: certFile, ServerCAKey: keyFile})
	_, err = a.Certificate("example.com", netip.Addr{})
	require.ErrorIs(t, err, ErrNotPermitted)
	require.ErrorContains(t, err, certFile)
	_, err = a.Certificate("x.corp.example", netip.Addr{})
	require.NoError(t, err)
	_, err = a.Certificate("x.no.corp.example", netip.Addr{})
	require.ErrorContains(t, err, "excluded")
	_, err = a.Certificate("8.8.8.8", netip.Addr{})
	require.NoError(t, err, "addresses are not restricted")

	_, otherKey := own(t, nil)
	_, err = Open(Options{ServerCA: certFile, ServerCAKey: otherKey})
	require.ErrorContains(t, err, "does not belong")
	certFile, keyFile = own(t, func(c *x509.Certificate) { c.IsCA = false })
	_, err = Open(Options{ServerCA: certFile, ServerCAKey: keyFile})
	require.ErrorContains(t, err, "CA:FALSE")
	certFile, keyFile = own(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	_, err = Open(Options{ServerCA: certFile, ServerCAKey: keyFile})
	require.ErrorContains(t, err, "expired")
	_, err = Open(Options{ServerCA: keyFile, ServerCAKey: keyFile})
	require.ErrorContains(t, err, "only EC PRIVATE KEY")
}

func TestHandshakeByAddress(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: a.GetCertificate})
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = c.(*tls.Conn).Handshake()
		_ = c.Close()
	}()
	c, err := tls.DialWithDialer(&net.Dialer{}, "tcp", l.Addr().String(), &tls.Config{RootCAs: a.RootPool()})
	require.NoError(t, err)
	_ = c.Close()
	<-done
	_ = l.Close()
}

func BenchmarkMint(b *testing.B) {
	a, err := Open(Options{ServerKey: ServerECDSA})
	require.NoError(b, err)
	key, err := newKey(ECDSA)
	require.NoError(b, err)
	for b.Loop() {
		_, err := a.mint(subjects{common: "x.test", names: []string{"x.test"}}, key, time.Now())
		require.NoError(b, err)
	}
}

func BenchmarkOpenFirst(b *testing.B) {
	for b.Loop() {
		_, err := Open(Options{Dir: b.TempDir()})
		require.NoError(b, err)
	}
}
