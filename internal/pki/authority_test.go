package pki

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func b64(der []byte) string { return base64.StdEncoding.EncodeToString(der) }

// open returns an authority with a fast server key.
func open(t *testing.T, o Options) *Authority {
	t.Helper()
	if o.ServerKey == "" {
		o.ServerKey = ServerECDSA
	}
	a, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

func TestOpenKeepsItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, Options{Dir: dir})
	again := open(t, Options{Dir: dir})
	require.Equal(t, first.RootPEM(), again.RootPEM())
	require.Equal(t, filepath.Join(dir, "pki", "root.pem"), first.RootFile())

	names, err := os.ReadDir(filepath.Join(dir, "pki"))
	require.NoError(t, err)
	var got []string
	for _, e := range names {
		info, err := e.Info()
		require.NoError(t, err)
		got = append(got, e.Name())
		if runtime.GOOS != "windows" && strings.HasSuffix(e.Name(), ".key") {
			require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), e.Name())
		}
	}
	require.Equal(t, []string{"demo-ca.key", "demo-ca.pem", "root.key", "root.pem", "vendor"}, got)
	info, err := os.Stat(filepath.Join(dir, "pki"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
}

func TestRootsDiffer(t *testing.T) {
	t.Parallel()
	one, two := open(t, Options{}), open(t, Options{})
	require.NotEqual(t, one.Root().Subject.String(), two.Root().Subject.String())
	require.Empty(t, one.RootFile())
	demoOne, err := one.CA(DemoCA)
	require.NoError(t, err)
	demoTwo, err := two.CA(DemoCA)
	require.NoError(t, err)
	require.True(t, demoOne.Certificate.Equal(demoTwo.Certificate))
	require.True(t, demoOne.CanIssue())
	require.Equal(t, 2049, demoOne.Certificate.NotAfter.Year())
}

func TestRootConstraintsAreNotCritical(t *testing.T) {
	t.Parallel()
	root := open(t, Options{Domains: []string{"*.contoso.com", "mygateway.contoso.com"}}).Root()
	require.False(t, root.PermittedDNSDomainsCritical)
	require.Contains(t, root.PermittedDNSDomains, "azure-devices.net")
	require.Contains(t, root.PermittedDNSDomains, "contoso.com")
	require.NotContains(t, root.PermittedDNSDomains, "mygateway.contoso.com", "a name below another adds nothing")
	require.Len(t, root.PermittedIPRanges, len(privateNets))
	require.Empty(t, open(t, Options{RootUnconstrained: true}).Root().PermittedDNSDomains)
}

func TestOpenRefusesBrokenFiles(t *testing.T) {
	t.Parallel()
	other := open(t, Options{})
	otherKey, err := encodeKey(other.issuer.key)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		file string
		data []byte // nil removes it
		want string
	}{
		"corrupt root":    {"root.pem", []byte("-----BEGIN CERTIFICATE-----\nrubbish"), "no complete PEM block"},
		"empty root":      {"root.pem", []byte{}, "neither PEM nor a DER certificate"},
		"corrupt key":     {"root.key", []byte("garbage"), "no complete PEM block with a private key"},
		"foreign key":     {"root.key", otherKey, "does not belong to"},
		"key missing":     {"root.key", nil, "has no key"},
		"foreign demo-ca": {"demo-ca.pem", other.RootPEM(), "does not belong to"},
		"corrupt demo-ca": {"demo-ca.pem", []byte("x"), "demo-ca.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			open(t, Options{Dir: dir})
			path := filepath.Join(dir, "pki", tc.file)
			require.NoError(t, os.Remove(path))
			if tc.data != nil {
				require.NoError(t, os.WriteFile(path, tc.data, 0o600))
			}
			_, err := Open(Options{Dir: dir})
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, path)
			if tc.data != nil {
				kept, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, tc.data, kept, "never overwritten")
			}
		})
	}
}

func TestOpenCompletesACutOffStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, Options{Dir: dir})
	require.NoError(t, os.Remove(filepath.Join(dir, "pki", "root.pem")))
	a := open(t, Options{Dir: dir})
	require.True(t, belongs(a.issuer.key, a.Root()))
}

func TestOpenTogether(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	roots := make(chan string, 8)
	for range cap(roots) {
		go func() {
			a, err := Open(Options{Dir: dir})
			if err != nil {
				roots <- err.Error()
				return
			}
			roots <- string(a.RootPEM())
		}()
	}
	first := <-roots
	require.Contains(t, first, "BEGIN CERTIFICATE")
	for range cap(roots) - 1 {
		require.Equal(t, first, <-roots)
	}
}

func TestOpenWithoutADirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Open(Options{Dir: file})
	require.ErrorContains(t, err, "--data")
	_, err = Open(Options{Dir: filepath.Join(file, "below")})
	require.ErrorContains(t, err, "--data")
}

func TestOpenOptions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		o    Options
		want string
	}{
		"server key":      {Options{ServerKey: "dsa"}, "vendor, ecdsa or rsa"},
		"half a CA":       {Options{ServerCA: "x.pem"}, "--server-ca-key"},
		"no such CA":      {Options{ServerCA: "/nowhere.pem", ServerCAKey: "/nowhere.key"}, "/nowhere.pem"},
		"public name":     {Options{Advertise: []string{"iot.example.com"}}, "--root-unconstrained"},
		"public address":  {Options{Advertise: []string{"203.0.113.7"}}, "--server-ca"},
		"single label":    {Options{Advertise: []string{"cloud"}}, "below .test"},
		"no name":         {Options{Advertise: []string{"a b"}}, "letters, digits, hyphens"},
		"domain no name":  {Options{Domains: []string{"*.a..b"}}, "1 to 63"},
		"name of nothing": {Options{Advertise: []string{""}}, "1 to 253"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(tc.o)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestAdvertiseAfterwards(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, Options{Dir: dir})
	_, err := Open(Options{Dir: dir, Advertise: []string{"gw.contoso.com"}, Domains: []string{"contoso.com"}})
	require.ErrorIs(t, err, ErrNotPermitted)
	require.ErrorContains(t, err, filepath.Join(dir, "pki", "root.pem"))
	open(t, Options{Dir: t.TempDir(), Advertise: []string{"gw.contoso.com", "192.168.7.8"}, Domains: []string{"contoso.com"}})
	open(t, Options{Advertise: []string{"iot.example.com", "203.0.113.7"}, RootUnconstrained: true})
}

func TestServerKeyIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, Options{Dir: dir, ServerKey: ServerVendor})
	a.Warm()
	cert, err := a.Certificate("localhost", netip.Addr{})
	require.NoError(t, err)
	require.Equal(t, x509.RSA, cert.Leaf.PublicKeyAlgorithm)
	require.NotZero(t, cert.Leaf.KeyUsage&x509.KeyUsageKeyEncipherment)

	again, err := open(t, Options{Dir: dir, ServerKey: ServerRSA}).Certificate("localhost", netip.Addr{})
	require.NoError(t, err)
	require.Equal(t, cert.Leaf.RawSubjectPublicKeyInfo, again.Leaf.RawSubjectPublicKeyInfo)
}

func TestLeafFollowsTheClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	a := open(t, Options{Clock: func() time.Time { return now }})
	leaf := func() *x509.Certificate {
		cert, err := a.Certificate("Fakecloud-Hub.Azure-Devices.net.", netip.Addr{})
		require.NoError(t, err)
		return cert.Leaf
	}
	first := leaf()
	require.Equal(t, []string{"fakecloud-hub.azure-devices.net"}, first.DNSNames)
	require.Same(t, first, leaf())
	require.LessOrEqual(t, first.NotAfter.Sub(first.NotBefore), leafDays*24*time.Hour)
	require.Equal(t, now.Add(-backDate), first.NotBefore)
	now = now.AddDate(1, 0, 0)
	require.NotSame(t, first, leaf(), "near its end it is made again")
}

func TestLeavesAreBounded(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	for i := range maxLeaves + 10 {
		_, err := a.Certificate("n"+strings.Repeat("x", i%50)+string(rune('a'+i%26))+"-"+netip.AddrFrom4([4]byte{0, 0, byte(i >> 8), byte(i)}).String()+".test", netip.Addr{})
		require.NoError(t, err)
	}
	require.Len(t, a.leaves.byKey, maxLeaves)
	require.Equal(t, maxLeaves, a.leaves.recent.Len())
}

func TestCertificateRefusesNames(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	for _, name := range []string{"example.com", "azure-devices.net.example.com", "evilazure-devices.net", "8.8.8.8", "2001:4860::8888", "cloud"} {
		_, err := a.Certificate(name, netip.Addr{})
		require.ErrorIs(t, err, ErrNotPermitted, name)
	}
	for _, name := range []string{"a..test", "*.test", "ü.test", strings.Repeat("a.", 130) + "test"} {
		_, err := a.Certificate(name, netip.Addr{})
		require.Error(t, err, name)
		require.False(t, errors.Is(err, ErrNotPermitted), name)
	}
}
