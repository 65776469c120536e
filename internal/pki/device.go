package pki

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"time"
)

// Days of a device certificate: the vendors' commands make them for a year, and begin now; a day earlier
// keeps a clock that is a little behind from refusing it.
const (
	deviceDays = 365
	deviceBack = 24 * time.Hour
)

// DeviceRequest describes a device certificate to be issued.
type DeviceRequest struct {
	// CommonName is the device id as the platform wants it, 1 to 64 characters.
	CommonName string
	// CA is the device CA that signs; empty is demo-ca.
	CA string
	// Key is made for the device; empty is ECDSA.
	Key KeyType
	// NotBefore and NotAfter are yesterday and in 365 days where zero.
	NotBefore, NotAfter time.Time
	// X509v1 makes a certificate without extensions, as "openssl x509 -req" does without -extfile.
	X509v1 bool
	// Self makes it self-signed, for registration by thumbprint; CA must be empty.
	Self bool
}

// Issued is a certificate with all that a device needs to present it.
type Issued struct {
	Certificate string // PEM of the leaf
	Chain       string // PEM of the leaf, its CA and the CAs above it, as the vendors' chain files have it
	PrivateKey  string // PEM: PKCS#1 or SEC1
	SHA1        string // thumbprint, 40 upper-case hex digits
	SHA256      string // thumbprint, 64 upper-case hex digits

	// Leaf is nil for a certificate that crypto/x509 cannot parse.
	Leaf    *x509.Certificate
	Issuers []*x509.Certificate
	Key     crypto.Signer

	der []byte
}

// TLS returns the certificate with its chain for a Go client.
func (i Issued) TLS() tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{i.der}, PrivateKey: i.Key, Leaf: i.Leaf}
	for _, issuer := range i.Issuers {
		c.Certificate = append(c.Certificate, issuer.Raw)
	}
	return c
}

// IssueDevice makes a key and a certificate for a device. Nothing of it is kept. RSA keys take up to a second.
func (d *DeviceCAs) IssueDevice(r DeviceRequest) (Issued, error) {
	return d.issue(r, blank{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// Proof makes a proof-of-possession certificate: the platform's verification code as common name, signed
// by the CA's key (seed sheets: DPS and IoT Hub "verify", IoTDA verificationCert, MindSphere verify).
func (d *DeviceCAs) Proof(ca, code string) (Issued, error) {
	if ca == "" {
		ca = DemoCA
	}
	return d.issue(DeviceRequest{CommonName: code, CA: ca}, blank{})
}

// issue signs b for the request with the CA that it names.
func (d *DeviceCAs) issue(r DeviceRequest, b blank) (Issued, error) {
	if r.Self {
		if r.CA != "" {
			return Issued{}, badRequest("a self-signed certificate has no CA: give one or the other")
		}
		return d.issueBy(r, b, CA{})
	}
	if r.CA == "" {
		r.CA = DemoCA
	}
	ca, err := d.issuingCA(r.CA)
	if err != nil {
		return Issued{}, err
	}
	return d.issueBy(r, b, ca)
}

// issueBy completes b from the request and signs it, with its own key where r.Self.
func (d *DeviceCAs) issueBy(r DeviceRequest, b blank, ca CA) (Issued, error) {
	if err := checkCommonName(r.CommonName); err != nil {
		return Issued{}, err
	}
	now := d.now()
	var err error
	if b.from, b.to, err = validity(r.NotBefore, r.NotAfter, now.Add(-deviceBack), now.AddDate(0, 0, deviceDays)); err != nil {
		return Issued{}, err
	}
	key, err := newKey(r.Key)
	if err != nil {
		return Issued{}, err
	}
	b.subject, b.public, b.v1 = pkix.Name{CommonName: r.CommonName}, key.Public(), r.X509v1
	if r.Self {
		return b.issued(key, nil, key)
	}
	return b.issued(key, ca.Chain(), ca.key)
}

// issued signs b with the first issuer's key and lays everything out.
func (b blank) issued(key crypto.Signer, issuers []*x509.Certificate, signer crypto.Signer) (Issued, error) {
	var parent *x509.Certificate
	if len(issuers) > 0 {
		parent = issuers[0]
	}
	der, err := b.der(parent, signer)
	if err != nil {
		return Issued{}, fmt.Errorf("certificate %q: %w", b.subject.CommonName, err)
	}
	private, err := encodeKey(key)
	if err != nil {
		return Issued{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil && !b.negative {
		return Issued{}, fmt.Errorf("certificate %q: %w", b.subject.CommonName, err)
	}
	i := Issued{PrivateKey: string(private), Leaf: leaf, Issuers: issuers, Key: key, der: der}
	i.SHA1, i.SHA256 = Thumbprints(&x509.Certificate{Raw: der})
	i.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	i.Chain = i.Certificate + string(encodeCertificates(issuers...))
	return i, nil
}
