package door

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const hubUser = hubName + "/dev-01/?api-version=2021-04-12"

func withCertificate(cert *tls.Certificate) func(*tls.Config) {
	return func(c *tls.Config) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
}

func TestHandshakeIsJournalled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cert, err := newAuthority().issue("dev-01", nil)
	require.NoError(t, err)
	conn := r.mustTLS(r.Ports().MQTTS, hubName, withCertificate(cert))
	peer := requireServed(t, conn, r.hub, connectPacket("dev-01", hubUser))
	require.Equal(t, hubName, peer.Endpoint)
	require.Equal(t, hubName, peer.SNI)
	require.Equal(t, "mqtts", peer.Transport)
	require.EqualValues(t, tls.VersionTLS13, peer.TLSVersion)
	require.Empty(t, peer.Door)
	require.Equal(t, conn.LocalAddr().String(), peer.Remote.String())
	require.Len(t, peer.Certificates, 1)

	e := r.event(journal.TLS, "")
	require.Equal(t, peer.Conn, e.Conn)
	require.Equal(t, "iothub", e.Platform)
	require.Equal(t, hubName, e.Endpoint)
	sum := sha256.Sum256(cert.Certificate[0])
	require.Equal(t, hex.EncodeToString(sum[:]), e.Properties["clientSHA256"])
	require.Equal(t, "CN=dev-01", e.Properties["clientCertificate"])
	require.Equal(t, "TLS 1.3", e.Properties["version"])
	require.Equal(t, hubName, e.Properties["sni"])
	require.Contains(t, e.Properties["suite"], "TLS_")
}

// Whatever a device presents passes the handshake: the platform judges it, in its own words.
func TestNoClientCertificateIsJudgedInTheHandshake(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	selfSigned := func() *tls.Certificate {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		template := &x509.Certificate{SerialNumber: big.NewInt(7)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		require.NoError(t, err)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	spoilt := func(change func(*x509.Certificate)) *tls.Certificate {
		cert, err := newAuthority().issue("dev-01", change)
		require.NoError(t, err)
		return cert
	}
	for name, cert := range map[string]*tls.Certificate{
		"none":            {},
		"self-signed":     selfSigned(),
		"no names":        spoilt(func(c *x509.Certificate) { c.DNSNames = nil }),
		"expired":         spoilt(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		"not valid yet":   spoilt(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }),
		"server use only": spoilt(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		"authority":       spoilt(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }),
		"version 1":       versionOne(t),
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			conn := r.mustTLS(r.Ports().MQTTS, hubName, func(c *tls.Config) {
				withCertificate(cert)(c)
				c.MinVersion, c.MaxVersion = version, version
			})
			peer := requireServed(t, conn, r.hub, connectPacket("dev-01", hubUser))
			require.Len(t, peer.Certificates, len(cert.Certificate), name)
			require.Equal(t, version, peer.TLSVersion)
		}
	}
	refusals, _ := r.journal.Select(journal.Filter{Kind: journal.Refused})
	require.Empty(t, refusals)
}

// tbsV1 is a TBSCertificate without version and extensions (RFC 5280, section 4.1), as
// `openssl x509 -req` without -extfile makes it.
type tbsV1 struct {
	Serial    *big.Int
	Algorithm asn1.RawValue
	Issuer    asn1.RawValue
	Validity  struct{ From, To time.Time }
	Subject   asn1.RawValue
	Key       asn1.RawValue
}

type signed struct {
	TBS       asn1.RawValue
	Algorithm asn1.RawValue
	Signature asn1.BitString
}

// versionOne makes an X.509 v1 certificate.
func versionOne(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return handmade(t, key, big.NewInt(7), publicDER(t, key))
}

func publicDER(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return der
}

// handmade signs a v1 certificate that crypto/x509 would not make.
func handmade(t *testing.T, key crypto.Signer, serial *big.Int, public []byte) *tls.Certificate {
	t.Helper()
	root := newAuthority()
	ecdsaSHA256, err := asn1.Marshal(struct{ OID asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}})
	require.NoError(t, err)
	tbs := tbsV1{Serial: serial, Algorithm: asn1.RawValue{FullBytes: ecdsaSHA256}, Issuer: asn1.RawValue{FullBytes: root.cert.RawSubject},
		Subject: asn1.RawValue{FullBytes: root.cert.RawSubject}, Key: asn1.RawValue{FullBytes: public}}
	tbs.Validity.From, tbs.Validity.To = time.Now().UTC().Add(-time.Hour), time.Now().UTC().Add(time.Hour)
	raw, err := asn1.Marshal(tbs)
	require.NoError(t, err)
	sum := sha256.Sum256(raw)
	signature, err := root.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	require.NoError(t, err)
	der, err := asn1.Marshal(signed{asn1.RawValue{FullBytes: raw}, tbs.Algorithm, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	require.NoError(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Deadlines, in a bubble whose clock jumps: the client is a pipe.
func TestHandshakeThatNeverEnds(t *testing.T) {
	for name, row := range map[string]struct {
		bytes []byte
		rule  rule.ID
	}{
		"silent":          {nil, "TLS-6/silent"},
		"half a hello":    {[]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01}, "TLS-6/timeout"},
		"half, then gone": {[]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01}, "TLS-6/closed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, r := testConfig(t)
				r.Door = newDoor(cfg)
				client, served := net.Pipe()
				r.take(served, MQTTS)
				start := time.Now()
				if row.bytes != nil {
					_, err := client.Write(row.bytes)
					require.NoError(t, err)
				}
				if row.rule == "TLS-6/closed" {
					require.NoError(t, client.Close())
				} else {
					requireClosed(t, client)
					require.Equal(t, 10*time.Second, time.Since(start))
				}
				e := r.refused(row.rule)
				require.NotEmpty(t, e.Detail)
				rule.Proves(t, row.rule)
				require.NoError(t, r.Close(t.Context()))
			})
		})
	}
}

