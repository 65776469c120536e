package mindsphere

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// Errors of the calls on records. They are wrapped with what is wrong.
var (
	ErrNotFound = store.ErrNotFound
	ErrExists   = store.ErrExists
	ErrInvalid  = errors.New("invalid")
	// ErrLimit says that there is no room for one more.
	ErrLimit = errors.New("limit reached")
	// ErrUnauthorized says that a caller of the APIs has shown no token that is good.
	ErrUnauthorized = errors.New("bearer token")
)

// Limits.
const (
	MaxCAs          = 2 // per tenant ("Managing CA Certificates using MindConnect MQTT API")
	maxTenants      = 1000
	maxAgents       = 100_000 // of all tenants
	maxCertificates = 8       // per agent
	maxPEM          = 64 << 10
	maxProvisioning = time.Hour
)

var caID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// PutTenant adds or replaces a tenant. Its region cannot change.
func (s *Service) PutTenant(t Tenant) error {
	t = t.clone()
	if t.Region == "" {
		t.Region = EU1
	}
	if err := t.validate(); err != nil {
		return fmt.Errorf("tenant %q: %w", clip(t.Name), err)
	}
	old, replaces, err := s.keepTenant(t)
	if err == nil {
		err = s.enroll(t.Name)
	}
	switch {
	case err == nil:
		return nil
	case replaces:
		s.tenants.Put(t.Name, old)
	default:
		s.tenants.Delete(t.Name)
	}
	return fmt.Errorf("tenant %q: %w", t.Name, err)
}

// keepTenant writes a valid tenant.
func (s *Service) keepTenant(t Tenant) (old Tenant, replaces bool, err error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	old, replaces = s.tenants.Get(t.Name)
	switch {
	case replaces && old.Region != t.Region:
		return old, true, invalid("region cannot change from %s to %s; delete the tenant first", old.Region, t.Region)
	case replaces && !strings.EqualFold(old.IDScope, t.IDScope):
		return old, true, invalid("idScope cannot change from %s to %s; delete the tenant first", old.IDScope, t.IDScope)
	case !replaces && s.tenants.Len() >= maxTenants:
		return old, false, fmt.Errorf("%w: there are %d tenants", ErrLimit, maxTenants)
	}
	s.tenants.Put(t.Name, t)
	return old, replaces, nil
}

func (t Tenant) validate() error {
	switch {
	case !mindsphere.ValidTenant(t.Name):
		return invalid("a tenant's name is 1 to 63 letters, digits and inner hyphens; an underscore would end it in a client id")
	case !slices.Contains([]Region{EU1, EU2, Private}, t.Region):
		return invalid("region %q is none of eu1, eu2, private", clip(string(t.Region)))
	case t.Region == Private && t.Host == "":
		return invalid("host: a private cloud needs its broker's host name")
	case t.Region != Private && t.Host != "":
		return invalid("host: only a private cloud has a host name of its own")
	case t.Region == EU2 && t.Hub == "":
		return invalid("hub: a tenant of region eu2 needs the host name of its IoT Hub")
	case t.Region == EU2 && t.IDScope == "":
		return invalid("idScope: a tenant of region eu2 needs the ID scope of its DPS instance")
	case t.Region == EU2 && len(t.Name) > maxEU2Tenant:
		return invalid("in region eu2 a tenant's name has at most %d characters", maxEU2Tenant)
	case t.Region != EU2 && (t.Hub != "" || t.IDScope != ""):
		return invalid("hub and idScope: only region eu2 has them")
	case t.provisioning() < 0 || t.provisioning() > maxProvisioning:
		return invalid("provisioning %s is not between 0 and %s", t.provisioning(), maxProvisioning)
	case len(t.EventTypes) > 1000:
		return invalid("eventTypes: more than 1000")
	}
	return nil
}

// Tenant returns one tenant.
func (s *Service) Tenant(name string) (Tenant, bool) { return s.tenants.Get(name) }

// Tenants returns all tenants, ordered by name.
func (s *Service) Tenants() []Tenant { return s.tenants.List("") }

