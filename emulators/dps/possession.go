package dps

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// codeLength is the length of a verification code in hexadecimal digits, as the real service makes them.
const codeLength = 48

// PutCAIf is PutCA for a CA whose ETag must be match: empty wants a new one, else the refusal is
// DPS-44/etag; * takes any. It returns the CA as stored.
func (s *Service) PutCAIf(instance string, c CA, match string) (CA, error) {
	err := c.normalise()
	err = s.put(instance, "CA certificate", c.Name, err, func() error {
		k := key(instance, c.Name)
		old, replaces := s.cas.Get(k)
		switch {
		case match == "" && replaces, match != "" && match != "*" && match != old.ETag:
			return staleCA(match)
		case match != "" && !replaces:
			return ErrNotFound
		case !replaces && len(s.cas.List(instance+"/")) >= maxCAs:
			return fmt.Errorf("the instance has %d CA certificates already, which is the limit", maxCAs)
		}
		s.stampCA(&c, old)
		s.cas.Put(k, c)
		return nil
	})
	return c, err
}

// stampCA sets what the service owns of a CA that replaces old.
func (s *Service) stampCA(c *CA, old CA) {
	now := s.Clock.Wall().UTC()
	c.Created, c.Updated, c.ETag = now, now, s.tag()
	if !old.Created.IsZero() {
		c.Created = old.Created
	}
}

// DeleteCAIf removes a CA certificate with an ETag to match, as PutCAIf.
func (s *Service) DeleteCAIf(instance, name, match string) error {
	_, err := s.changeCA(instance, name, match, func(c *CA) error {
		s.DeleteCA(instance, name)
		return nil
	}, false)
	return err
}

// NewCode gives a CA certificate a new verification code and returns it.
func (s *Service) NewCode(instance, name, match string) (CA, error) {
	return s.changeCA(instance, name, match, func(c *CA) error {
		c.Code = strings.ToUpper(s.IDs.Hex(codeLength))
		return nil
	}, true)
}

// ProveCA verifies a CA certificate by proof, PEM or base64 of DER: a certificate that the CA has signed and
// whose common name is the verification code (how-to-verify-certificates.md). Any other is a *rule.Refusal,
// and the CA stays as it was.
func (s *Service) ProveCA(instance, name, match, proof string) (CA, error) {
	return s.changeCA(instance, name, match, func(c *CA) error {
		if refusal := s.judgeProof(*c, proof); refusal != nil {
			return refusal
		}
		c.Verified, c.Code = true, ""
		return nil
	}, true)
}

func (s *Service) judgeProof(c CA, proof string) *rule.Refusal {
	refuse := func(cause rule.ID, seen, expected string) *rule.Refusal {
		return &rule.Refusal{Rule: cause, Code: http.StatusBadRequest, Seen: seen, Expected: expected}
	}
	if c.Code == "" {
		return refuse("DPS-44/no-code", "no verification code was made, or it was used already", "POST …/generateVerificationCode first")
	}
	leaf, _, err := readCertificate(proof)
	if err != nil {
		return refuse("DPS-44/certificate", clip(err.Error()), "a certificate as PEM, or base64 of DER")
	}
	if leaf.Subject.CommonName != c.Code {
		return refuse("DPS-44/code", fmt.Sprintf("common name %q", clip(leaf.Subject.CommonName)), fmt.Sprintf("common name %q", c.Code))
	}
	ca := s.certs.Certificate(c.Certificate)
	if err := pki.VerifyChain([]*x509.Certificate{leaf}, []*x509.Certificate{ca}, s.Clock.Wall()); err != nil || leaf.Equal(ca) {
		var chain *pki.ChainError
		seen := describe(leaf)
		if errors.As(err, &chain) {
			seen = clip(chain.Detail + ": " + chain.Seen)
		}
		return refuse("DPS-44/signature", seen, "a signature by the key of "+clip(pki.Name(ca.Subject)))
	}
	return nil
}

// changeCA carries change out on a CA whose ETag is match; empty is refused, * takes any.
func (s *Service) changeCA(instance, name, match string, change func(*CA) error, keep bool) (CA, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	c, ok := s.CA(instance, name)
	switch {
	case !ok:
		return c, ErrNotFound
	case match != "*" && match != c.ETag || match == "":
		return c, staleCA(match)
	}
	old := c
	if err := change(&c); err != nil {
		return old, err
	}
	if keep {
		s.stampCA(&c, old)
		s.cas.Put(key(instance, name), c)
	}
	return c, nil
}

func staleCA(match string) *rule.Refusal {
	seen := "no If-Match"
	if match != "" {
		seen = "If-Match: " + clip(match)
	}
	return &rule.Refusal{Rule: "DPS-44/etag", Code: http.StatusPreconditionFailed, Seen: seen, Expected: "the etag that the certificate has now"}
}

// CertificateOf returns the certificate itself.
func (s *Service) CertificateOf(c CA) *x509.Certificate { return s.certs.Certificate(c.Certificate) }

// normalise checks a CA and writes its certificate as PEM.
func (c *CA) normalise() error {
	if !caName.MatchString(c.Name) {
		return wrong("name", "%q is no certificate name: 1 to 64 letters, digits and - . _", clip(c.Name))
	}
	cert, text, err := readCertificate(c.Certificate)
	if err != nil {
		return wrong("certificate", "%v", err)
	}
	if err := usableAsCA(cert); err != nil {
		return wrong("certificate", "%v", err)
	}
	c.Certificate = text
	return nil
}
