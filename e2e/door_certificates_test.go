package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// defaultNames are the host names of the default world.
var defaultNames = []string{
	"global.azure-devices-provisioning.net", "global.azure-devices-provisioning.cn",
	"fakecloud-dps.azure-devices-provisioning.net", "demo2-dps.azure-devices-provisioning.net",
	"fakecloud-hub.azure-devices.net", "fakecloud-hub.device.azure-devices.net",
	"fakecloud-hub.service.azure-devices.net", "fakecloud-hub.azure-devices.cn",
	"conn-demo2-iothub.azure-devices.net", "localhost",
}

// The server's certificate verifies by every name and address, with both kinds of key. dialAt verifies.
func TestDoorServerCertificates(t *testing.T) {
	t.Parallel()
	for kind, algorithm := range map[string]x509.PublicKeyAlgorithm{"ecdsa": x509.ECDSA, "vendor": x509.RSA} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t, fakecloud.WithServerKey(kind))
			for _, name := range defaultNames {
				c := dialAt(t, cloud, "127.0.0.1", via{name: name})
				state := c.Conn.(*tls.Conn).ConnectionState()
				require.Equal(t, algorithm, state.PeerCertificates[0].PublicKeyAlgorithm)
				require.NoError(t, c.Close())
			}
			seen := map[string]bool{}
			for _, way := range entrances(t) { // those of the loopback; this instance listens nowhere else
				if way.address == "127.0.0.1" || way.address == "::1" {
					seen[way.address] = true
					require.NoError(t, dialAt(t, cloud, way.address, via{}).Close())
				}
			}
			require.True(t, seen["127.0.0.1"])
		})
	}
}

// Whoever trusts the root does not trust it for the rest of the world: it is constrained to the emulated
// and to private names (RFC 5280, section 4.2.1.10).
func TestDoorRootIsConstrained(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cloud := fakecloud.Start(t, fakecloud.WithDataDir(dir))
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "pki", "root.pem"), filepath.Join(dir, "pki", "root.key"))
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, "pki", "root.pem"))
	require.NoError(t, err)
	require.Equal(t, string(cloud.RootsPEM()), string(text))
	root, err := x509.ParseCertificate(pair.Certificate[0])
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	for name, good := range map[string]bool{
		globalDPS: true, "anything.azure-devices.net": true, "device.test": true,
		"www.example.com": false, "azure-devices.net.example.com": false, "login.microsoftonline.com": false,
	} {
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: name},
			DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, root, key.Public(), pair.PrivateKey)
		require.NoError(t, err)
		leaf, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		_, err = leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name})
		var invalid x509.CertificateInvalidError
		switch {
		case good:
			require.NoError(t, err, name)
		default:
			require.True(t, errors.As(err, &invalid), "%s: %v", name, err)
			require.Equal(t, x509.CANotAuthorizedForThisName, invalid.Reason, name)
		}
	}
}

// v1 makes an X.509 version 1 certificate, as `openssl x509 -req` does without an extension file:
// crypto/x509 reads them and makes none.
func v1(t *testing.T, name string, ca *signer) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	subject, err := asn1.Marshal(pkix.Name{CommonName: name}.ToRDNSequence())
	require.NoError(t, err)
	algorithm := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}} // ecdsa-with-SHA256
	body, err := asn1.Marshal(struct {
		Serial          *big.Int
		Algorithm       pkix.AlgorithmIdentifier
		Issuer          asn1.RawValue
		Validity        struct{ From, To time.Time }
		Subject, Public asn1.RawValue
	}{big.NewInt(77), algorithm, asn1.RawValue{FullBytes: ca.cert.RawSubject},
		struct{ From, To time.Time }{time.Now().Add(-time.Hour).UTC(), time.Now().Add(time.Hour).UTC()},
		asn1.RawValue{FullBytes: subject}, asn1.RawValue{FullBytes: public}})
	require.NoError(t, err)
	digest := sha256.Sum256(body)
	sig, err := ecdsa.SignASN1(rand.Reader, ca.key, digest[:])
	require.NoError(t, err)
	der, err := asn1.Marshal(struct {
		Body      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: body}, algorithm, asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}})
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	require.Equal(t, 1, cert.Version)
	return &signer{cert, key}
}

// What the seeds' openssl commands make is taken all the way: version 1, and self-signed.
func TestDoorTakesTheVendorsCertificates(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	own := issueBy(t, "own-1", nil, false, nil)
	patch(t, cloud, "azure: {dps: [{name: fakecloud-dps, enrollments: [{registrationId: own-1, attestation: {x509: {primary: {pem: "+own.yaml()+"}}}}]}]}")
	for id, leaf := range map[string]*signer{"old-1": v1(t, "old-1", demoSigner(t, cloud)), "own-1": own} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			v := via{cert: leaf.tls(), max: version}
			hub := provision(t, cloud, enrollee{id: id, via: v}).State.AssignedHub
			v.name = hub
			hubConnect(t, dial(t, cloud, v), hub, id, nil)
		}
	}
	// An expired one passes TLS as well; it is the platform that refuses it.
	old := issueBy(t, "dev-1", demoSigner(t, cloud), false, expired)
	c := enrollee{id: "dev-1", via: via{cert: old.tls()}}.open(t, cloud)
	wantError(t, register(t, c, ""), 401002, "Invalid certificate\\.")
	refused(t, cloud, "DPS-15/cert-expired")
}

// A certificate and a key that do not belong together are told apart in the handshake.
func TestDoorCertificateOfAnotherKey(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	one, two := issueBy(t, "dev-1", demoSigner(t, cloud), false, nil), issueBy(t, "dev-1", demoSigner(t, cloud), false, nil)
	config := clientTLS(t, cloud, globalDPS, via{})
	config.MaxVersion = tls.VersionTLS12
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{one.cert.Raw}, PrivateKey: two.key}}
	client := tls.Client(tcp(t, "127.0.0.1", cloud.Ports().MQTTS), config)
	require.Error(t, client.Handshake())
	refused(t, cloud, "TLS-7/proof")
}

// A resumed session brings the certificate of the first one along, and every rule holds for it.
func TestDoorSessionResumption(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(fmt.Sprintf("%x", version), func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			config := clientTLS(t, cloud, "", via{name: globalDPS, cert: device(t, cloud, "dev-1"), max: version})
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			open := func(id string, resumed bool) *rawmqtt.Conn {
				client := tls.Client(tcp(t, "127.0.0.1", cloud.Ports().MQTTS), config)
				require.NoError(t, client.Handshake())
				require.Equal(t, resumed, client.ConnectionState().DidResume)
				return enrollee{id: id}.openOn(t, rawmqtt.New(client))
			}
			wantAssigning(t, register(t, open("dev-1", false), ""))
			r, _ := finish(t, open("dev-1", true), "")
			require.Equal(t, "assigned", r.Status)
			c := open("dev-2", true) // the certificate says dev-1
			wantError(t, register(t, c, ""), 401002, "Invalid certificate\\.")
			refused(t, cloud, "DPS-21/cn")
			rule.Proves(t, "DPS-1")
		})
	}
}
