package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"
)

const (
	certSuffix = ".pem"
	keySuffix  = ".key"

	caYears   = 10
	maxIssuer = MaxChain - 1 // certificates of a CA's file: a leaf comes on top
)

// ErrNoCA answers for a device CA that the data directory does not hold.
var ErrNoCA = errors.New("no such device CA")

// CA is a device CA of the data directory.
type CA struct {
	Name        string
	Certificate *x509.Certificate
	// Issuers are the certificates above it, the nearest first; empty for a root.
	Issuers []*x509.Certificate
	// File is where the certificate lies, for a person.
	File string

	key crypto.Signer
}

// CanIssue reports whether the CA's private key is there.
func (c CA) CanIssue() bool { return c.key != nil }

// Chain returns the CA's certificate with those above it.
func (c CA) Chain() []*x509.Certificate {
	return append([]*x509.Certificate{c.Certificate}, c.Issuers...)
}

// KeyPEM returns the private key, unencrypted; nil when it is not there.
func (c CA) KeyPEM() ([]byte, error) {
	if c.key == nil {
		return nil, nil
	}
	return encodeKey(c.key)
}

// PEM returns the certificate with those above it, as its file has them.
func (c CA) PEM() []byte { return encodeCertificates(c.Chain()...) }

// CARequest describes a device CA to be made.
type CARequest struct {
	Name       string // 1 to 64 letters, digits, hyphens and underscores; the file's name
	CommonName string // of the subject; empty takes Name
	Parent     string // the CA that issues it; empty is self-signed
	Key        KeyType
	// NotBefore and NotAfter are 30 days ago and in ten years where zero.
	NotBefore, NotAfter time.Time
	X509v1              bool // no extensions at all, as old openssl commands made them
}

var caName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

func checkCAName(name string) error {
	switch lower := strings.ToLower(name); {
	case !caName.MatchString(name):
		return badRequest("CA name %q: it has 1 to 64 letters, digits, hyphens and underscores and begins with a letter or digit", name)
	case lower == "root", lower == "server":
		return badRequest("CA name %q is taken by the server's own files", name)
	}
	return nil
}

// CreateCA makes a device CA and writes it to the data directory. A name that is taken is an error.
func (d *DeviceCAs) CreateCA(r CARequest) (CA, error) {
	if err := checkCAName(r.Name); err != nil {
		return CA{}, err
	}
	if _, err := d.CA(r.Name); !errors.Is(err, ErrNoCA) {
		if err != nil {
			return CA{}, err
		}
		return CA{}, badRequest("device CA %q exists already (%s)", r.Name, d.files.where(r.Name+certSuffix))
	}
	if r.CommonName == "" {
		r.CommonName = r.Name
	}
	if err := checkCommonName(r.CommonName); err != nil {
		return CA{}, err
	}
	now := d.now()
	from, to, err := validity(r.NotBefore, r.NotAfter, now.Add(-backDate), now.AddDate(caYears, 0, 0))
	if err != nil {
		return CA{}, err
	}
	key, err := newKey(r.Key)
	if err != nil {
		return CA{}, err
	}
	b := blank{subject: pkix.Name{CommonName: r.CommonName}, from: from, to: to, ca: true, v1: r.X509v1, public: key.Public()}
	ca := CA{Name: r.Name, key: key, File: d.files.where(r.Name + certSuffix)}
	if r.Parent == "" {
		ca.Certificate, err = b.sign(nil, key)
	} else {
		ca.Certificate, ca.Issuers, err = d.signBelow(b, r.Parent)
	}
	if err != nil {
		return CA{}, err
	}
	return ca, d.keep(ca)
}

func (d *DeviceCAs) signBelow(b blank, parent string) (*x509.Certificate, []*x509.Certificate, error) {
	p, err := d.issuingCA(parent)
	if err != nil {
		return nil, nil, err
	}
	if len(p.Chain()) >= maxIssuer {
		return nil, nil, badRequest("device CA %q already stands at depth %d, the limit", parent, maxIssuer)
	}
	cert, err := b.sign(p.Certificate, p.key)
	return cert, p.Chain(), err
}

// CreateChain makes a root and depth-1 intermediates below each other, {name}-root, {name}-1 and so on,
// and returns them from the root down. Those that exist already are kept.
func (d *DeviceCAs) CreateChain(name string, depth int, key KeyType) ([]CA, error) {
	if depth < 1 || depth > maxIssuer {
		return nil, badRequest("a chain of %d CAs: it has 1 to %d", depth, maxIssuer)
	}
	var chain []CA
	for i := range depth {
		r := CARequest{Name: name + "-root", Key: key}
		if i > 0 {
			r.Name, r.Parent = fmt.Sprintf("%s-%d", name, i), chain[i-1].Name
		}
		ca, err := d.CA(r.Name)
		if errors.Is(err, ErrNoCA) {
			ca, err = d.CreateCA(r)
		}
		if err != nil {
			return nil, err
		}
		if i > 0 && !bytes.Equal(ca.Certificate.RawIssuer, chain[i-1].Certificate.RawSubject) {
			return nil, badRequest("device CA %q exists, but was not issued by %q", ca.Name, chain[i-1].Name)
		}
		chain = append(chain, ca)
	}
	return chain, nil
}

