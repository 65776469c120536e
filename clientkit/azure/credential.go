package azure

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	wire "github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Credential proves a device's identity. Make one with [X509], [SymmetricKey] or [Token]; the zero value
// is refused.
type Credential struct {
	cert  *tls.Certificate
	key   []byte
	token string
}

// X509 is a client certificate with its private key. The chain is sent as it stands in cert, so it must
// hold every intermediate up to the CA that the service knows.
func X509(cert tls.Certificate) Credential { return Credential{cert: &cert} }

// SymmetricKey is a device's key in base64, as the portal shows it: the device's own, or one made by
// [DeriveDeviceKey].
func SymmetricKey(key string) (Credential, error) {
	raw, err := decodeKey(key)
	if err != nil {
		return Credential{}, err
	}
	return Credential{key: raw}, nil
}

// Token is a ready SAS token, for devices that do not hold their key. It is not renewed: when it expires
// the hub ends the connection.
func Token(sas string) (Credential, error) {
	if _, err := wire.ParseSAS(sas); err != nil {
		return Credential{}, fmt.Errorf("azure: SAS token: %w", err)
	}
	return Credential{token: sas}, nil
}

// DeriveDeviceKey returns the base64 key of a device in an enrollment group with symmetric keys:
// HMAC-SHA256 of the registration ID under the group's key (Learn "Symmetric key attestation"). The
// registration ID counts as written: another case gives another key.
func DeriveDeviceKey(groupKey, registrationID string) (string, error) {
	raw, err := decodeKey(groupKey)
	if err != nil {
		return "", fmt.Errorf("group key: %w", err)
	}
	if registrationID == "" {
		return "", errors.New("azure: deriving a device key needs a registration ID")
	}
	return base64.StdEncoding.EncodeToString(wire.DeriveKey(raw, registrationID)), nil
}

// decodeKey never puts the key into its error.
func decodeKey(key string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(key)
	switch {
	case err != nil:
		return nil, errors.New("azure: the symmetric key is not base64; copy it whole, with the = at its end")
	case len(raw) == 0:
		return nil, errors.New("azure: the symmetric key is empty")
	}
	return raw, nil
}

func (c Credential) check() error {
	if c.cert == nil && c.key == nil && c.token == "" {
		return errors.New("azure: no credential: set X509, SymmetricKey or Token")
	}
	if c.cert != nil && (len(c.cert.Certificate) == 0 || c.cert.PrivateKey == nil) {
		return errors.New("azure: the X.509 credential needs a certificate and its private key")
	}
	return nil
}

// commonName returns the leaf's CN, or nothing.
func (c Credential) commonName() string {
	if c.cert == nil || len(c.cert.Certificate) == 0 {
		return ""
	}
	leaf := c.cert.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(c.cert.Certificate[0]); err != nil {
			return ""
		}
	}
	return leaf.Subject.CommonName
}

// password returns the MQTT password: a SAS token over resource, or nothing for X.509.
func (c Credential) password(resource string, expiry time.Time, policy string) string {
	switch {
	case c.key != nil:
		return wire.FormatSAS(resource, c.key, expiry, policy)
	default:
		return c.token
	}
}

// renewable reports whether a fresh token can be made.
func (c Credential) renewable() bool { return c.key != nil }

// webSocket returns path and query of MQTT over WebSocket, or nothing. Without a certificate the service is told
// to ask for none, as the Java SDK does.
func (c Credential) webSocket(use bool) string {
	switch {
	case !use:
		return ""
	case c.cert == nil:
		return "/$iothub/websocket?iothub-no-client-cert=true"
	}
	return "/$iothub/websocket"
}

// tlsConfig completes a copy of base for one server.
func (c Credential) tlsConfig(base *tls.Config, host string) *tls.Config {
	cfg := &tls.Config{}
	if base != nil {
		cfg = base.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	if c.cert != nil {
		// Not Certificates: those are withheld when the server's list of accepted CAs lacks their issuer,
		// and the services judge the certificate after the handshake.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return c.cert, nil
		}
	}
	return cfg
}
