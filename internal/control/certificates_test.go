package control

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"
)

func TestIssueDevice(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	issue := func(body string) *answer {
		return in.do(t, "POST", "/api/v1/pki/devices", body, "Content-Type", "application/json")
	}
	a := issue(`{"commonName":"dev-01","notAfter":"2040-01-01T00:00:00Z","x509v1":true}`)
	require.Equal(t, 200, a.status, a.body)
	var got Issued
	require.NoError(t, json.Unmarshal([]byte(a.body), &got))
	pair, err := tls.X509KeyPair([]byte(got.Chain), []byte(got.PrivateKey))
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	require.NoError(t, err)
	require.Equal(t, "dev-01", leaf.Subject.CommonName)
	require.Equal(t, 1, leaf.Version)
	require.Equal(t, 2040, leaf.NotAfter.Year())
	require.Len(t, got.SHA1, 40)
	require.Len(t, got.SHA256, 64)
	require.Len(t, pair.Certificate, 2)

	a = issue(`{"commonName":"dev-02","format":"pfx","password":"1234"}`)
	require.Equal(t, 200, a.status, a.body)
	require.Equal(t, "application/x-pkcs12", a.header.Get("Content-Type"))
	_, cert, chain, err := pkcs12.DecodeChain([]byte(a.body), "1234")
	require.NoError(t, err)
	require.Equal(t, "dev-02", cert.Subject.CommonName)
	require.Len(t, chain, 1)
}

func TestCertificateFiles(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	root := in.get(t, "/api/v1/ca.pem").body
	block, _ := pem.Decode([]byte(root))
	require.NotNil(t, block)
	require.Equal(t, root, in.get(t, "/api/v1/pki/root.pem").body)
	require.Equal(t, root, in.get(t, "/api/v1/pki/AmazonRootCA1.pem").body)
	gateways := in.get(t, "/api/v1/pki/azure-iot-test-only.root.ca.cert.pem").body
	require.Contains(t, gateways, "BEGIN CERTIFICATE")
	require.NotEqual(t, root, gateways)
	require.Contains(t, in.get(t, "/api/v1/pki/demo-ca.pem").body, "BEGIN CERTIFICATE")
	for _, path := range []string{"demo-ca.key", "root.key", "none.pem", "..%2Froot.pem", ".pem"} {
		a := in.get(t, "/api/v1/pki/"+path)
		require.Equal(t, 404, a.status, path)
		require.NotContains(t, a.body, "PRIVATE KEY")
	}
	require.Contains(t, in.get(t, "/api/v1/pki/none.pem").problem(t).Closest, "demo-ca")
}
