package pki

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"
)

func demoName(cn string) pkix.Name { return pkix.Name{CommonName: cn} }

func TestIssueDevice(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	from, to := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	i, err := a.IssueDevice(DeviceRequest{CommonName: "dev1", Key: RSA2048, NotBefore: from, NotAfter: to})
	require.NoError(t, err)
	require.Equal(t, 3, i.Leaf.Version)
	require.Equal(t, "CN=dev1", i.Leaf.Subject.String())
	require.Equal(t, from, i.Leaf.NotBefore)
	require.Equal(t, to, i.Leaf.NotAfter)
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, i.Leaf.ExtKeyUsage)
	require.Contains(t, i.PrivateKey, "BEGIN RSA PRIVATE KEY")
	chain, err := ParseCertificates([]byte(i.Chain))
	require.NoError(t, err)
	require.Len(t, chain, 2)
	require.Equal(t, "fakecloud demo-ca", chain[1].Subject.CommonName)
	require.Regexp(t, "^[0-9A-F]{40}$", i.SHA1)
	require.Regexp(t, "^[0-9A-F]{64}$", i.SHA256)
	_, err = tls.X509KeyPair([]byte(i.Chain), []byte(i.PrivateKey))
	require.NoError(t, err)
	require.Len(t, i.TLS().Certificate, 2)

	self, err := a.IssueDevice(DeviceRequest{CommonName: "dev1", Self: true})
	require.NoError(t, err)
	require.Equal(t, self.Certificate, self.Chain)
	require.NoError(t, self.Leaf.CheckSignature(self.Leaf.SignatureAlgorithm, self.Leaf.RawTBSCertificate, self.Leaf.Signature))
}

func TestX509v1(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	for _, key := range []KeyType{ECDSA, RSA2048} {
		_, err := a.CreateCA(CARequest{Name: "old-" + string(key), Key: key, X509v1: true})
		require.NoError(t, err)
		i, err := a.IssueDevice(DeviceRequest{CommonName: "dev1", CA: "old-" + string(key), X509v1: true})
		require.NoError(t, err)
		require.Equal(t, 1, i.Leaf.Version)
		require.Empty(t, i.Leaf.Extensions)
		require.NoError(t, VerifyChain([]*x509.Certificate{i.Leaf}, i.Issuers, time.Now()))
	}
	i, err := a.IssueDevice(DeviceRequest{CommonName: "dev1", X509v1: true, Self: true})
	require.NoError(t, err)
	require.Equal(t, 1, i.Leaf.Version)
}

func TestIssueDeviceRefuses(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	now := time.Now()
	for name, tc := range map[string]struct {
		r    DeviceRequest
		want string
	}{
		"no name":        {DeviceRequest{}, "0 characters: X.509 allows 1 to 64"},
		"long name":      {DeviceRequest{CommonName: strings.Repeat("x", 65)}, "65 characters"},
		"control":        {DeviceRequest{CommonName: "a\nb"}, "U+000A"},
		"not UTF-8":      {DeviceRequest{CommonName: "\xff"}, "1 to 64"},
		"unknown CA":     {DeviceRequest{CommonName: "d", CA: "nope"}, "no such device CA"},
		"bad CA name":    {DeviceRequest{CommonName: "d", CA: "../x"}, "letters, digits"},
		"server root":    {DeviceRequest{CommonName: "d", CA: "root"}, "taken by the server"},
		"self with CA":   {DeviceRequest{CommonName: "d", CA: DemoCA, Self: true}, "no CA"},
		"unknown key":    {DeviceRequest{CommonName: "d", Key: "dsa"}, "ecdsa or rsa2048"},
		"ends first":     {DeviceRequest{CommonName: "d", NotBefore: now, NotAfter: now.Add(-time.Hour)}, "before it begins"},
		"too long":       {DeviceRequest{CommonName: "d", NotAfter: now.AddDate(101, 0, 0)}, "at most 100 years"},
		"before X.509":   {DeviceRequest{CommonName: "d", NotBefore: time.Date(1949, 1, 1, 0, 0, 0, 0, time.UTC)}, "1950"},
		"zero duration":  {DeviceRequest{CommonName: "d", NotBefore: now, NotAfter: now}, "before it begins"},
		"self lookalike": {DeviceRequest{CommonName: "d"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.want == "" {
				tc.r.Self = true
				_, err := a.Broken("wrong-ca", tc.r)
				require.ErrorContains(t, err, "imitate")
				return
			}
			_, err := a.IssueDevice(tc.r)
			require.ErrorContains(t, err, tc.want)
		})
	}
	long, err := a.IssueDevice(DeviceRequest{CommonName: strings.Repeat("ü", 64)})
	require.NoError(t, err)
	require.Len(t, []rune(long.Leaf.Subject.CommonName), 64)
}

