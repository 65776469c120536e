package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
)

// The ways in which a server's certificate is wrong on purpose.
const (
	ServerExpired             = "expired"
	ServerNotYetValid         = "not-yet-valid"
	ServerWrongName           = "wrong-name"
	ServerUnknownCA           = "unknown-ca"
	ServerMissingIntermediate = "missing-intermediate"
)

// otherServer is the name in a certificate of the kind wrong-name.
const otherServer = "another-host.badcert.localhost"

// BrokenServerKinds lists what BrokenServer makes.
func BrokenServerKinds() []string {
	return []string{ServerExpired, ServerNotYetValid, ServerWrongName, ServerUnknownCA, ServerMissingIntermediate}
}

// BrokenServer returns what GetCertificate returns, with one thing wrong that a careful client refuses. It
// is made anew each time.
func (a *Authority) BrokenServer(kind string, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if !slices.Contains(BrokenServerKinds(), kind) {
		return nil, badRequest("server certificate %q: it is one of %v", kind, BrokenServerKinds())
	}
	good, err := a.GetCertificate(hello)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{SerialNumber: serial, Subject: good.Leaf.Subject, NotBefore: good.Leaf.NotBefore, NotAfter: good.Leaf.NotAfter,
		KeyUsage: good.Leaf.KeyUsage, ExtKeyUsage: good.Leaf.ExtKeyUsage, BasicConstraintsValid: true,
		DNSNames: good.Leaf.DNSNames, IPAddresses: good.Leaf.IPAddresses}
	issuer, signer := a.issuer.cert, a.issuer.key
	now := a.now()
	switch kind {
	case ServerExpired:
		leaf.NotBefore, leaf.NotAfter = now.Add(-2*monthOff), now.Add(-monthOff)
	case ServerNotYetValid:
		leaf.NotBefore, leaf.NotAfter = now.Add(monthOff), now.Add(2*monthOff)
	case ServerWrongName:
		leaf.Subject.CommonName, leaf.DNSNames, leaf.IPAddresses = otherServer, []string{otherServer}, nil
	case ServerUnknownCA:
		issuer, signer, err = a.stranger(nil, nil)
	case ServerMissingIntermediate:
		issuer, signer, err = a.stranger(issuer, signer)
	}
	if err != nil {
		return nil, fmt.Errorf("server certificate %s: %w", kind, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, good.Leaf.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("server certificate %s: %w", kind, err)
	}
	bad := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: good.PrivateKey}
	if kind != ServerUnknownCA && kind != ServerMissingIntermediate {
		bad.Certificate = append(bad.Certificate, good.Certificate[1:]...)
	}
	return bad, nil
}

// stranger makes a CA that no client has: signed by parent, or where that is nil by itself, under the name
// of our root.
func (a *Authority) stranger(parent *x509.Certificate, signer crypto.Signer) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	ca := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{Organization: []string{"fakecloud (tests only)"}, CommonName: "fakecloud intermediate"},
		NotBefore: a.issuer.cert.NotBefore, NotAfter: a.issuer.cert.NotAfter, KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true}
	if parent == nil {
		ca.Subject = a.issuer.root.Subject
		parent, signer = ca, key
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	made, err := x509.ParseCertificate(der)
	return made, key, err
}
