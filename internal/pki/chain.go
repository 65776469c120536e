package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"
)

// ChainKind says what is wrong with a chain.
type ChainKind string

// What can be wrong with a chain.
const (
	NoCertificate        ChainKind = "no-certificate"        // nothing was presented
	Expired              ChainKind = "expired"               //
	NotYetValid          ChainKind = "not-yet-valid"         //
	BadSignature         ChainKind = "bad-signature"         // an issuer of that name is known, but another key has signed
	MissingIssuer        ChainKind = "missing-issuer"        // no issuer of that name is known or was presented
	WeakSignature        ChainKind = "weak-signature"        // signed with SHA-1 or MD5
	UnsupportedSignature ChainKind = "unsupported-signature" // an algorithm that crypto/x509 does not know
	NotCA                ChainKind = "not-a-ca"              // the issuer may not sign certificates
	PathTooLong          ChainKind = "path-too-long"         // a path length limit, or more than MaxChain certificates
)

// MaxChain is the largest number of certificates in a path, and of those presented that are looked at.
const MaxChain = 10

// maxChecks bounds the signatures verified for one chain, so that a client that presents many lookalikes
// costs no more than its own connection.
const maxChecks = 64

// ChainError explains which link of a chain failed. It is the error that Chain returns.
type ChainError struct {
	Kind     ChainKind
	Index    int    // of the failing certificate in the path: 0 is the leaf
	Subject  string // of the failing certificate, empty when none was presented
	Issuer   string // the name of its issuer
	Detail   string // one sentence for a person
	Seen     string // what the chain has at this link
	Expected string // what would have been accepted
}

// Error implements error.
func (e *ChainError) Error() string { return e.Detail }

// Chain finds a path from presented[0], the leaf, to one of the anchors and judges it at the given time.
// The other presented certificates may come in any order and may be superfluous, as TLS clients send them.
// The path begins with the leaf and goes up to the first anchor, then on through further anchors as long
// as they sign each other; a leaf that is itself an anchor is a path of one. The error is a *ChainError.
//
// It accepts what the vendors' openssl commands make and x509.Certificate.Verify refuses: X.509 v1 leaves,
// and v1 or extension-less anchors (an anchor is the tester's own decision; a presented intermediate must
// be a CA by its basicConstraints, else every device could issue certificates). Names, key usages and
// revocation are not judged; that is for the platform's rules.
func Chain(presented, anchors []*x509.Certificate, at time.Time) ([]*x509.Certificate, error) {
	if len(presented) == 0 || presented[0] == nil {
		return nil, &ChainError{
			Kind: NoCertificate, Detail: "no certificate was presented",
			Seen: "no certificate", Expected: "a client certificate with its chain",
		}
	}
	if len(presented) > MaxChain {
		presented = presented[:MaxChain]
	}
	s := &search{anchors: anchors, presented: presented[1:]}
	path := s.climb([]*x509.Certificate{presented[0]})
	if path == nil {
		return nil, s.worst
	}
	for i, c := range path {
		if err := inDate(c, i, at); err != nil {
			return nil, err
		}
	}
	return s.extend(path, at), nil
}

// VerifyChain is Chain for callers that need the verdict only.
func VerifyChain(presented, anchors []*x509.Certificate, at time.Time) error {
	_, err := Chain(presented, anchors, at)
	return err
}

// search looks for a path, depth first, and keeps the most telling failure.
type search struct {
	anchors, presented []*x509.Certificate
	checks             int
	worst              *ChainError
}

// climb returns path continued up to an anchor, nil when there is no way.
func (s *search) climb(path []*x509.Certificate) []*x509.Certificate {
	last := path[len(path)-1]
	if contains(s.anchors, last) {
		return path
	}
	known := false
	for _, from := range []struct {
		certs  []*x509.Certificate
		anchor bool
	}{{s.anchors, true}, {s.presented, false}} {
		for _, issuer := range from.certs {
			if !bytes.Equal(issuer.RawSubject, last.RawIssuer) || contains(path, issuer) {
				continue
			}
			known = true
			if err := s.link(path, issuer, from.anchor); err != nil {
				s.note(err)
				continue
			}
			if found := s.climb(append(path[:len(path):len(path)], issuer)); found != nil {
				return found
			}
		}
	}
	if !known {
		s.note(missing(last, len(path)-1))
	}
	return nil
}

// extend goes on through anchors that sign each other, so that a group enrolled with a higher certificate
// finds it in the path.
func (s *search) extend(path []*x509.Certificate, at time.Time) []*x509.Certificate {
	for len(path) < MaxChain {
		last, grown := path[len(path)-1], false
		for _, issuer := range s.anchors {
			if bytes.Equal(issuer.RawSubject, last.RawIssuer) && !contains(path, issuer) &&
				s.link(path, issuer, true) == nil && inDate(issuer, len(path), at) == nil {
				path, grown = append(path, issuer), true
				break
			}
		}
		if !grown {
			break
		}
	}
	return path
}

// note keeps the failure furthest up the path: the lower links were found to be right.
func (s *search) note(err *ChainError) {
	if s.worst == nil || err.Index > s.worst.Index {
		s.worst = err
	}
}

