package dps

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// thumbprints returns a certificate's as a hub stores them.
func thumbprints(cert *x509.Certificate) Auth {
	one, two := pki.Thumbprints(cert)
	return Auth{SHA1: one, SHA256: two}
}

// checkLeaf judges the leaf by itself: its common name and its dates.
func checkLeaf(c Caller, now time.Time) *denial {
	leaf := c.Certificates[0]
	if cn := leaf.Subject.CommonName; !strings.EqualFold(cn, c.RegistrationID) {
		return deny(codeCertificate, messageCertificate, rule.Refusal{Rule: "DPS-21/cn", Detail: quoted(cn, c.RegistrationID),
			Seen: fmt.Sprintf("CN=%q", clip(leaf.Subject.CommonName)), Expected: fmt.Sprintf("CN=%q", c.RegistrationID)})
	}
	return checkDates(leaf, now, "DPS-15/cert-expired", "DPS-15/cert-not-yet-valid")
}

// quoted tells of quotes that a shell has left in a common name; empty where it differs in more than those.
func quoted(cn, want string) string {
	plain := strings.Map(func(r rune) rune {
		if strings.ContainsRune("\"'“”", r) {
			return -1
		}
		return r
	}, cn)
	if !strings.EqualFold(plain, want) {
		return ""
	}
	return "quotes have become a part of the certificate's common name: a shell on Windows does not remove them"
}

func checkDates(cert *x509.Certificate, now time.Time, expired, early rule.ID) *denial {
	r := rule.Refusal{Seen: fmt.Sprintf("%q is valid from %s to %s", clip(cert.Subject.String()), cert.NotBefore.Format(time.RFC3339), cert.NotAfter.Format(time.RFC3339)),
		Expected: "a certificate valid at " + now.UTC().Format(time.RFC3339)}
	switch {
	case now.After(cert.NotAfter):
		r.Rule = expired
	case now.Before(cert.NotBefore):
		r.Rule = early
	default:
		return nil
	}
	return deny(codeCertificate, messageCertificate, r)
}

// attestChain admits a device by the group of the lowest certificate of its chain, provided that the
// chain reaches a CA certificate verified in the instance (concepts-x509-attestation.md).
func (s *Service) attestChain(i Instance, c Caller) (admission, *denial) {
	groups, cas := s.Groups(i.Name), s.CAs(i.Name)
	now := s.Clock.Wall()
	path, err := pki.Chain(c.Certificates, s.anchors(i, groups, cas, false), now)
	if err != nil {
		if _, beyond := pki.Chain(c.Certificates, s.anchors(i, groups, cas, true), now); beyond == nil {
			return admission{}, s.unverified(i, c, cas)
		}
		return admission{}, s.unanchored(i, c, groups, cas, err)
	}
	for _, link := range path[1:] { // the lowest decides
		for _, g := range groups {
			for _, signer := range s.signers(i, g) {
				if signer.Equal(link) {
					return admission{kind: kindX509, groupID: g.ID, deviceID: c.RegistrationID, terms: g.Terms, auth: thumbprints(path[0])}, nil
				}
			}
		}
	}
	return admission{}, s.notEnrolled(i, c, fmt.Sprintf("the chain reaches the verified CA certificate %q, but no enrollment group uses a certificate of the chain",
		clip(pki.Name(path[len(path)-1].Subject))))
}

// anchors returns the CA certificates of an instance that a chain may end at, those of groups first: of
// two certificates with one name and key, as a renewed CA has them, the enrolled one is found.
func (s *Service) anchors(i Instance, groups []Group, cas []CA, unverified bool) []*x509.Certificate {
	var enrolled, others []*x509.Certificate
	var signers []*x509.Certificate
	for _, g := range groups {
		signers = append(signers, s.signers(i, g)...)
	}
	for _, ca := range cas {
		cert := s.certs.Certificate(ca.Certificate)
		switch {
		case cert == nil, !ca.Verified && !unverified:
		case slices.ContainsFunc(signers, cert.Equal):
			enrolled = append(enrolled, cert)
		default:
			others = append(others, cert)
		}
	}
	return append(enrolled, others...)
}

