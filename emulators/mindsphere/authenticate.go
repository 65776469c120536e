package mindsphere

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// Credentials are what a connecting client shows.
type Credentials struct {
	ClientID     string
	Username     string // with Password ignored beside a certificate, as AWS IoT Core does
	Password     string
	Certificates []*x509.Certificate // as presented, leaf first
	Host         string              // the name that the client came by, in TLS; empty where it gave none
}

// Authenticate judges a connecting agent: by its certificate (region eu1), or by a token as password, without
// a certificate (private cloud). The error is a *rule.Refusal: silent in eu1, where the broker closes the
// connection without an answer. The first connection of a good certificate is refused, too, and starts the
// agent's provisioning (MS-1).
func (s *Service) Authenticate(c Credentials) (Identity, error) {
	if strayed := s.checkHost(c.Host); strayed != nil {
		return Identity{}, strayed
	}
	if s.wantsToken(c) {
		return s.authenticateToken(c)
	}
	if len(c.Certificates) == 0 {
		r := refuse("MS-6/no-certificate", "the agent presented no client certificate", "no client certificate", "the agent's certificate as TLS client certificate")
		if c.Username == mindsphere.BearerUsername {
			r.Detail = "the broker of region eu1 takes certificates only; tokens are for the brokers of private clouds"
		}
		return Identity{}, r
	}
	tenant, _, _ := mindsphere.SplitClientID(c.ClientID)
	if t, ok := s.Tenant(tenant); ok && t.Region == EU2 {
		return Identity{}, refuse("MS-5/region", fmt.Sprintf("tenant %s lives in region eu2", t.Name),
			fmt.Sprintf("client id %q at the broker of eu1", clip(c.ClientID)), "a registration at the global DPS endpoint, then a connection to the assigned hub")
	}
	owner, issued, r := s.issuedTo(c.Certificates[0])
	if !issued {
		owner, r = s.owner(EU1, c.Certificates, tenant)
	}
	if r == nil {
		r = s.checkName(owner, c.Certificates[0], c.ClientID)
	}
	if r != nil {
		return Identity{}, r
	}
	return s.admit(owner, c.ClientID, c.Certificates[0])
}

// wantsToken reports whether a client is judged by its token: every one that came by the name of a private cloud's
// broker and none that came by that of eu1's; without a telling name one that says so, and every one of a private
// cloud's tenant.
func (s *Service) wantsToken(c Credentials) bool {
	switch {
	case strings.EqualFold(c.Host, HostEU1):
		return false
	case s.privateHost(c.Host):
		return true
	}
	tenant, _, _ := mindsphere.SplitClientID(c.ClientID)
	t, ok := s.Tenant(tenant)
	return ok && t.Region == Private || c.Username == mindsphere.BearerUsername && len(c.Certificates) == 0
}

// privateHost reports whether a name is that of a private cloud's broker.
func (s *Service) privateHost(host string) bool {
	return host != "" && slices.ContainsFunc(s.Tenants(), func(t Tenant) bool { return t.Region == Private && strings.EqualFold(t.Host, host) })
}

// checkHost refuses who came by a name of MindSphere's under which there is no broker (MS-5).
func (s *Service) checkHost(host string) *rule.Refusal {
	if !strings.HasSuffix(strings.ToLower(host), vendorDomain) || strings.EqualFold(host, HostEU1) || s.privateHost(host) {
		return nil
	}
	return refuse("MS-5/host", "there is no broker "+clip(host), fmt.Sprintf("a connection to %q", clip(host)),
		HostEU1+" for region eu1; for region eu2 the hub that DPS assigns")
}

// refuse makes a refusal that the wire shows as a bare close.
func refuse(id rule.ID, detail, seen, expected string) *rule.Refusal {
	return &rule.Refusal{Rule: id, Silent: true, Detail: detail, Seen: seen, Expected: expected}
}

// checkName compares the client id with tenant and common name (MS-5).
func (s *Service) checkName(tenant string, leaf *x509.Certificate, clientID string) *rule.Refusal {
	cn := leaf.Subject.CommonName
	want := mindsphere.ClientID(tenant, cn)
	seen := fmt.Sprintf("client id %q, certificate with CN=%q of tenant %s", clip(clientID), clip(cn), tenant)
	expected := fmt.Sprintf("client id %q", clip(want))
	switch {
	case cn == "":
		return refuse("MS-5/no-cn", "the certificate has no common name", seen, "a certificate with CN={device}")
	case strings.ContainsFunc(cn, unfit):
		return refuse("MS-5/characters", "the common name has characters that cannot stand in a topic", seen, "a common name without / + # and control characters")
	case len(clientID) > mindsphere.MaxClientID:
		return refuse("MS-5/length", fmt.Sprintf("the client id has %d bytes", len(clientID)), seen, fmt.Sprintf("at most %d bytes", mindsphere.MaxClientID))
	case clientID == want:
		return nil
	}
	id, detail := s.nameFault(tenant, cn, clientID, want)
	if id == "MS-5/quotes" && strings.ContainsAny(cn, quotes) {
		clean := mindsphere.ClientID(tenant, unquote(cn))
		expected = fmt.Sprintf("a certificate issued anew with CN=%q, and client id %q", clip(unquote(cn)), clip(clean))
	}
	if id == "MS-5/eu2-name" {
		device := strings.TrimPrefix(cn, tenant+"_")
		expected += fmt.Sprintf(", or a certificate with CN=%q and client id %q", clip(device), clip(mindsphere.ClientID(tenant, device)))
	}
	return refuse(id, detail, seen, expected)
}

