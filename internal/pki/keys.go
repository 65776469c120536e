package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// KeyType names the key of a certificate that is to be made.
type KeyType string

// The key types.
const (
	ECDSA   KeyType = "ecdsa"   // P-256, the default: made in no time
	RSA2048 KeyType = "rsa2048" // as the vendors' openssl commands make; takes up to a second
)

// newKey makes a private key; an empty type is ECDSA.
func newKey(t KeyType) (crypto.Signer, error) {
	switch t {
	case ECDSA, "":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	default:
		return nil, badRequest("unknown key type %q: it is %s or %s", t, ECDSA, RSA2048)
	}
}

// encodeKey writes RSA keys as PKCS#1 and EC keys as SEC1: every embedded stack reads these, older ones
// nothing else.
func encodeKey(key crypto.Signer) ([]byte, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}), nil
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(k)
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
	default:
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
	}
}

// ParseKey reads the first private key of a PEM file: PKCS#1, PKCS#8 or SEC1, RSA, ECDSA or Ed25519.
// Encrypted keys are refused with the command that decrypts them.
func ParseKey(data []byte) (crypto.Signer, error) {
	if len(data) > maxPEM {
		return nil, fmt.Errorf("key file of %d bytes, at most %d are read", len(data), maxPEM)
	}
	var other []string
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, errors.New("the private key is encrypted: decrypt it with  openssl pkey -in KEY -out PLAIN.key")
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			other = append(other, block.Type)
			continue
		}
		return parseKeyDER(block)
	}
	if len(other) > 0 {
		return nil, fmt.Errorf("no PRIVATE KEY block, only %s", strings.Join(other, ", "))
	}
	return nil, errors.New("no complete PEM block with a private key: is a line missing or broken?")
}

func parseKeyDER(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	default:
		return nil, fmt.Errorf("private key of type %T: RSA, ECDSA and Ed25519 are known", key)
	}
}

// belongs reports whether c certifies key.
func belongs(key crypto.Signer, c *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// newSerial returns a positive serial number of 127 random bits (RFC 5280, section 4.1.2.2: at most 20 octets).
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return n.Add(n, big.NewInt(1)), nil
}

// encodeCertificates writes certificates one after another, in order.
func encodeCertificates(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}