// signers returns the certificates that a group attests by.
func (s *Service) signers(i Instance, g Group) []*x509.Certificate {
	x := g.Attestation.X509
	if x == nil {
		return nil
	}
	texts := []string{x.Primary, x.Secondary}
	for _, name := range []string{x.PrimaryCA, x.SecondaryCA} {
		if ca, ok := s.CA(i.Name, name); ok && name != "" {
			texts = append(texts, ca.Certificate)
		}
	}
	var certs []*x509.Certificate
	for _, text := range texts {
		if cert := s.certs.Certificate(text); cert != nil {
			certs = append(certs, cert)
		}
	}
	return certs
}

// unverified refuses a chain that would be good if its CA certificate were verified.
func (s *Service) unverified(i Instance, c Caller, cas []CA) *denial {
	var pending []CA
	for _, ca := range cas {
		if !ca.Verified {
			pending = append(pending, ca)
		}
	}
	return deny(codeCertificate, messageNoCA, rule.Refusal{Rule: "DPS-23/unverified",
		Seen:     fmt.Sprintf("a chain from %s to a CA certificate that is not verified: %s", c.credential(), s.names(pending)),
		Expected: "a chain to a CA certificate that is verified in instance " + i.Name})
}

// unanchored refuses a chain that reaches no CA certificate of the instance, and says where it breaks.
func (s *Service) unanchored(i Instance, c Caller, groups []Group, cas []CA, err error) *denial {
	var broken *pki.ChainError
	if !errors.As(err, &broken) {
		broken = &pki.ChainError{Detail: err.Error(), Seen: c.credential()}
	}
	leaf := c.Certificates[0]
	r := rule.Refusal{Rule: "DPS-22/ca", Detail: broken.Detail, Seen: fmt.Sprintf("%d certificate(s) sent; %s", len(c.Certificates), broken.Seen),
		Expected: "a chain up to a CA certificate of instance " + i.Name + ": " + s.names(cas)}
	switch {
	case broken.Kind == pki.Expired || broken.Kind == pki.NotYetValid:
		r.Rule, r.Expected = "DPS-15/ca-expired", broken.Expected
		return deny(codeCertificate, messageCertificate, r)
	case broken.Kind != pki.MissingIssuer:
		r.Expected = broken.Expected
	case broken.Index == 0 && bytes.Equal(leaf.RawIssuer, leaf.RawSubject):
		return s.notEnrolled(i, c, "the certificate is self-signed, and no individual enrollment of this id holds it")
	default:
		if g, signer := s.unsent(i, groups, broken); signer != nil {
			r.Rule = "DPS-22/issuer"
			r.Detail = fmt.Sprintf("the device did not send the intermediate certificate %q", clip(pki.Name(signer.Subject)))
			r.Expected = fmt.Sprintf("the leaf followed by the intermediate %q of enrollment group %s, and so on up to a verified CA certificate", clip(pki.Name(signer.Subject)), g.ID)
		}
	}
	return deny(codeCertificate, messageNoCA, r)
}

// unsent looks for the missing issuer among the certificates of groups.
func (s *Service) unsent(i Instance, groups []Group, broken *pki.ChainError) (Group, *x509.Certificate) {
	for _, g := range groups {
		for _, signer := range s.signers(i, g) {
			if pki.Name(signer.Subject) == broken.Issuer {
				return g, signer
			}
		}
	}
	return Group{}, nil
}

func (s *Service) names(cas []CA) string {
	if len(cas) == 0 {
		return "it has none"
	}
	var list []string
	for _, ca := range cas {
		text := ca.Name
		if cert := s.certs.Certificate(ca.Certificate); cert != nil {
			text += " (" + clip(pki.Name(cert.Subject)) + ")"
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}