// DeleteTenant removes a tenant with its CAs, agents, assets and data, and reports whether there was one.
func (s *Service) DeleteTenant(name string) bool {
	t, ok := s.Tenant(name)
	if !ok {
		return false
	}
	s.disenroll(t)
	for _, a := range s.Agents(name) {
		s.DeleteAgent(a.ClientID)
	}
	s.ForgetMade(func(clientID string) bool { return strings.HasPrefix(clientID, name+"_") })
	s.ForgetData(name + "_*")
	s.admin.Lock()
	defer s.admin.Unlock()
	for _, c := range s.cas.List(name + "/") {
		s.cas.Delete(key(name, c.ID))
	}
	for _, a := range s.assets.List(name + "/") {
		s.assets.Delete(key(name, a.AssetID))
	}
	for _, j := range s.jobs.List(name + "/") {
		s.dropJob(j)
	}
	for _, t := range s.aspectTypes.List(name + "/") {
		s.aspectTypes.Delete(key(name, t.ID))
	}
	for _, t := range s.assetTypes.List(name + "/") {
		s.assetTypes.Delete(key(name, t.ID))
	}
	return s.tenants.Delete(name)
}

// PutCA adds a CA certificate to a tenant, or replaces the one with its id, and returns it as stored. A
// tenant has at most MaxCAs.
func (s *Service) PutCA(tenant string, c CA) (CA, error) {
	cert, text, err := readCertificate(c.Certificate)
	if err == nil && c.ID == "" {
		c.ID = s.ids.Hex(32)
	}
	switch {
	case err != nil:
	case !caID.MatchString(c.ID):
		err = invalid("id %q is not 1 to 64 letters, digits and - . _", clip(c.ID))
	case cert.BasicConstraintsValid && !cert.IsCA:
		err = invalid("the certificate of %q is no CA: its basicConstraints say CA:FALSE", clip(pki.Name(cert.Subject)))
	case s.clock.Wall().After(cert.NotAfter):
		err = invalid("the certificate of %q expired at %s", clip(pki.Name(cert.Subject)), stamp(cert.NotAfter))
	}
	if err != nil {
		return CA{}, fmt.Errorf("CA certificate %q of tenant %q: %w", clip(c.ID), clip(tenant), err)
	}
	c.Certificate = text
	c, restore, err := s.keepCA(tenant, c)
	if err != nil {
		return CA{}, err
	}
	if err := s.enroll(tenant); err != nil {
		restore()
		return CA{}, fmt.Errorf("CA certificate %q of tenant %q: %w", c.ID, tenant, err)
	}
	return c, nil
}

// keepCA writes a valid CA and returns it as stored, and how to take that back.
func (s *Service) keepCA(tenant string, c CA) (kept CA, restore func(), err error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	if _, ok := s.tenants.Get(tenant); !ok {
		return CA{}, nil, fmt.Errorf("tenant %q: %w", clip(tenant), ErrNotFound)
	}
	held := s.cas.List(tenant + "/")
	old, replaces := s.cas.Get(key(tenant, c.ID))
	if !replaces && len(held) >= MaxCAs {
		return CA{}, nil, fmt.Errorf("CA certificate %q of tenant %q: %w: a tenant has at most %d CA certificates", c.ID, tenant, ErrLimit, MaxCAs)
	}
	restore = func() { s.cas.Delete(key(tenant, c.ID)) }
	c.Created, c.RegistrationCode = s.clock.Wall().UTC(), s.ids.Hex(64)
	if replaces {
		restore = func() { s.cas.Put(key(tenant, c.ID), old) }
	}
	if replaces && old.Certificate == c.Certificate {
		c.Created, c.RegistrationCode = old.Created, old.RegistrationCode
	}
	s.cas.Put(key(tenant, c.ID), c)
	return c, restore, nil
}

// VerifyCA proves possession of a CA's key: proof is a certificate or a certificate request (PEM) with the CA's
// registration code as common name, signed by that key. Only then are the CA's agents accepted.
func (s *Service) VerifyCA(tenant, id, proof string) error {
	fail := func(err error) error {
		return fmt.Errorf("CA certificate %q of tenant %q: %w", clip(id), clip(tenant), err)
	}
	c, ok := s.cas.Get(key(tenant, id))
	if !ok {
		return fail(ErrNotFound)
	}
	name, err := s.proven(proof, s.certs.Certificate(c.Certificate))
	if err != nil {
		return fail(err)
	}
	if name != c.RegistrationCode {
		return fail(invalid("the proof has CN=%q instead of the registration code %q", clip(name), c.RegistrationCode))
	}
	_, err = s.cas.Update(key(tenant, id), func(now CA) (CA, error) {
		if now.RegistrationCode != c.RegistrationCode {
			return now, ErrNotFound // replaced meanwhile
		}
		now.Verified = true
		return now, nil
	})
	if err != nil {
		return err
	}
	return s.enroll(tenant)
}