func TestAPortCheckIsNoRefusal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	require.NoError(t, r.tcp(r.Ports().MQTTS).Close())
	e := r.event(journal.Closed, "")
	require.Contains(t, e.Detail, "without sending a byte")
	refusals, _ := r.journal.Select(journal.Filter{Kind: journal.Refused})
	require.Empty(t, refusals)
}

func TestPolicyPerEndpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) {
		require.NoError(t, c.Hosts.Put(hosts.IoTDA, "iotda", "fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com"))
		c.Platforms = append(c.Platforms, Platform{Name: hosts.IoTDA, MQTT: newCloud(), MinTLS: tls.VersionTLS11})
	})
	old := func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }
	conn := r.mustTLS(r.Ports().MQTTS, "fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com", old)
	require.EqualValues(t, tls.VersionTLS11, conn.ConnectionState().Version)
	for _, name := range []string{hubName, "localhost", ""} {
		_, err := r.tls(r.Ports().MQTTS, name, old)
		require.Error(t, err, name)
	}
	// Azure's CBC suite that Go leaves out by default; the test's certificates are ECDSA.
	r.mustTLS(r.Ports().MQTTS, hubName, func(c *tls.Config) {
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}
	})
}

func TestSessionsAreResumedPerEndpointOnly(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		r := newRig(t)
		cert, err := newAuthority().issue("dev-01", nil)
		require.NoError(t, err)
		cache := &oneSession{}
		connect := func(name, user string, c *cloud) (resumed bool) {
			conn := r.mustTLS(r.Ports().MQTTS, name, func(config *tls.Config) {
				withCertificate(cert)(config)
				config.ClientSessionCache, config.MaxVersion = cache, version
			})
			peer := requireServed(t, conn, c, connectPacket("dev-01", user))
			require.Len(t, peer.Certificates, 1, "the certificate is known on resumed connections too")
			resumed = conn.ConnectionState().DidResume
			require.NoError(t, conn.Close())
			return resumed
		}
		require.False(t, connect(hubName, hubUser, r.hub))
		require.True(t, connect(hubName, hubUser, r.hub))
		require.False(t, connect(dpsName, "0ne/registrations/x/", r.dps), "a hub's session at DPS")
	}
}

// oneSession offers the newest session to every server.
type oneSession struct{ session *tls.ClientSessionState }

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool)    { return o.session, o.session != nil }
func (o *oneSession) Put(_ string, session *tls.ClientSessionState) { o.session = session }

func TestKeyLog(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	r := newRig(t, func(c *Config) { c.KeyLog = &log })
	conn := r.mustTLS(r.Ports().MQTTS, hubName, nil)
	requireServed(t, conn, r.hub, connectPacket("dev-01", hubUser))
	require.Contains(t, log.String(), "CLIENT_TRAFFIC_SECRET_0 ")
}
