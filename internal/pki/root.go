package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// The files of the server root and of the server leaves' RSA key.
const (
	rootFile      = "root.pem"
	rootKeyFile   = "root.key"
	serverKeyFile = "server.key"
)

// rootYears keeps the root's end below 2038, where 32-bit clocks overflow, for some years to come.
const rootYears = 10

// backDate is how far certificates begin in the past: device clocks lag, and those without a battery
// often start at their firmware's build date.
const backDate = 30 * 24 * time.Hour

func (a *Authority) openIssuer() error {
	if a.opts.ServerCA != "" {
		return a.openOwn()
	}
	cert, key, err := a.loadOrMakeRoot()
	if err != nil {
		return err
	}
	a.issuer = issuer{cert: cert, root: cert, key: key, scope: scopeOf(cert)}
	if a.issuer.scope.free() && !a.opts.RootUnconstrained {
		a.log.Warn("the server root has no name constraints: who trusts it trusts it for every name", "file", a.files.where(rootFile))
	}
	return nil
}

// loadOrMakeRoot returns the root of the data directory. The key is written first: a start that was cut
// off between the two files, or a second process, finds the key and makes the certificate from it.
func (a *Authority) loadOrMakeRoot() (*x509.Certificate, crypto.Signer, error) {
	remedy := fmt.Sprintf("put the right file back, or remove %s and %s to get a new root, which clients must trust anew",
		a.files.where(rootFile), a.files.where(rootKeyFile))
	certs, certErr := readCerts(a.files, rootFile, remedy)
	key, keyErr := readKey(a.files, rootKeyFile, remedy)
	switch {
	case certErr == nil && errors.Is(keyErr, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("%s has no key %s beside it: %s", a.files.where(rootFile), a.files.where(rootKeyFile), remedy)
	case certErr != nil && !errors.Is(certErr, fs.ErrNotExist):
		return nil, nil, certErr
	case keyErr != nil && !errors.Is(keyErr, fs.ErrNotExist):
		return nil, nil, keyErr
	}
	if keyErr != nil {
		return a.makeRootKey()
	}
	a.warnOpenKey(rootKeyFile)
	if certErr != nil {
		return a.makeRoot(key)
	}
	cert := certs[0]
	switch {
	case !belongs(key, cert):
		return nil, nil, fmt.Errorf("%s does not belong to %s: %s", a.files.where(rootKeyFile), a.files.where(rootFile), remedy)
	case notCA(cert, true) != "":
		return nil, nil, fmt.Errorf("%s is no CA: %s: %s", a.files.where(rootFile), notCA(cert, true), remedy)
	case !a.now().Before(cert.NotAfter):
		return nil, nil, fmt.Errorf("%s expired at %s: %s", a.files.where(rootFile), stamp(cert.NotAfter), remedy)
	}
	return cert, key, nil
}

func (a *Authority) makeRootKey() (*x509.Certificate, crypto.Signer, error) {
	key, err := newKey(ECDSA)
	if err != nil {
		return nil, nil, err
	}
	data, err := encodeKey(key)
	if err != nil {
		return nil, nil, err
	}
	if err := a.files.create(rootKeyFile, data, true); errors.Is(err, fs.ErrExist) {
		return a.loadOrMakeRoot()
	} else if err != nil {
		return nil, nil, err
	}
	return a.makeRoot(key)
}

func (a *Authority) makeRoot(key crypto.Signer) (*x509.Certificate, crypto.Signer, error) {
	cert, err := newRoot(key, a.opts, a.now())
	if err != nil {
		return nil, nil, fmt.Errorf("server root: %w", err)
	}
	if err := a.files.create(rootFile, encodeCertificates(cert), false); errors.Is(err, fs.ErrExist) {
		return a.loadOrMakeRoot()
	} else if err != nil {
		return nil, nil, err
	}
	return cert, key, nil
}

// newRoot makes the certificate. Its name is unique: two roots of one name in a trust store would make
// a client report a bad signature where it trusts another instance's root.
func newRoot(key crypto.Signer, o Options, now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject: pkix.Name{
			Organization: []string{"fakecloud (tests only)"},
			CommonName:   "fakecloud root " + hex.EncodeToString(serial.Bytes()[:4]),
		},
		NotBefore:             now.Add(-backDate),
		NotAfter:              now.AddDate(rootYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	if !o.RootUnconstrained {
		ext, err := newScope(o.Domains).extension()
		if err != nil {
			return nil, err
		}
		template.ExtraExtensions = append(template.ExtraExtensions, ext)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// openOwn takes the tester's own issuer.
func (a *Authority) openOwn() error {
	certFile, keyFile := a.opts.ServerCA, a.opts.ServerCAKey
	certs, err := readCerts(plainFiles{}, certFile, "give the PEM file of your issuer, its certificate first")
	if err != nil {
		return fmt.Errorf("--server-ca: %w", err)
	}
	key, err := readKey(plainFiles{}, keyFile, "give the PEM file of your issuer's key")
	if err != nil {
		return fmt.Errorf("--server-ca-key: %w", err)
	}
	cert, root := certs[0], certs[len(certs)-1]
	switch {
	case !belongs(key, cert):
		return fmt.Errorf("--server-ca-key %s does not belong to the first certificate of %s", keyFile, certFile)
	case notCA(cert, false) != "":
		return fmt.Errorf("--server-ca %s cannot issue: %s", certFile, notCA(cert, false))
	case !a.now().Before(cert.NotAfter):
		return fmt.Errorf("--server-ca %s expired at %s", certFile, stamp(cert.NotAfter))
	}
	if err := VerifyChain(certs, []*x509.Certificate{root}, a.now()); err != nil {
		return fmt.Errorf("--server-ca %s: the certificates are no chain, issuer first and root last: %w", certFile, err)
	}
	a.issuer = issuer{cert: cert, root: root, key: key, own: true, scope: scopeOf(cert), above: certs[1:]}
	return nil
}

// readCerts reads a certificate file; a missing one is fs.ErrNotExist.
func readCerts(files reader, name, remedy string) ([]*x509.Certificate, error) {
	data, err := files.read(name)
	if err != nil {
		return nil, err
	}
	certs, err := ParseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%s holds no certificate: %w: %s", files.where(name), err, remedy)
	}
	return certs, nil
}

// readKey reads a key file; a missing one is fs.ErrNotExist.
func readKey(files reader, name, remedy string) (crypto.Signer, error) {
	data, err := files.read(name)
	if err != nil {
		return nil, err
	}
	key, err := ParseKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s holds no usable key: %w: %s", files.where(name), err, remedy)
	}
	return key, nil
}

// plainFiles reads the tester's own files by their paths.
type plainFiles struct{}

func (plainFiles) where(name string) string { return name }

func (plainFiles) read(name string) ([]byte, error) {
	data, err := folder("").read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return data, err
}
