package mindsphere

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// anchor is a tenant's CA certificate, parsed.
type anchor struct {
	tenant   string
	verified bool
	cert     *x509.Certificate
}

// anchors returns the CA certificates of a region, those of the preferred tenant first: several tenants may
// have the same CA.
func (s *Service) anchors(region Region, preferred string) []anchor {
	var first, others []anchor
	for _, t := range s.Tenants() {
		if t.Region != region {
			continue
		}
		for _, c := range s.CAs(t.Name) {
			cert := s.certs.Certificate(c.Certificate)
			switch a := (anchor{t.Name, c.Verified, cert}); {
			case cert == nil:
			case t.Name == preferred:
				first = append(first, a)
			default:
				others = append(others, a)
			}
		}
	}
	return append(first, others...)
}

// owner returns the tenant whose verified CA has issued the leaf directly. The preferred tenant wins where
// several have the CA.
func (s *Service) owner(region Region, presented []*x509.Certificate, preferred string) (tenant string, r *rule.Refusal) {
	leaf := presented[0]
	anchors := s.anchors(region, preferred)
	var worst *rule.Refusal
	for _, a := range anchors {
		if !bytes.Equal(a.cert.RawSubject, leaf.RawIssuer) {
			continue
		}
		_, err := pki.Chain([]*x509.Certificate{leaf}, []*x509.Certificate{a.cert}, s.clock.Wall())
		switch {
		case err != nil:
			worst = worse(worst, linkRefusal(leaf, a, err))
		case leaf.Equal(a.cert):
			worst = worse(worst, refuse("MS-6/ca", "the client certificate is the CA certificate itself", describe(leaf), "a certificate that this CA has issued for the agent"))
		case !a.verified:
			worst = worse(worst, refuse("MS-6/unverified",
				fmt.Sprintf("the CA %s is uploaded to tenant %s, but possession of its key was never proven", clip(pki.Name(a.cert.Subject)), a.tenant),
				describe(leaf), "a certificate of a verified CA"))
		default:
			return a.tenant, nil
		}
	}
	if worst != nil {
		return "", worst
	}
	return "", s.strange(presented, anchors, preferred)
}

// worse keeps the first refusal, which is the preferred tenant's, unless only the key did not fit.
func worse(old, found *rule.Refusal) *rule.Refusal {
	if old == nil || old.Rule == "MS-6/signature" {
		return found
	}
	return old
}

// linkRefusal explains why a CA with the right name has not vouched for a leaf.
func linkRefusal(leaf *x509.Certificate, a anchor, err error) *rule.Refusal {
	var broken *pki.ChainError
	if !errors.As(err, &broken) {
		broken = &pki.ChainError{Detail: err.Error(), Seen: describe(leaf)}
	}
	r := refuse("MS-6/signature", broken.Detail, broken.Seen, broken.Expected)
	switch {
	case broken.Kind == pki.Expired && broken.Index == 0:
		r.Rule = "MS-6/expired"
	case broken.Kind == pki.NotYetValid && broken.Index == 0:
		r.Rule = "MS-6/not-yet-valid"
	case broken.Kind == pki.Expired || broken.Kind == pki.NotYetValid:
		r.Rule = "MS-6/ca-expired"
	case broken.Kind == pki.WeakSignature || broken.Kind == pki.UnsupportedSignature:
		r.Rule = "MS-6/algorithm"
	}
	return r
}

// strange refuses a leaf whose issuer no tenant has.
func (s *Service) strange(presented []*x509.Certificate, anchors []anchor, preferred string) *rule.Refusal {
	leaf := presented[0]
	certs := make([]*x509.Certificate, len(anchors))
	var names []string
	for i, a := range anchors {
		certs[i] = a.cert
		if a.tenant == preferred || preferred == "" && i < 10 {
			names = append(names, fmt.Sprintf("%s (tenant %s)", clip(pki.Name(a.cert.Subject)), a.tenant))
		}
	}
	expected := "a certificate issued by a CA of the tenant; none is uploaded yet"
	if len(names) > 0 {
		expected = "a certificate issued directly by " + strings.Join(names, " or ")
	}
	if path, err := pki.Chain(presented, certs, s.clock.Wall()); err == nil && len(path) > 2 {
		return refuse("MS-6/intermediate",
			fmt.Sprintf("the certificate was issued by the intermediate %s; MindConnect MQTT wants it issued by the uploaded CA itself", clip(pki.Name(leaf.Issuer))),
			describe(leaf), expected)
	}
	if leaf.Issuer.CommonName == ownIssuer {
		return refuse("MS-6/deleted", "MindSphere has issued the certificate itself, and knows it no more", describe(leaf), "a certificate that agentCertificates lists")
	}
	r := refuse("MS-6/unknown-ca", fmt.Sprintf("no tenant has a CA certificate %s", clip(pki.Name(leaf.Issuer))), describe(leaf), expected)
	if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
		r.Detail = "the client certificate is self-signed"
	}
	return r
}

// describe names a certificate for a message.
func describe(cert *x509.Certificate) string {
	_, sha := pki.Thumbprints(cert)
	return fmt.Sprintf("certificate of %q, issued by %q, SHA-256 %s", clip(cert.Subject.String()), clip(cert.Issuer.String()), sha)
}