func TestBroken(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	_, err := a.CreateCA(CARequest{Name: "rsa", Key: RSA2048})
	require.NoError(t, err)
	for _, kind := range BrokenKinds() {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			require.NotEmpty(t, kind.About)
			for _, ca := range []string{"", "rsa"} {
				i, err := a.Broken(kind.Name, DeviceRequest{CommonName: "dev1", CA: ca})
				require.NoError(t, err)
				if kind.Name == "negative-serial" {
					require.Nil(t, i.Leaf)
					_, err = x509.ParseCertificate(i.TLS().Certificate[0])
					require.ErrorContains(t, err, "negative serial")
					_, err = i.PFX("x")
					require.ErrorContains(t, err, "PEM")
					continue
				}
				switch kind.Name {
				case "wrong-cn":
					require.Equal(t, "dev1-other", i.Leaf.Subject.CommonName)
				case "v1":
					require.Equal(t, 1, i.Leaf.Version)
				case "no-eku":
					require.Empty(t, i.Leaf.ExtKeyUsage)
				case "server-eku":
					require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, i.Leaf.ExtKeyUsage)
				case "sha1":
					require.Contains(t, i.Leaf.SignatureAlgorithm.String(), "SHA1")
				case "wrong-ca":
					require.Equal(t, i.Issuers[0].RawSubject, i.Leaf.RawIssuer)
					require.Equal(t, i.Issuers[0].SubjectKeyId, i.Leaf.AuthorityKeyId)
				}
			}
		})
	}
	_, err = a.Broken("rotten", DeviceRequest{CommonName: "d"})
	require.ErrorContains(t, err, "expired, not-yet-valid")
	i, err := a.Broken("wrong-cn", DeviceRequest{CommonName: strings.Repeat("x", 64)})
	require.NoError(t, err)
	require.Len(t, i.Leaf.Subject.CommonName, 64)
}

func TestProof(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	i, err := a.Proof("", "75B86466DA34D2B04C0C4C9557A119687ADAE7D4732BDDB3")
	require.NoError(t, err)
	demo, err := a.CA(DemoCA)
	require.NoError(t, err)
	require.Equal(t, "75B86466DA34D2B04C0C4C9557A119687ADAE7D4732BDDB3", i.Leaf.Subject.CommonName)
	require.NoError(t, i.Leaf.CheckSignatureFrom(demo.Certificate))
}

func TestPFX(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	i, err := a.IssueDevice(DeviceRequest{CommonName: "mydevice001", Key: RSA2048})
	require.NoError(t, err)
	pfx, err := i.PFX("12345678")
	require.NoError(t, err)
	key, leaf, chain, err := pkcs12.DecodeChain(pfx, "12345678")
	require.NoError(t, err)
	require.True(t, key.(*rsa.PrivateKey).Equal(i.Key))
	require.True(t, leaf.Equal(i.Leaf))
	require.Len(t, chain, 1)
	_, _, _, err = pkcs12.DecodeChain(pfx, "1234")
	require.Error(t, err)
}

func TestCHeader(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	i, err := a.IssueDevice(DeviceRequest{CommonName: "dev1"})
	require.NoError(t, err)
	h := string(i.CHeader(a.RootPEM()))
	for _, want := range []string{
		"#ifndef FAKECLOUD_DEVICE_H", "static const char fakecloud_device_cert[] =\n    \"-----BEGIN CERTIFICATE-----\\n\"\n",
		"fakecloud_device_key[] =\n    \"-----BEGIN EC PRIVATE KEY-----\\n\"", "fakecloud_root_ca", "    \"-----END CERTIFICATE-----\\n\";\n",
	} {
		require.Contains(t, h, want)
	}
	require.NotContains(t, string(i.CHeader(nil)), "fakecloud_root_ca")
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	a := open(t, Options{})
	for name, r := range map[string]DeviceRequest{
		"v3": {CommonName: "dev1"}, "v1": {CommonName: "dev1", X509v1: true}, "self": {CommonName: "dev1", Self: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, err := a.IssueDevice(r)
			require.NoError(t, err)
			server, client := net.Pipe()
			defer client.Close()
			done := make(chan []*x509.Certificate, 1)
			go func() {
				defer server.Close()
				c := tls.Server(server, &tls.Config{GetCertificate: a.GetCertificate, ClientAuth: tls.RequestClientCert})
				if c.Handshake() != nil {
					close(done)
					return
				}
				done <- c.ConnectionState().PeerCertificates
			}()
			c := tls.Client(client, &tls.Config{RootCAs: a.RootPool(), ServerName: "x.azure-devices.net", Certificates: []tls.Certificate{i.TLS()}, MaxVersion: tls.VersionTLS12})
			require.NoError(t, c.Handshake())
			peer := <-done
			require.Equal(t, i.SHA256, second(Thumbprints(peer[0])))
			require.IsType(t, &ecdsa.PublicKey{}, c.ConnectionState().PeerCertificates[0].PublicKey)
		})
	}
}

func second(_, b string) string { return b }
