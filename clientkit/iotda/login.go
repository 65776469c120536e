package iotda

import (
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"time"

	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// SignType is how a password is made and judged.
type SignType byte

// The sign types.
const (
	SignUnchecked SignType = '0' // HMAC-SHA256; the platform does not judge the time stamp
	SignChecked   SignType = '1' // HMAC-SHA256; the time stamp must be the platform's hour
	SignSM3       SignType = '2' // HMAC-SM3; the time stamp must be the platform's hour
)

// Login is what a device says in CONNECT.
type Login struct {
	ClientID string
	Username string
	Password string
}

// GenerateLogin makes what Huawei's client id generator makes: {device_id}_0_{sign type}_{YYYYMMDDHH}, the device
// id, and the HMAC of the secret under the time stamp. A device with a certificate uses client id and user name,
// and no password; its secret may be anything.
func GenerateLogin(deviceID, secret string, sign SignType, at time.Time) (Login, error) {
	switch {
	case !deviceIDForm.MatchString(deviceID):
		return Login{}, badDevice(deviceID)
	case sign != SignUnchecked && sign != SignChecked && sign != SignSM3:
		return Login{}, fmt.Errorf("iotda: sign type is %q, expected 0, 1 or 2", string(rune(sign)))
	}
	id, username, password := wire.Credentials(deviceID, secret, wire.SignType(sign), at)
	return Login{id, username, password}, nil
}

// deviceIDForm is what a device id may hold: a product id and a node id, joined by an underscore.
var deviceIDForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func badDevice(id string) error {
	return fmt.Errorf("iotda: device ID is %q, expected up to 128 letters, digits, _ and -", id)
}

// Credential proves a device's identity. Make one with [Secret], [X509] or, for Provision, [GroupSecret]; the
// zero value is refused.
type Credential struct {
	secret *string
	group  string
	cert   *tls.Certificate
}

// Secret is the secret that the device was registered with.
func Secret(secret string) Credential { return Credential{secret: &secret} }

// X509 is a client certificate with its private key. The chain is sent as it stands in cert.
func X509(cert tls.Certificate) Credential { return Credential{cert: &cert} }

// GroupSecret is the secret of an enrollment group, base64, for Provision: the device's is derived from it.
func GroupSecret(secret string) (Credential, error) {
	if _, err := wire.GroupSecret("x", secret); err != nil || secret == "" {
		return Credential{}, errors.New("iotda: the group secret is not base64; copy it whole, with the = at its end")
	}
	return Credential{group: secret}, nil
}

func (c Credential) check() error {
	switch {
	case c.secret == nil && c.cert == nil && c.group == "":
		return errors.New("iotda: no credential: set Secret or X509")
	case c.cert != nil && (len(c.cert.Certificate) == 0 || c.cert.PrivateKey == nil):
		return errors.New("iotda: the X.509 credential needs a certificate and its private key")
	}
	return nil
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
		// Not Certificates: those are withheld when the server's list of accepted CAs lacks their issuer.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.cert, nil }
	}
	return cfg
}
