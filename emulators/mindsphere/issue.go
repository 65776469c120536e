package mindsphere

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// maxIssued bounds the certificates that the service has issued, of all tenants.
const maxIssued = 10_000

// IssuedCertificate is an agent's certificate made by MindSphere itself ("Obtaining Auto-Generated Agent
// Certificate"). Its agent exists from then on and sees no first drop.
type IssuedCertificate struct {
	ID          string    `json:"id"` // ULID
	Tenant      string    `json:"tenant"`
	Name        string    `json:"name"` // common name
	Owner       string    `json:"owner,omitempty"`
	ClientID    string    `json:"clientId"`
	AgentID     string    `json:"agentId"`
	Certificate string    `json:"certificate"` // PEM
	SHA256      string    `json:"sha256"`
	NotAfter    time.Time `json:"notAfter"`
}

// IssueCertificate makes a key and a certificate for a new agent of a tenant in region eu1. The private key
// (PEM, PKCS#1) is not kept. It takes up to a second.
func (s *Service) IssueCertificate(tenant, name, owner string) (c IssuedCertificate, privateKey string, err error) {
	fail := func(err error) (IssuedCertificate, string, error) {
		return IssuedCertificate{}, "", fmt.Errorf("agent certificate %q of tenant %q: %w", clip(name), clip(tenant), err)
	}
	t, ok := s.Tenant(tenant)
	clientID := mindsphere.ClientID(tenant, name)
	switch {
	case !ok:
		return fail(ErrNotFound)
	case t.Region != EU1:
		return fail(invalid("agent certificates are issued in region eu1 only"))
	case name == "" || strings.ContainsFunc(name, unfit) || len(name) > 64 || len(clientID) > mindsphere.MaxClientID || len(owner) > 256:
		return fail(invalid("name has 1 to 64 bytes without / + # and control characters, owner at most 256"))
	case len(s.issued.Keys("")) >= maxIssued:
		return fail(ErrLimit)
	}
	leaf, private, err := s.mint(name)
	if err != nil {
		return fail(err)
	}
	a, err := s.AddAgent(tenant, name, leaf)
	if err != nil {
		return fail(err)
	}
	c = IssuedCertificate{ID: s.ulid(), Tenant: tenant, Name: name, Owner: owner, ClientID: clientID, AgentID: a.AgentID,
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})), SHA256: thumbprint(leaf), NotAfter: leaf.NotAfter.UTC()}
	s.issued.Put(key(tenant, c.ID), c)
	s.prints.Put(c.SHA256, key(tenant, c.ID))
	return c, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})), nil
}

// ownIssuer is the common name of who has issued what the service itself has issued.
const ownIssuer = "MindSphere agent certificates"

// mint makes a key and a certificate for a year. The issuer's key is thrown away: the service knows what it
// has issued by its thumbprint.
func (s *Service) mint(name string) (*x509.Certificate, *rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	issuer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	now := s.clock.Wall().UTC().Truncate(time.Second)
	leaf := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: ownIssuer}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), issuer)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

// issuedTo returns the tenant whose agent a certificate was issued to by the service itself.
func (s *Service) issuedTo(leaf *x509.Certificate) (tenant string, ok bool, r *rule.Refusal) {
	id, ok := s.prints.Get(thumbprint(leaf))
	c, found := s.issued.Get(id)
	if !ok || !found {
		return "", false, nil
	}
	if now := s.clock.Wall(); now.After(leaf.NotAfter) {
		return "", true, refuse("MS-6/expired", "the certificate expired at "+stamp(leaf.NotAfter), describe(leaf), "a certificate valid at "+stamp(now))
	}
	return c.Tenant, true, nil
}

// IssuedCertificates returns the certificates issued for a tenant, oldest first.
func (s *Service) IssuedCertificates(tenant string) []IssuedCertificate {
	return s.issued.List(tenant + "/")
}

// IssuedCertificate returns one certificate issued for a tenant.
func (s *Service) IssuedCertificate(tenant, id string) (IssuedCertificate, bool) {
	return s.issued.Get(key(tenant, id))
}

// DeleteIssuedCertificate makes a certificate worthless and reports whether there was one. The agent stays.
func (s *Service) DeleteIssuedCertificate(tenant, id string) bool {
	c, ok := s.issued.Get(key(tenant, id))
	if ok {
		s.prints.Delete(c.SHA256)
		s.issued.Delete(key(tenant, id))
	}
	return ok
}
