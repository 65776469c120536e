package mindsphere

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// codeNotAuthorized is the CONNACK return code of a refused token.
const codeNotAuthorized = 5

// refuseToken is refuse for the private cloud, whose broker answers with a return code.
func refuseToken(id rule.ID, detail, seen, expected string) *rule.Refusal {
	r := refuse(id, detail, seen, expected)
	r.Silent, r.Code = false, codeNotAuthorized
	return r
}

const wantToken = "an RS256 JWT with x5c, signed with the agent's key"

// authenticateToken judges an agent of a private cloud by its token (MS-32). There is no first drop.
func (s *Service) authenticateToken(c Credentials) (Identity, error) {
	if c.Username != mindsphere.BearerUsername {
		return Identity{}, refuseToken("MS-32/username", "the tenant's agents connect with a token", fmt.Sprintf("user name %q", clip(c.Username)),
			fmt.Sprintf("user name %q and %s as password", mindsphere.BearerUsername, wantToken))
	}
	t, err := mindsphere.ParseToken(c.Password)
	switch {
	case errors.Is(err, mindsphere.ErrTokenX5C):
		return Identity{}, refuseToken("MS-32/x5c", err.Error(), "the token's header", wantToken)
	case err != nil:
		return Identity{}, refuseToken("MS-32/malformed", err.Error(), fmt.Sprintf("a password of %d bytes", len(c.Password)), wantToken)
	case t.Algorithm != mindsphere.TokenAlgorithm:
		return Identity{}, refuseToken("MS-32/algorithm", "the token is not signed with RS256", fmt.Sprintf("alg %q", clip(t.Algorithm)), "alg RS256")
	}
	if err := t.Verify(); err != nil {
		return Identity{}, refuseToken("MS-32/signature", err.Error(), describe(t.Certificates[0]), "a signature with the key of that certificate")
	}
	tenant, r := s.checkClaims(t.Claims, c.ClientID)
	if r == nil {
		r = s.checkTokenHost(tenant, c.Host)
	}
	if r == nil {
		r = s.checkTokenChain(tenant, t.Certificates, c.ClientID)
	}
	if r != nil {
		return Identity{}, r
	}
	return s.admitToken(tenant, c.ClientID, t.Certificates[0])
}

// notBeforeLeeway is how far a token's nbf may lie ahead: mindconnect-nodejs rounds the time to the nearest
// second, and RFC 7519 section 4.1.5 allows a small leeway.
const notBeforeLeeway = 2 * time.Second

// checkClaims judges what a token says.
func (s *Service) checkClaims(claims mindsphere.TokenClaims, clientID string) (tenant string, r *rule.Refusal) {
	now := s.clock.Wall().UTC()
	at := func(seconds mindsphere.Seconds) string {
		return time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339)
	}
	prefix, _, _ := mindsphere.SplitClientID(clientID)
	t, ok := s.Tenant(claims.Tenant)
	switch {
	case !slices.Contains(claims.Audience, mindsphere.TokenAudience):
		return "", refuseToken("MS-32/audience", "the token is not made for the MQTT broker", fmt.Sprintf("aud %q", claims.Audience[:min(len(claims.Audience), 3)]), `aud ["MQTTBroker"]`)
	case expired(claims.Expires, now):
		return "", refuseToken("MS-32/expired", "the token has expired, or has no exp", "exp "+at(claims.Expires), "an exp after "+stamp(now))
	case int64(claims.NotBefore) > now.Add(notBeforeLeeway).Unix():
		return "", refuseToken("MS-32/not-yet-valid", "the token is not valid yet", "nbf "+at(claims.NotBefore), "an nbf before "+stamp(now))
	case !ok || t.Region != Private || prefix != t.Name:
		return "", refuseToken("MS-32/tenant", "the claim ten names no private cloud tenant, or not that of the client id",
			fmt.Sprintf("ten %q, client id %q", clip(claims.Tenant), clip(clientID)), "ten and the beginning of the client id: a tenant with region private"+s.privateTenants())
	case claims.Subject != clientID || claims.Issuer != clientID:
		return "", refuseToken("MS-32/subject", "the token is another client's", fmt.Sprintf("iss %q, sub %q, client id %q", clip(claims.Issuer), clip(claims.Subject), clip(clientID)), "iss and sub equal to the client id")
	}
	return t.Name, nil
}

// checkTokenHost refuses a token of another private cloud's tenant than the one whose broker the client came to by name.
func (s *Service) checkTokenHost(tenant, host string) *rule.Refusal {
	t, _ := s.Tenant(tenant)
	if !s.privateHost(host) || strings.EqualFold(t.Host, host) {
		return nil
	}
	return refuseToken("MS-32/tenant", "the broker is that of another private cloud than the tenant's", fmt.Sprintf("ten %q at %s", clip(tenant), clip(host)), "a connection to "+t.Host)
}

func (s *Service) privateTenants() string {
	var list []string
	for _, t := range s.Tenants() {
		if t.Region == Private {
			list = append(list, t.Name)
		}
	}
	if len(list) == 0 {
		return "; there is none"
	}
	return ": " + names(list)
}

// checkTokenChain wants a path from the token's leaf to a verified CA of the tenant; x5c may hold
// intermediates.
func (s *Service) checkTokenChain(tenant string, x5c []*x509.Certificate, clientID string) *rule.Refusal {
	var anchors []*x509.Certificate
	for _, a := range s.anchors(Private, tenant) {
		if a.tenant == tenant && a.verified {
			anchors = append(anchors, a.cert)
		}
	}
	if _, err := pki.Chain(x5c, anchors, s.clock.Wall()); err != nil {
		return refuseToken("MS-32/chain", err.Error(), describe(x5c[0]), "a certificate issued by a verified CA of tenant "+tenant)
	}
	if want := mindsphere.ClientID(tenant, x5c[0].Subject.CommonName); clientID != want {
		return refuseToken("MS-32/cn", "the client id is not that of the token's certificate", fmt.Sprintf("client id %q, CN=%q", clip(clientID), clip(x5c[0].Subject.CommonName)), fmt.Sprintf("client id %q", clip(want)))
	}
	return nil
}

// admitToken makes the agent at its first connection.
func (s *Service) admitToken(tenant, clientID string, leaf *x509.Certificate) (Identity, error) {
	if a, ok := s.agents.Get(clientID); !ok || a.certificate(thumbprint(leaf)) == nil {
		if _, err := s.AddAgent(tenant, leaf.Subject.CommonName, leaf); err != nil {
			return Identity{}, err
		}
	}
	a, _ := s.agents.Get(clientID)
	return Identity{Tenant: tenant, Region: Private, ClientID: clientID, AgentID: a.AgentID}, nil
}
