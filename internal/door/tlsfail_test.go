package door

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"math/big"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Each way in which a handshake fails, against crypto/tls itself: its errors have no types to go by.
func TestHandshakeRefusals(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p224, err := newAuthority().issue("x", nil)
	require.NoError(t, err)
	mismatched := &tls.Certificate{Certificate: p224.Certificate, PrivateKey: wrongKey{p224.PrivateKey.(crypto.Signer), key}}
	// Public keys as OpenSSL makes them (RFC 8410; SEC 1 with the curve secp256k1).
	ed448 := join([]byte{0x30, 0x43, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x71, 0x03, 0x3a, 0x00}, make([]byte, 57))
	koblitz := bytes.Replace(publicDER(t, key), []byte{0x30, 0x13}, []byte{0x30, 0x10}, 1)
	koblitz = bytes.Replace(koblitz, []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}, []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a}, 1)
	koblitz[1] -= 3
	untrusting := func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }
	for name, row := range map[string]struct {
		sni    string
		change func(*tls.Config)
		rule   rule.ID
		alert  string // what the client is told, where it is told anything
	}{
		"untrusted root":     {hubName, untrusting, "TLS-1/bad-certificate", ""},
		"untrusted, no name": {"", func(c *tls.Config) { c.InsecureSkipVerify, c.ServerName = false, "192.0.2.1"; untrusting(c) }, "TLS-1/no-name", ""},
		"old version":        {hubName, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, "TLS-2/version", "protocol version"},
		"no common suite": {hubName, func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
		}, "TLS-3/suite", "handshake failure"},
		"suites of the other key": {hubName, func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		}, "TLS-3/suite", "handshake failure"},
		"forbidden name":            {"forbidden.example", nil, "TLS-5/name", "unrecognized name"},
		"negative serial":           {hubName, withCertificate(handmade(t, key, big.NewInt(-7), publicDER(t, key))), "TLS-7/parse", "decoding"},
		"Ed448 key":                 {hubName, withCertificate(handmade(t, key, big.NewInt(7), ed448)), "TLS-7/key", "unsupported certificate"},
		"a curve that is not known": {hubName, withCertificate(handmade(t, key, big.NewInt(7), koblitz)), "TLS-7/parse", "decoding"},
		"wrong key":                 {hubName, withCertificate(mismatched), "TLS-7/proof", "decrypt"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				conn, err := r.tls(r.Ports().MQTTS, row.sni, func(c *tls.Config) {
					c.MaxVersion = version
					if row.change != nil {
						row.change(c)
					}
				})
				if err == nil { // TLS 1.3 tells the client with its first read
					_, err = conn.Read(make([]byte, 1))
				}
				require.Error(t, err)
				require.ErrorContains(t, err, row.alert)
				_ = conn.Close()
				e := r.refused(row.rule)
				require.NotEmpty(t, e.Properties["versions"])
				require.NotEmpty(t, e.Properties["suites"])
				failed := r.event(journal.TLS, "")
				require.Equal(t, e.Conn, failed.Conn)
				require.Contains(t, failed.Detail, "handshake failed")
				rule.Proves(t, row.rule)
			})
		}
	}
}

// wrongKey claims to be the key of a certificate and signs with another one.
type wrongKey struct{ claimed, used crypto.Signer }

func (k wrongKey) Public() crypto.PublicKey { return k.claimed.Public() }
func (k wrongKey) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.used.Sign(r, digest, opts)
}

// A client that signs the handshake with SHA-1: in TLS 1.2 CertificateVerify goes in the clear, so that the
// algorithm which it names can be changed on the way.
func TestAHandshakeSignedWithSHA1(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cert, err := newAuthority().issue("dev-01", nil)
	require.NoError(t, err)
	client := tls.Client(&weakened{Conn: r.tcp(r.Ports().MQTTS)}, &tls.Config{ServerName: hubName, MaxVersion: tls.VersionTLS12,
		RootCAs: newAuthority().pool, Certificates: []tls.Certificate{*cert}})
	require.ErrorContains(t, client.Handshake(), "illegal parameter")
	r.refused("TLS-7/algorithm")
	rule.Proves(t, "TLS-7/algorithm")
}

// weakened names ecdsa_sha1 (RFC 8446, section 4.2.3) in a CertificateVerify, which has a record of its own.
type weakened struct{ net.Conn }

func (w *weakened) Write(b []byte) (int, error) {
	const record, verify = 22, 15
	changed := bytes.Clone(b)
	for rest := changed; len(rest) > 11; {
		n := 5 + int(rest[3])<<8 + int(rest[4])
		if rest[0] == record && rest[5] == verify {
			rest[9], rest[10] = 0x02, 0x03
		}
		rest = rest[min(n, len(rest)):]
	}
	return w.Conn.Write(changed)
}

// Alerts are read from the wire: a client that sends one in place of its next message.
func TestEveryAlertHasAnExplanation(t *testing.T) {
	t.Parallel()
	for alert, name := range alertNames {
		s := &sock{Conn: pipeEnd(t)}
		r := &rule.Refusal{}
		s.alertRefusal(r, hubName, alert)
		_, cause, ok := rule.NewTable(Rules).Cause(r.Rule)
		require.True(t, ok, "%s is told as %s, which is no cause", name, r.Rule)
		require.NotEmpty(t, cause.Fix)
	}
	require.Equal(t, "alert 255", alertName(255))
}

func pipeEnd(t *testing.T) net.Conn {
	a, b := net.Pipe()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a
}

func TestAnAlertOnTheWire(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		testAlertInTheClear(t, version)
	}
}