// proven returns the common name of a certificate or certificate request that the CA's key has signed.
func (s *Service) proven(proof string, ca *x509.Certificate) (commonName string, err error) {
	block, _ := pem.Decode([]byte(proof))
	if block == nil || !strings.HasSuffix(block.Type, "CERTIFICATE REQUEST") {
		cert, _, err := readCertificate(proof)
		if err != nil {
			return "", err
		}
		if _, err := pki.Chain([]*x509.Certificate{cert}, []*x509.Certificate{ca}, s.clock.Wall()); err != nil {
			return "", invalid("the verification certificate was not issued by this CA: %v", err)
		}
		return cert.Subject.CommonName, nil
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	switch {
	case err != nil:
		return "", invalid("certificate request: %v", err)
	case !bytes.Equal(csr.RawSubjectPublicKeyInfo, ca.RawSubjectPublicKeyInfo) || csr.CheckSignature() != nil:
		return "", invalid("the certificate request was not signed with the CA's key")
	}
	return csr.Subject.CommonName, nil
}

// CA returns one CA certificate of a tenant.
func (s *Service) CA(tenant, id string) (CA, bool) { return s.cas.Get(key(tenant, id)) }

// CAs returns the CA certificates of a tenant, ordered by id.
func (s *Service) CAs(tenant string) []CA { return s.cas.List(tenant + "/") }

// DeleteCA removes a CA certificate and reports whether there was one. Its agents stay, but are refused.
func (s *Service) DeleteCA(tenant, id string) bool {
	if !s.cas.Delete(key(tenant, id)) {
		return false
	}
	if err := s.enroll(tenant); err != nil {
		s.log.Warn("enrollment group not changed", "endpoint", tenant, "cause", err)
	}
	return true
}

// Agent returns one agent.
func (s *Service) Agent(clientID string) (Agent, bool) { return s.agents.Get(clientID) }

// Agents returns the agents of a tenant, ordered by client id.
func (s *Service) Agents(tenant string) []Agent { return s.agents.List(tenant + "_") }

// DeleteAgent forgets an agent with its own asset, its models and mappings, closes its connection, and reports whether there was one.
// Its next connection is a first one again.
func (s *Service) DeleteAgent(clientID string) bool {
	a, ok := s.agents.Get(clientID)
	if !ok || !s.agents.Delete(clientID) {
		return false
	}
	if a.AssetID != "" {
		s.assets.Delete(key(a.Tenant, a.AssetID))
	}
	for _, k := range s.models.Keys(modelKey(clientID, "")) {
		s.models.Delete(k)
	}
	_, _ = s.built.Update(clientID, func(b built) (built, error) { // assets that were made stay, and are found again
		b.Mappings = nil
		return b, nil
	})
	s.cut(clientID, errDeleted)
	return true
}

// Asset returns one asset of a tenant.
func (s *Service) Asset(tenant, assetID string) (Asset, bool) {
	return s.assets.Get(key(tenant, assetID))
}

// Assets returns the assets of a tenant, ordered by id.
func (s *Service) Assets(tenant string) []Asset { return s.assets.List(tenant + "/") }

// readCertificate reads one certificate of PEM text and returns it with its canonical text.
func readCertificate(text string) (*x509.Certificate, string, error) {
	if len(text) > maxPEM {
		return nil, "", invalid("certificate: more than %d bytes", maxPEM)
	}
	certs, err := pki.ParseCertificates([]byte(text))
	if err != nil {
		return nil, "", invalid("certificate: %v", err)
	}
	if len(certs) != 1 {
		return nil, "", invalid("certificate: one is wanted, there are %d", len(certs))
	}
	return certs[0], string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certs[0].Raw})), nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// clip shortens what a client sent, for messages.
func clip(text string) string {
	const most = 256
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