// nameFault finds the likely mistake behind a client id that is not want.
func (s *Service) nameFault(tenant, cn, clientID, want string) (rule.ID, string) {
	prefix, _, _ := mindsphere.SplitClientID(clientID)
	switch {
	case unquote(clientID) == unquote(want):
		if strings.ContainsAny(cn, quotes) {
			return "MS-5/quotes", "quotes have become a part of the certificate's common name; a shell on Windows does not remove them"
		}
		return "MS-5/quotes", "quotes have become a part of the client id"
	case clientID == cn && strings.HasPrefix(cn, tenant+"_"):
		return "MS-5/eu2-name", "the common name has the tenant in it, as region eu2 wants it; in eu1 the tenant stands in the client id alone"
	case clientID == cn:
		return "MS-5/prefix", "the client id is the common name alone, without the tenant before it"
	case fold(clientID) == fold(want):
		return "MS-5/spelling", "client id and common name differ in case or blanks"
	case strings.HasSuffix(clientID, "_"+cn):
		detail := fmt.Sprintf("the client id names the tenant %q, but the certificate was issued by a CA of tenant %s", clip(prefix), tenant)
		if _, known := s.Tenant(prefix); !known {
			detail += "; there is no tenant of that name"
		}
		return "MS-5/tenant", detail
	}
	switch {
	case clientID == "":
		return "MS-5/device", "the client sent no client id"
	case strings.HasPrefix(clientID, tenant+"_"):
		return "MS-5/device", "the client id is another agent's"
	}
	return "MS-5/device", "the client id has nothing of tenant and common name; clients that are given none make one up, such as mosq-…"
}

const quotes = `"'` + "`" + "“”"

// unquote removes every quote, wherever it stands: "t"_"dev" is what a Windows shell leaves.
func unquote(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(quotes, r) {
			return -1
		}
		return r
	}, s)
}

// fold makes texts equal that differ in case or blanks.
func fold(s string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s))
}

// unfit reports characters that cannot stand in a level of a topic.
func unfit(r rune) bool { return r == '/' || r == '+' || r == '#' || unicode.IsControl(r) }

// Claim says whether a connection without a telling host name is one of a MindConnect agent, and of which
// tenant: a client id {tenant}_{CN} of a known tenant, a certificate of a tenant's CA (region eu1), or the user
// name _CertificateBearer (private cloud). endpoint is empty
// where no tenant can be told. near is one sentence for a person on what keeps an almost right client from
// being claimed. Other platforms' devices have user names and may show certificates of the same CA, so with
// a user name only the exact client id counts.
func (s *Service) Claim(clientID, username string, certificates []*x509.Certificate) (endpoint string, ok bool, near string) {
	prefix, _, _ := mindsphere.SplitClientID(clientID)
	t, known := s.Tenant(prefix)
	known = known && t.Region == EU1
	issuer := ""
	if len(certificates) > 0 {
		issuer = s.issuerTenant(certificates[0], prefix)
	}
	switch {
	case username == mindsphere.BearerUsername:
		if t.Region != Private {
			prefix = ""
		}
		return prefix, true, ""
	case username == "" && known:
		return prefix, true, ""
	case username == "" && issuer != "":
		return issuer, true, ""
	case issuer != "" && clientID == mindsphere.ClientID(issuer, certificates[0].Subject.CommonName):
		return issuer, true, ""
	case known && len(certificates) == 0:
		return "", false, fmt.Sprintf("MindSphere takes the client id %q with the agent's certificate, without user name", clip(clientID))
	case issuer != "":
		return "", false, fmt.Sprintf("MindSphere takes this certificate with client id %q, without user name",
			clip(mindsphere.ClientID(issuer, certificates[0].Subject.CommonName)))
	}
	return "", false, ""
}

// issuerTenant returns the tenant of eu1 that has a CA named as the leaf's issuer. It verifies nothing.
func (s *Service) issuerTenant(leaf *x509.Certificate, preferred string) string {
	for _, a := range s.anchors(EU1, preferred) {
		if string(a.cert.RawSubject) == string(leaf.RawIssuer) {
			return a.tenant
		}
	}
	return ""
}

// thumbprint identifies a certificate.
func thumbprint(leaf *x509.Certificate) string {
	_, sha := pki.Thumbprints(leaf)
	return sha
}
