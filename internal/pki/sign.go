package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxCommonName is ub-common-name of RFC 5280, appendix A.1, in characters.
const maxCommonName = 64

func checkCommonName(name string) error {
	n := utf8.RuneCountInString(name)
	if !utf8.ValidString(name) || n < 1 || n > maxCommonName {
		return badRequest("common name of %d characters: X.509 allows 1 to %d", n, maxCommonName)
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return badRequest("common name %q holds the control character %U", name, r)
		}
	}
	return nil
}

// maxYears bounds a validity; it is beyond every real certificate and guards against a slipped digit.
const maxYears = 100

// validity fills the defaults in and refuses what X.509 cannot express or no one means.
func validity(from, to, defaultFrom, defaultTo time.Time) (time.Time, time.Time, error) {
	if from.IsZero() {
		from = defaultFrom
	}
	if to.IsZero() {
		to = defaultTo
	}
	from, to = from.UTC().Truncate(time.Second), to.UTC().Truncate(time.Second)
	switch {
	case !to.After(from):
		return from, to, badRequest("the certificate would end (%s) before it begins (%s)", stamp(to), stamp(from))
	case from.Year() < 1950 || to.Year() > 9999:
		return from, to, badRequest("validity from %s to %s: X.509 has the years 1950 to 9999", stamp(from), stamp(to))
	case to.After(from.AddDate(maxYears, 0, 0)):
		return from, to, badRequest("validity from %s to %s: at most %d years are made", stamp(from), stamp(to), maxYears)
	}
	return from, to, nil
}

// blank is a certificate before it is signed.
type blank struct {
	subject  pkix.Name
	from, to time.Time
	public   crypto.PublicKey
	ca       bool
	usages   []x509.ExtKeyUsage
	v1       bool // X.509 v1: no version, no extensions
	sha1     bool
	negative bool // a negative serial number, in v1 form
}

// sign issues b; a nil parent makes it self-signed.
func (b blank) sign(parent *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	der, err := b.der(parent, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", b.subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

func (b blank) der(parent *x509.Certificate, key crypto.Signer) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	alg, err := signatureOf(key, b.sha1)
	if err != nil {
		return nil, err
	}
	if b.v1 || b.negative {
		if b.negative {
			serial.Neg(serial)
		}
		return b.v1DER(parent, key, serial, alg)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: b.subject, NotBefore: b.from, NotAfter: b.to,
		BasicConstraintsValid: true, IsCA: b.ca, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: b.usages, SignatureAlgorithm: alg.name,
	}
	if b.ca {
		template.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	} else if _, isRSA := b.public.(*rsa.PublicKey); isRSA {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	if parent == nil {
		parent = template
	} else {
		// crypto/x509 refuses a parent with another key, which a lookalike has.
		parent = &x509.Certificate{RawSubject: parent.RawSubject, Subject: parent.Subject, SubjectKeyId: parent.SubjectKeyId}
	}
	return x509.CreateCertificate(rand.Reader, template, parent, b.public, key)
}

// signature is an algorithm in crypto/x509's and in ASN.1 terms.
type signature struct {
	name x509.SignatureAlgorithm
	id   pkix.AlgorithmIdentifier
	hash crypto.Hash
}

// signatureOf chooses SHA-256, or SHA-1 for certificates that are broken on purpose. Object identifiers:
// RFC 4055, section 5; RFC 3279, section 2.2; RFC 5758, section 3.2; RFC 8410, section 3.
func signatureOf(key crypto.Signer, sha1 bool) (signature, error) {
	with := func(name x509.SignatureAlgorithm, hash crypto.Hash, params asn1.RawValue, oid ...int) (signature, error) {
		return signature{name, pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: params}, hash}, nil
	}
	switch key.Public().(type) {
	case *rsa.PublicKey:
		if sha1 {
			return with(x509.SHA1WithRSA, crypto.SHA1, asn1.NullRawValue, 1, 2, 840, 113549, 1, 1, 5)
		}
		return with(x509.SHA256WithRSA, crypto.SHA256, asn1.NullRawValue, 1, 2, 840, 113549, 1, 1, 11)
	case *ecdsa.PublicKey:
		if sha1 {
			return with(x509.ECDSAWithSHA1, crypto.SHA1, asn1.RawValue{}, 1, 2, 840, 10045, 4, 1)
		}
		return with(x509.ECDSAWithSHA256, crypto.SHA256, asn1.RawValue{}, 1, 2, 840, 10045, 4, 3, 2)
	case ed25519.PublicKey:
		if sha1 {
			return signature{}, badRequest("an Ed25519 CA cannot sign with SHA-1: take one with an RSA or ECDSA key")
		}
		return with(x509.PureEd25519, 0, asn1.RawValue{}, 1, 3, 101, 112)
	default:
		return signature{}, fmt.Errorf("a key of type %T cannot sign certificates", key.Public())
	}
}

// tbsV1 is TBSCertificate of RFC 5280, section 4.1, without what v1 lacks.
type tbsV1 struct {
	Serial    *big.Int
	Signature pkix.AlgorithmIdentifier
	Issuer    asn1.RawValue
	Validity  struct{ NotBefore, NotAfter time.Time }
	Subject   asn1.RawValue
	PublicKey asn1.RawValue
}

// v1DER writes the certificate by hand: crypto/x509 makes v3 only.
func (b blank) v1DER(parent *x509.Certificate, key crypto.Signer, serial *big.Int, alg signature) ([]byte, error) {
	subject, err := asn1.Marshal(b.subject.ToRDNSequence())
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(b.public)
	if err != nil {
		return nil, err
	}
	issuer := subject
	if parent != nil {
		issuer = parent.RawSubject
	}
	tbs := tbsV1{
		Serial: serial, Signature: alg.id,
		Issuer: asn1.RawValue{FullBytes: issuer}, Subject: asn1.RawValue{FullBytes: subject}, PublicKey: asn1.RawValue{FullBytes: public},
	}
	tbs.Validity.NotBefore, tbs.Validity.NotAfter = b.from, b.to
	signed, err := asn1.Marshal(tbs)
	if err != nil {
		return nil, err
	}
	digest := signed
	if alg.hash != 0 {
		h := alg.hash.New()
		h.Write(signed)
		digest = h.Sum(nil)
	}
	sig, err := key.Sign(rand.Reader, digest, alg.hash)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: signed}, alg.id, asn1.BitString{Bytes: sig, BitLength: len(sig) * 8}})
}