// link judges whether issuer signed the last certificate of path.
func (s *search) link(path []*x509.Certificate, issuer *x509.Certificate, anchor bool) *ChainError {
	index := len(path) - 1
	last := path[index]
	fail := func(kind ChainKind, detail, seen, expected string) *ChainError {
		return &ChainError{
			Kind: kind, Index: index, Subject: Name(last.Subject), Issuer: Name(last.Issuer),
			Detail: detail, Seen: seen, Expected: expected,
		}
	}
	if s.checks++; s.checks > maxChecks || len(path) >= MaxChain {
		return fail(PathTooLong, "the chain is too long or too tangled to follow",
			fmt.Sprintf("more than %d certificates or %d signatures", MaxChain, maxChecks), "the certificates from the leaf to the CA, once each")
	}
	if why := notCA(issuer, anchor); why != "" {
		return fail(NotCA, fmt.Sprintf("%s was issued by %s, which is no CA: %s", Name(last.Subject), Name(issuer.Subject), why),
			why, "an issuer with basicConstraints CA:TRUE and keyUsage keyCertSign")
	}
	if limit := pathLimit(issuer); limit >= 0 && intermediates(path) > limit {
		return fail(PathTooLong, fmt.Sprintf("%s allows %d intermediate certificates below it", Name(issuer.Subject), limit),
			fmt.Sprintf("%d intermediate certificates", intermediates(path)), fmt.Sprintf("at most %d", limit))
	}
	err := issuer.CheckSignature(last.SignatureAlgorithm, last.RawTBSCertificate, last.Signature)
	var insecure x509.InsecureAlgorithmError // MD5; CheckSignature still verifies SHA-1
	switch {
	case err == nil && !weak(last.SignatureAlgorithm):
		return nil
	case err == nil, errors.As(err, &insecure):
		return fail(WeakSignature, fmt.Sprintf("%s is signed with %s, which is too weak to be trusted", Name(last.Subject), last.SignatureAlgorithm),
			last.SignatureAlgorithm.String(), "a SHA-256 signature (openssl … -sha256)")
	case errors.Is(err, x509.ErrUnsupportedAlgorithm):
		return fail(UnsupportedSignature, fmt.Sprintf("%s is signed with an algorithm that fakecloud does not know", Name(last.Subject)),
			last.SignatureAlgorithm.String(), "RSA or ECDSA with SHA-256, SHA-384 or SHA-512, or Ed25519")
	default:
		return fail(BadSignature, fmt.Sprintf("%s names %s as its issuer, but was not signed by that CA's key", Name(last.Subject), Name(issuer.Subject)),
			"a signature of another key", fmt.Sprintf("a signature by the key of %s", Name(issuer.Subject)))
	}
}

// weak reports SHA-1, which crypto/x509 refuses in every verified chain since Go 1.18.
func weak(a x509.SignatureAlgorithm) bool {
	return a == x509.SHA1WithRSA || a == x509.ECDSAWithSHA1 || a == x509.DSAWithSHA1
}

// notCA says why c may not issue certificates, empty when it may.
func notCA(c *x509.Certificate, anchor bool) string {
	switch {
	case c.BasicConstraintsValid && !c.IsCA:
		return "its basicConstraints say CA:FALSE"
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return "its keyUsage lacks keyCertSign"
	case !c.BasicConstraintsValid && !anchor:
		return fmt.Sprintf("it is an X.509 v%d certificate without basicConstraints, and not itself registered as a CA", c.Version)
	default:
		return ""
	}
}

// pathLimit returns c's path length limit, -1 for none.
func pathLimit(c *x509.Certificate) int {
	if !c.BasicConstraintsValid || c.MaxPathLen < 0 || (c.MaxPathLen == 0 && !c.MaxPathLenZero) {
		return -1
	}
	return c.MaxPathLen
}

// intermediates counts what path length limits count: not the leaf, not self-issued certificates.
func intermediates(path []*x509.Certificate) int {
	n := 0
	for _, c := range path[1:] {
		if !bytes.Equal(c.RawSubject, c.RawIssuer) {
			n++
		}
	}
	return n
}

func missing(c *x509.Certificate, index int) *ChainError {
	e := &ChainError{
		Kind: MissingIssuer, Index: index, Subject: Name(c.Subject), Issuer: Name(c.Issuer),
		Detail:   fmt.Sprintf("the issuer of %s, %s, is not registered and was not presented", Name(c.Subject), Name(c.Issuer)),
		Seen:     "issuer " + Name(c.Issuer),
		Expected: "a chain that leads to a registered CA",
	}
	if bytes.Equal(c.RawSubject, c.RawIssuer) {
		e.Detail = fmt.Sprintf("%s is self-signed and is not registered", Name(c.Subject))
		e.Seen = "a self-signed certificate"
	}
	return e
}

func inDate(c *x509.Certificate, index int, at time.Time) error {
	e := &ChainError{
		Index: index, Subject: Name(c.Subject), Issuer: Name(c.Issuer),
		Seen:     fmt.Sprintf("valid from %s to %s", stamp(c.NotBefore), stamp(c.NotAfter)),
		Expected: "a certificate valid at " + stamp(at),
	}
	switch {
	case at.After(c.NotAfter):
		e.Kind, e.Detail = Expired, fmt.Sprintf("the certificate %s expired at %s", e.Subject, stamp(c.NotAfter))
	case at.Before(c.NotBefore):
		e.Kind, e.Detail = NotYetValid, fmt.Sprintf("the certificate %s is not valid before %s", e.Subject, stamp(c.NotBefore))
	default:
		return nil
	}
	return e
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Name returns a subject or issuer for a person to read: RFC 2253, or "(no name)".
func Name(n pkix.Name) string {
	if s := n.String(); s != "" {
		return s
	}
	return "(no name)"
}

func contains(certs []*x509.Certificate, c *x509.Certificate) bool {
	for _, other := range certs {
		if bytes.Equal(other.Raw, c.Raw) {
			return true
		}
	}
	return false
}
