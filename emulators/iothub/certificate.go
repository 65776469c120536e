package iothub

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// byCertificate judges a client whose identity authenticates by X.509. A password beside a certificate
// is ignored: devices in the field send HostName=…;DeviceID=…;x509=true there.
func (s *Service) byCertificate(who subject, c Credentials) (AuthMethod, *rule.Refusal) {
	var none AuthMethod
	if len(c.Certificates) == 0 {
		return none, noCertificate(who, c.Password)
	}
	var r *rule.Refusal
	if who.auth.Type == AuthSelfSigned {
		r = s.checkThumbprint(who, c.Certificates[0])
	} else {
		r = s.checkChain(who, c.Certificates)
	}
	if r != nil {
		return none, r
	}
	scope := "device"
	if who.moduleID != "" {
		scope = "module"
	}
	return AuthMethod{Scope: scope, Type: "x509", Issuer: "iothub"}, nil
}

func noCertificate(who subject, password string) *rule.Refusal {
	expected := "a client certificate in the TLS handshake"
	switch who.auth.Type {
	case AuthSelfSigned:
		expected += " with thumbprint " + registered(who.auth.Thumbprint)
	default:
		expected += fmt.Sprintf(" with CN=%s, issued by a verified CA of the hub", who.name())
	}
	if azure.IsSAS(password) {
		return refusal("HUB-15/sas-token", fmt.Sprintf("%s authenticates by certificate, the client sent a SAS token", who.name()),
			quote(azure.MaskSAS(clip(password))), expected)
	}
	return refusal("HUB-15/no-certificate", fmt.Sprintf("%s authenticates by certificate, the client sent none", who.name()),
		"no client certificate", expected)
}

// checkThumbprint compares both hashes of the leaf with both registered slots.
func (s *Service) checkThumbprint(who subject, leaf *x509.Certificate) *rule.Refusal {
	sha1Hex, sha256Hex := pki.Thumbprints(leaf)
	t, match := who.auth.Thumbprint, false
	for _, slot := range []string{t.Primary, t.Secondary} {
		match = match || strings.EqualFold(slot, sha1Hex) || strings.EqualFold(slot, sha256Hex)
	}
	if !match {
		return refusal("HUB-15/thumbprint",
			fmt.Sprintf("the certificate %s is not the one registered for %s", subjectName(leaf), who.name()),
			"SHA-1 "+sha1Hex+", SHA-256 "+sha256Hex, registered(t))
	}
	return s.inDate(leaf)
}

func registered(t Thumbprints) string {
	switch {
	case t.Secondary == "":
		return "primary " + t.Primary
	case t.Primary == "":
		return "secondary " + t.Secondary
	}
	return "primary " + t.Primary + " or secondary " + t.Secondary
}

func (s *Service) inDate(leaf *x509.Certificate) *rule.Refusal {
	now := s.clock.Wall()
	seen := fmt.Sprintf("valid from %s to %s", stamp(leaf.NotBefore), stamp(leaf.NotAfter))
	switch {
	case now.After(leaf.NotAfter):
		return refusal("HUB-15/expired", "the client certificate expired at "+stamp(leaf.NotAfter), seen, "a certificate valid at "+stamp(now))
	case now.Before(leaf.NotBefore):
		return refusal("HUB-15/not-yet-valid", "the client certificate is not valid before "+stamp(leaf.NotBefore), seen, "a certificate valid at "+stamp(now))
	}
	return nil
}

// checkChain follows the presented chain to a verified CA of the hub and compares the leaf's CN.
func (s *Service) checkChain(who subject, presented []*x509.Certificate) *rule.Refusal {
	leaf := presented[0]
	var verified, all []*x509.Certificate
	for _, ca := range who.hub.CAs {
		all = append(all, ca.Certificate)
		if ca.Verified {
			verified = append(verified, ca.Certificate)
		}
	}
	if r := s.inDate(leaf); r != nil {
		return r
	}
	if err := pki.VerifyChain(presented, verified, s.clock.Wall()); err != nil {
		return s.chainRefusal(who, presented, all, err)
	}
	if leaf.Subject.CommonName != who.name() {
		return refusal("HUB-16/cn", fmt.Sprintf("the certificate's common name is not %s", quote(who.name())),
			"CN="+quote(leaf.Subject.CommonName), "CN="+quote(who.name()))
	}
	return nil
}

func (s *Service) chainRefusal(who subject, presented, all []*x509.Certificate, err error) *rule.Refusal {
	if path, again := pki.Chain(presented, all, s.clock.Wall()); again == nil {
		top := path[len(path)-1]
		for _, ca := range who.hub.CAs {
			if !ca.Verified && ca.Certificate.Equal(top) {
				return refusal("HUB-16/unverified", fmt.Sprintf("CA %s is uploaded to the hub but not verified", quote(ca.Name)),
					"a chain to "+pki.Name(top.Subject), "a verified CA: upload a proof-of-possession certificate, or set verified in the world")
			}
		}
	}
	r := refusal("HUB-16/chain", err.Error(), chainNames(presented), who.knownCAs())
	var ce *pki.ChainError
	if errors.As(err, &ce) {
		r.Detail = ce.Detail
		if len(all) > 0 {
			r.Expected = ce.Expected + "; " + r.Expected
		}
		r.Seen = ce.Seen + "; presented " + r.Seen
	}
	return r
}

func chainNames(chain []*x509.Certificate) string {
	var names []string
	for _, c := range chain[:min(len(chain), 4)] {
		names = append(names, pki.Name(c.Subject))
	}
	return clip(strings.Join(names, " < "))
}

func (s subject) knownCAs() string {
	var names []string
	for _, ca := range s.hub.CAs {
		if ca.Verified {
			names = append(names, ca.Name+" ("+pki.Name(ca.Certificate.Subject)+")")
		}
	}
	if len(names) == 0 {
		return "a chain to a verified CA of the hub; it has none"
	}
	return "a chain to " + listed(names)
}

func subjectName(c *x509.Certificate) string { return clip(pki.Name(c.Subject)) }
