package pki

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the platforms compare SHA-1 thumbprints
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Thumbprints returns the SHA-1 (40) and SHA-256 (64) thumbprints of c's DER form in upper-case hex digits
// without separators, the form in which IoT Hub and IoTDA register them.
func Thumbprints(c *x509.Certificate) (sha1Hex, sha256Hex string) {
	one, two := sha1.Sum(c.Raw), sha256.Sum256(c.Raw) //nolint:gosec // see above
	return fmt.Sprintf("%X", one), fmt.Sprintf("%X", two)
}

// maxPEM bounds what ParseCertificates reads.
const maxPEM = 1 << 20

// ParseCertificates reads certificates from PEM (any number, private keys and text between them are
// skipped), from DER, or from either in base64, as the vendors' APIs take them. At least one must be there;
// at most 1 MiB is read.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	if len(data) > maxPEM {
		return nil, fmt.Errorf("certificate data of %d bytes, at most %d are read", len(data), maxPEM)
	}
	if !isPEM(data) {
		return parseDER(data)
	}
	return parsePEM(data)
}

func isPEM(data []byte) bool { return bytes.Contains(data, []byte("-----BEGIN")) }

func parsePEM(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	var other []string
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			other = append(other, block.Type)
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	switch {
	case len(certs) > 0:
		return certs, nil
	case len(other) > 0:
		return nil, fmt.Errorf("no CERTIFICATE block, only %s", strings.Join(other, ", "))
	default:
		return nil, errors.New("no complete PEM block: is a line missing or broken?")
	}
}

func parseDER(data []byte) ([]*x509.Certificate, error) {
	der := data
	text := strings.Join(strings.Fields(string(data)), "")
	if raw, err := base64.StdEncoding.DecodeString(text); err == nil && len(raw) > 0 {
		if isPEM(raw) { // what azure-iot-sdk-node's own test enrolls
			return parsePEM(raw)
		}
		der = raw
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("neither PEM nor a DER certificate: %w", err)
	}
	return []*x509.Certificate{c}, nil
}