func testAlertInTheClear(t *testing.T, version uint16) {
	t.Helper()
	for alert, id := range map[byte]rule.ID{
		40: "TLS-1/handshake-failure", 42: "TLS-1/bad-certificate", 43: "TLS-1/unsupported-certificate",
		44: "TLS-1/certificate-revoked", 45: "TLS-1/certificate-expired", 46: "TLS-1/certificate-unknown",
		48: "TLS-1/unknown-ca", 49: "TLS-1/access-denied", 51: "TLS-1/decrypt-error", 70: "TLS-1/protocol-version",
		71: "TLS-1/insufficient-security", 80: "TLS-1/other", 90: "TLS-1/user-canceled",
	} {
		r := newRig(t)
		raw := r.tcp(r.Ports().MQTTS)
		// The client's hello is Go's, then comes an alert in the clear: so does TLS 1.2, and OpenSSL in 1.3.
		cut := &cutAfterHello{Conn: raw}
		client := tls.Client(cut, &tls.Config{ServerName: hubName, MaxVersion: version, RootCAs: newAuthority().pool})
		require.Error(t, client.Handshake())
		_, err := raw.Write([]byte{21, 3, 3, 0, 2, 2, alert})
		require.NoError(t, err)
		e := r.refused(id)
		require.Equal(t, alertNames[alert], e.Properties["alert"])
		require.Equal(t, hubName, e.Properties["sni"])
		_ = raw.Close()
		rule.Proves(t, id)
	}
}

// cutAfterHello lets the ClientHello through and then nothing in either direction.
type cutAfterHello struct {
	net.Conn
}

func (c *cutAfterHello) Read([]byte) (int, error) { return 0, io.EOF }
func (c *cutAfterHello) Close() error             { return nil }

func TestNotTLSOnATLSPort(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		bytes []byte
		rule  rule.ID
	}{
		"MQTT":    {connectPacket("dev-01", "user"), "TLS-4/mqtt"},
		"HTTP":    {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "TLS-4/http"},
		"garbage": {bytes.Repeat([]byte{0xa5}, 300), "TLS-4/other"},
		"zeros":   {make([]byte, 300), "TLS-4/other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			conn := r.tcp(r.Ports().MQTTS)
			_, err := conn.Write(row.bytes)
			require.NoError(t, err)
			require.Empty(t, requireClosed(t, conn))
			e := r.refused(row.rule)
			require.Contains(t, e.Seen, hex.EncodeToString(row.bytes[:1]))
			rule.Proves(t, row.rule)
		})
	}
	t.Run("HTTP on the HTTPS port is answered", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		conn := r.tcp(r.Ports().HTTPS[0])
		_, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		require.NoError(t, err)
		require.Contains(t, string(requireClosed(t, conn)), "HTTP/1.0 400 Bad Request")
		r.refused("TLS-4/http")
	})
	t.Run("a broken hello", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		conn := r.tcp(r.Ports().MQTTS)
		_, err := conn.Write([]byte{0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0xff})
		require.NoError(t, err)
		require.Equal(t, byte(21), requireClosed(t, conn)[0], "an alert")
		r.refused("TLS-8/protocol")
		rule.Proves(t, "TLS-8/protocol")
	})
}

// hello builds a TLS 1.2 ClientHello (RFC 5246, section 7.4.1.2) for what Go's client cannot be made to send.
func hello(suites []uint16, extensions ...[]byte) []byte {
	body := join([]byte{3, 3}, make([]byte, 32), []byte{0, byte(len(suites) >> 7), byte(2 * len(suites))})
	for _, s := range suites {
		body = append(body, byte(s>>8), byte(s))
	}
	all := bytes.Join(extensions, nil)
	body = join(body, []byte{1, 0, byte(len(all) >> 8), byte(len(all))}, all)
	message := join([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body)
	return join([]byte{22, 3, 1, byte(len(message) >> 8), byte(len(message))}, message)
}

// extension with a list of two-byte values.
func extension(kind byte, values ...uint16) []byte {
	n := byte(2 * len(values))
	b := []byte{0, kind, 0, n + 2, 0, n}
	for _, v := range values {
		b = append(b, byte(v>>8), byte(v))
	}
	return b
}

func TestHellosThatNothingFits(t *testing.T) {
	t.Parallel()
	const (
		groups, signatures     = 10, 13
		fallback               = 0x5600
		p256, brainpool        = 23, 26
		ecdsaSHA256, rsaSHA256 = 0x0403, 0x0401
		suite                  = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	)
	for id, sent := range map[rule.ID][]byte{
		"TLS-2/fallback":  hello([]uint16{suite, fallback}, extension(groups, p256), extension(signatures, ecdsaSHA256)),
		"TLS-3/signature": hello([]uint16{suite}, extension(groups, p256), extension(signatures, rsaSHA256)),
		"TLS-3/suite":     hello([]uint16{suite}, extension(groups, brainpool), extension(signatures, ecdsaSHA256)),
		"TLS-3/curve": hello([]uint16{suite, tls.TLS_AES_128_GCM_SHA256}, extension(groups, brainpool), extension(signatures, ecdsaSHA256),
			[]byte{0, 43, 0, 3, 2, 3, 4},                         // supported_versions: TLS 1.3
			[]byte{0, 51, 0, 8, 0, 6, 0, brainpool, 0, 2, 1, 2}), // key_share
	} {
		r := newRig(t)
		conn := r.tcp(r.Ports().MQTTS)
		_, err := conn.Write(sent)
		require.NoError(t, err)
		answer := requireClosed(t, conn)
		require.Equal(t, []byte{21, 3, 3, 0, 2, 2}, answer[len(answer)-7:len(answer)-1], "an alert at last")
		require.Contains(t, r.refused(id).Properties["suites"], tls.CipherSuiteName(suite))
		rule.Proves(t, id)
	}
}
