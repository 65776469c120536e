package mindsphere

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/fault"
	"github.com/fakecloud/fakecloud/internal/wire/mindsphere"
)

// tokenLife is how long an agent's access token is good ("Acquiring an Agent Access Token via MQTT Agents").
const tokenLife = time.Hour

const agentScope = "mdsp:core:DefaultAgent"

// newSecret makes the key for what the service hands out; it dies with the process.
func newSecret() []byte {
	key := make([]byte, 32)
	rand.Read(key) // never fails (crypto/rand, Go 1.24)
	return key
}

func (s *Service) sign(text string) string {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// tokenClaims is the body of an access token.
type tokenClaims struct {
	ID       string   `json:"jti"`
	Subject  string   `json:"sub"` // client id
	Tenant   string   `json:"ten"`
	Scope    []string `json:"scope"`
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
}

// tokenResponse is the data of the answer to a token request.
type tokenResponse struct {
	AccessToken string   `json:"access_token"`
	TokenType   string   `json:"token_type"`
	ExpiresIn   int      `json:"expires_in"`
	Scope       []string `json:"scope"`
	ID          string   `json:"jti"`
	Timestamp   int64    `json:"timestamp"`
}

// issueToken answers a token request (MS-28).
func (s *Service) issueToken(from sender, payload []byte) Outcome {
	root := readDocument(payload)
	request := requestID(root)
	if !root.ok() {
		return swallowed("MS-28/request", root.doc.summary(), root.doc.problems[0].Path, `{"id":"{any id}"}`)
	}
	life := tokenLife
	if a, hit := s.faults.At(fault.Where{Step: fault.Token, Platform: Platform, Endpoint: from.Tenant, Device: from.ClientID,
		Conn: from.event.Conn, Address: from.event.Address}); hit {
		life = time.Duration(*a.Expire)
	}
	r := s.newToken(tokenClaims{Subject: from.ClientID, Tenant: from.Tenant, Scope: []string{agentScope}}, life)
	e := response{ID: s.ulid(), CorrelationID: s.ulid(), RequestID: request, Data: r}
	m := Message{Channel: mindsphere.TokenResponse, Payload: mindsphere.Encode(e)}
	r.AccessToken = "****"
	e.Data = r
	m.Shown = mindsphere.Encode(e)
	return Outcome{Answers: []Message{m}}
}

// newToken signs a token that is good for life.
func (s *Service) newToken(c tokenClaims, life time.Duration) tokenResponse {
	now := s.clock.Wall().UTC()
	c.ID, c.IssuedAt, c.Expires = s.ids.Hex(32), now.Unix(), now.Add(life).Unix()
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(mindsphere.Encode(c))
	return tokenResponse{AccessToken: signed + "." + s.sign(signed), TokenType: "Bearer", ExpiresIn: int(life / time.Second),
		Scope: c.Scope, ID: c.ID, Timestamp: now.Unix()}
}

// TenantToken returns an access token of a tenant for its REST APIs, as JSON in the form of the token service.
func (s *Service) TenantToken(tenant string) (json.RawMessage, error) {
	if _, ok := s.Tenant(tenant); !ok {
		return nil, fmt.Errorf("tenant %q: %w", clip(tenant), ErrNotFound)
	}
	return mindsphere.Encode(s.newToken(tokenClaims{Subject: tenant, Tenant: tenant, Scope: []string{"mdsp:core:Admin3rdPartyTechUser"}}, tokenLife)), nil
}

// Authorize returns the tenant of a bearer token that is good now: one that an agent was given, one of another
// token service, whose signature nobody here can judge, or for tests the bare name of a tenant. The error wraps
// ErrUnauthorized and says what is wrong.
func (s *Service) Authorize(token string) (tenant string, err error) {
	tenant = token
	if part := strings.Split(token, "."); len(part) == 3 {
		var claims struct {
			Tenant  string              `json:"ten"`
			Expires *mindsphere.Seconds `json:"exp"`
		}
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part[1], "="))
		switch {
		case err != nil || json.Unmarshal(raw, &claims) != nil || claims.Tenant == "":
			return "", fmt.Errorf("%w: it has no claim ten with the tenant's name", ErrUnauthorized)
		case claims.Expires != nil && expired(*claims.Expires, s.clock.Wall()):
			return "", fmt.Errorf("%w: it has expired; an agent asks for a new one on agm_v3/t", ErrUnauthorized)
		}
		tenant = claims.Tenant
	}
	if _, ok := s.Tenant(tenant); !ok {
		return "", fmt.Errorf("%w: it is for no tenant that exists%s", ErrUnauthorized, s.tenantNames())
	}
	return tenant, nil
}

// expired reports whether a token with this exp is good no more: on or after it (RFC 7519 section 4.1.4).
func expired(exp mindsphere.Seconds, now time.Time) bool { return int64(exp) <= now.Unix() }

// tenantNames names some of the tenants.
func (s *Service) tenantNames() string {
	var list []string
	for _, t := range s.Tenants() {
		list = append(list, t.Name)
	}
	if len(list) == 0 {
		return "; there is none"
	}
	return "; there are " + names(list)
}

// offer returns the address of a model's download, to which secretOf belongs. Whoever has the address may
// read the model, as with the signed addresses of the real service.
func (s *Service) offer(m Model) string {
	gateway := GatewayEU1
	a, _ := s.agents.Get(m.Agent)
	switch t, _ := s.Tenant(a.Tenant); t.Region {
	case EU2:
		gateway = GatewayEU2
	case Private: // the only host name that is known of it
		gateway = t.Host
	}
	return "https://" + gateway + DownloadPath + m.ID + "?signature="
}

// Where models are downloaded: the gateways of the regions, and the path before the model's id.
const (
	GatewayEU1   = "gateway.eu1.mindsphere.io"
	GatewayEU2   = "gateway.eu2.mindsphere.io"
	DownloadPath = "/api/assetmodeler/v4/downloads/"
)

func (s *Service) secretOf(m Model) string { return s.sign("model " + m.ID) }

// Download returns a version 4 model for an address that an agent was given.
func (s *Service) Download(modelID, signature string) (json.RawMessage, error) {
	if !hmac.Equal([]byte(signature), []byte(s.sign("model "+modelID))) {
		return nil, ErrNotFound
	}
	for _, m := range s.models.List("") {
		if m.ID == modelID {
			return m.Document, nil
		}
	}
	return nil, ErrNotFound
}