// ImportCA keeps a CA of the tester's own under a name. certPEM holds its certificate first, then, where
// there are any, those above it; keyPEM may be nil, then the CA verifies devices but issues none.
// The same CA may be imported again, also to add its key.
func (d *DeviceCAs) ImportCA(name string, certPEM, keyPEM []byte) (CA, error) {
	if err := checkCAName(name); err != nil {
		return CA{}, err
	}
	certs, err := ParseCertificates(certPEM)
	if err != nil {
		return CA{}, badRequest("CA %q: %w", name, err)
	}
	ca := CA{Name: name, Certificate: certs[0], Issuers: certs[1:], File: d.files.where(name + certSuffix)}
	if why := notCA(certs[0], true); why != "" {
		return CA{}, badRequest("CA %q: %s is no CA: %s", name, Name(certs[0].Subject), why)
	}
	if len(certs) > maxIssuer {
		return CA{}, badRequest("CA %q: %d certificates, at most %d belong to one chain", name, len(certs), maxIssuer)
	}
	if len(keyPEM) > 0 {
		if ca.key, err = ParseKey(keyPEM); err != nil {
			return CA{}, badRequest("CA %q: %w", name, err)
		}
		if !belongs(ca.key, ca.Certificate) {
			return CA{}, badRequest("CA %q: the key does not belong to the certificate %s", name, Name(certs[0].Subject))
		}
	}
	old, err := d.CA(name)
	switch {
	case errors.Is(err, ErrNoCA):
		return ca, d.keep(ca)
	case err != nil:
		return CA{}, err
	case !old.Certificate.Equal(ca.Certificate):
		return CA{}, badRequest("CA %q exists already with another certificate (%s)", name, old.File)
	case old.CanIssue():
		return old, nil
	}
	return ca, d.keep(ca)
}

// keep writes a CA, the key first: a certificate without its key would stay unable to issue.
func (d *DeviceCAs) keep(ca CA) error {
	if ca.key != nil {
		data, err := encodeKey(ca.key)
		if err != nil {
			return err
		}
		if err := d.files.create(ca.Name+keySuffix, data, true); err != nil {
			return d.taken(ca.Name+keySuffix, err)
		}
	}
	err := d.files.create(ca.Name+certSuffix, ca.PEM(), false)
	if errors.Is(err, fs.ErrExist) {
		if old, oldErr := d.CA(ca.Name); oldErr == nil && old.Certificate.Equal(ca.Certificate) {
			return nil // its key was added
		}
	}
	return d.taken(ca.Name+certSuffix, err)
}

func (d *DeviceCAs) taken(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return badRequest("%s is there already: choose another name, or move it away", d.files.where(name))
	}
	return err
}

// RemoveCA takes a device CA away, the certificate first: what is left of a CA without it is not seen.
func (d *DeviceCAs) RemoveCA(name string) error {
	if err := checkCAName(name); err != nil {
		return err
	}
	if name == DemoCA {
		return badRequest("device CA %q belongs to every instance", name)
	}
	return errors.Join(d.files.remove(name+certSuffix), d.files.remove(name+keySuffix))
}

// CA returns a device CA; ErrNoCA when the data directory has none of that name.
func (d *DeviceCAs) CA(name string) (CA, error) {
	if err := checkCAName(name); err != nil {
		return CA{}, fmt.Errorf("%w: %w", ErrNoCA, err)
	}
	remedy := "put the right file back or move it away"
	certs, err := readCerts(d.files, name+certSuffix, remedy)
	if errors.Is(err, fs.ErrNotExist) {
		return CA{}, fmt.Errorf("%w: %q (fakecloud pki list shows them, fakecloud pki ca %s makes one)", ErrNoCA, name, name)
	}
	if err != nil {
		return CA{}, err
	}
	ca := CA{Name: name, Certificate: certs[0], Issuers: certs[1:], File: d.files.where(name + certSuffix)}
	ca.key, err = readKey(d.files, name+keySuffix, remedy)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ca, nil
	case err != nil:
		return CA{}, err
	case !belongs(ca.key, ca.Certificate):
		return CA{}, fmt.Errorf("%s does not belong to %s: %s", d.files.where(name+keySuffix), ca.File, remedy)
	}
	return ca, nil
}

// CAs returns the device CAs of the data directory by name. Files that hold none are skipped with a
// warning, so that one broken file does not hide the others.
func (d *DeviceCAs) CAs() ([]CA, error) {
	names, err := d.files.names()
	if err != nil {
		return nil, err
	}
	var cas []CA
	for _, file := range names {
		name, isCert := strings.CutSuffix(file, certSuffix)
		if !isCert || checkCAName(name) != nil {
			continue
		}
		ca, err := d.CA(name)
		if err != nil {
			d.log.Warn("a device CA cannot be read", "cause", err)
			continue
		}
		cas = append(cas, ca)
	}
	return cas, nil
}

// issuingCA returns a CA with its key.
func (d *DeviceCAs) issuingCA(name string) (CA, error) {
	ca, err := d.CA(name)
	if err != nil {
		return CA{}, err
	}
	if !ca.CanIssue() {
		return CA{}, badRequest("device CA %q has no private key here (%s), so it cannot sign", name, d.files.where(name+keySuffix))
	}
	return ca, nil
}
