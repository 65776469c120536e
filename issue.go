package fakecloud

import (
	"crypto/tls"

	"github.com/fakecloud/fakecloud/internal/pki"
)

// DeviceCertificate is a certificate for a device, with its key.
type DeviceCertificate struct{ issued pki.Issued }

// CertPEM returns the leaf.
func (d DeviceCertificate) CertPEM() []byte { return []byte(d.issued.Certificate) }

// ChainPEM returns the leaf followed by its issuers, as vendors' chain files have it.
func (d DeviceCertificate) ChainPEM() []byte { return []byte(d.issued.Chain) }

// KeyPEM returns the private key, unencrypted.
func (d DeviceCertificate) KeyPEM() []byte { return []byte(d.issued.PrivateKey) }

// TLS returns leaf, issuers and key for a tls.Config.
func (d DeviceCertificate) TLS() tls.Certificate { return d.issued.TLS() }

// Thumbprints returns SHA-1 and SHA-256 of the leaf in upper-case hexadecimal, as registries take them.
func (d DeviceCertificate) Thumbprints() (sha1, sha256 string) { return d.issued.SHA1, d.issued.SHA256 }

// IssueDevice makes a device certificate with that common name, signed by the default world's demo-ca,
// which the group demo-x509 of its DPS and its hub trust. It is valid for a year.
func (c *Cloud) IssueDevice(commonName string) (DeviceCertificate, error) {
	issued, err := c.pki.IssueDevice(pki.DeviceRequest{CommonName: commonName})
	return DeviceCertificate{issued}, err
}

// DemoCA returns certificate and key of demo-ca in PEM. The key is public and for tests only.
func (c *Cloud) DemoCA() (certificate, key []byte) { return pki.DemoPEM() }
