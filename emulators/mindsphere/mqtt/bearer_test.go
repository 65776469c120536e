package mqtt_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// token is a JWT as its parts, made by hand.
type token struct {
	header, claims map[string]any
	key            *rsa.PrivateKey
}

func (s *server) token(t *testing.T, ca string) *token {
	t.Helper()
	i, err := s.cas.IssueDevice(pki.DeviceRequest{CommonName: "dev", CA: ca, Key: pki.RSA2048})
	require.NoError(t, err)
	x5c := []string{base64.StdEncoding.EncodeToString(i.Leaf.Raw)}
	for _, c := range i.Issuers {
		x5c = append(x5c, base64.StdEncoding.EncodeToString(c.Raw))
	}
	now := today.Unix()
	return &token{
		map[string]any{"alg": "RS256", "typ": "JWT", "x5c": x5c},
		map[string]any{"iss": "site_dev", "sub": "site_dev", "aud": []string{"MQTTBroker"}, "schemas": []string{"urn:siemens:mindsphere:v1"},
			"ten": "site", "jti": "1", "iat": now, "nbf": now - 1, "exp": now + 1500},
		i.Key.(*rsa.PrivateKey),
	}
}

func (k *token) text(t *testing.T) string {
	t.Helper()
	var part []string
	for _, m := range []map[string]any{k.header, k.claims} {
		b, err := json.Marshal(m)
		require.NoError(t, err)
		part = append(part, base64.RawURLEncoding.EncodeToString(b))
	}
	sum := sha256.Sum256([]byte(strings.Join(part, ".")))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.key, crypto.SHA256, sum[:])
	require.NoError(t, err)
	return strings.Join(append(part, base64.RawURLEncoding.EncodeToString(signature)), ".")
}

// inPrivateCloud runs test against a server with the private cloud tenant site.
func inPrivateCloud(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	onWire(t, func(t *testing.T, s *server) {
		require.NoError(t, s.svc.PutTenant(mindsphere.Tenant{Name: "site", Region: mindsphere.Private, Host: "mqtt.site.test"}))
		s.addCA(t, "site", "site-ca", true)
		test(t, s)
	})
}

// MS-32: a good token is accepted at once, and the agent talks as in eu1.
func TestToken32(t *testing.T) {
	inPrivateCloud(t, func(t *testing.T, s *server) {
		user, password := "_CertificateBearer", s.token(t, "site-ca").text(t)
		for range 2 {
			c := s.attempt(t, brokertest.Connect{ClientID: "site_dev", Username: &user, Password: &password})
			c.Expect(0x20, 2, 0, 0)
			c.Send(brokertest.Subscribe(1, 1, "tc/site/site_dev/i/agm_v3/tr"))
			c.Expect(0x90, 3, 0, 1, 1)
			c.Send(brokertest.Subscribe(2, 0, slices.Repeat([]string{"tc/site/site_dev/i/agm_v3/#"}, 9)...)) // the limit is eu1's
			c.Expect(0x90, 11, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0)
			c.Send(brokertest.Publish{Topic: "tc/site/site_dev/o/agm_v3/t", Payload: []byte(`{"id":"1"}`)}.Bytes())
			require.Equal(t, "tc/site/site_dev/i/agm_v3/tr", c.NextPublish().Topic)
			c.Send(brokertest.Disconnect)
		}
		require.Len(t, s.svc.Assets("site"), 1)
		s.neverShown(t, password[strings.LastIndexByte(password, '.')+1:])
		rule.Proves(t, "MS-32")
	})
}

// MS-32: whatever is wrong with a token is answered with 5.
func TestWrongTokens(t *testing.T) {
	set := func(part, name string, value any) func(*testing.T, *server, *token) string {
		return func(t *testing.T, _ *server, k *token) string {
			map[string]map[string]any{"header": k.header, "claims": k.claims}[part][name] = value
			return k.text(t)
		}
	}
	for _, c := range []struct {
		rule rule.ID
		make func(t *testing.T, s *server, k *token) string
	}{
		{"MS-32/malformed", func(*testing.T, *server, *token) string { return "secret" }},
		{"MS-32/algorithm", set("header", "alg", "none")},
		{"MS-32/x5c", set("header", "x5c", []string{})},
		{"MS-32/signature", func(t *testing.T, s *server, k *token) string {
			k.key = s.token(t, "site-ca").key
			return k.text(t)
		}},
		{"MS-32/chain", func(t *testing.T, s *server, _ *token) string { return s.token(t, "camexia-ca").text(t) }},
		{"MS-32/audience", set("claims", "aud", "other")},
		{"MS-32/expired", set("claims", "exp", today.Unix()-1)},
		{"MS-32/not-yet-valid", set("claims", "nbf", today.Unix()+3600)},
		{"MS-32/tenant", set("claims", "ten", "camexia")},
		{"MS-32/subject", set("claims", "sub", "site_other")},
		{"MS-32/cn", func(t *testing.T, _ *server, k *token) string {
			k.claims["iss"], k.claims["sub"] = "site_other", "site_other"
			return k.text(t)
		}},
	} {
		t.Run(strings.TrimPrefix(string(c.rule), "MS-32/"), func(t *testing.T) {
			inPrivateCloud(t, func(t *testing.T, s *server) {
				user, id, password := "_CertificateBearer", "site_dev", c.make(t, s, s.token(t, "site-ca"))
				if c.rule == "MS-32/cn" {
					id = "site_other"
				}
				conn := s.attempt(t, brokertest.Connect{ClientID: id, Username: &user, Password: &password})
				conn.Expect(0x20, 2, 0, 5)
				conn.ExpectClosed()
				require.Equal(t, 5, *s.refusedAs(t, c.rule).Code)
				require.Empty(t, s.svc.Agents("site"))
				s.neverShown(t, password)
				rule.Proves(t, c.rule, "MS-32")
			})
		})
	}
}

// MS-32/username: a certificate is nothing to a private cloud.
func TestCertificateInPrivateCloud(t *testing.T) {
	inPrivateCloud(t, func(t *testing.T, s *server) {
		conn := s.attempt(t, brokertest.Connect{ClientID: "site_dev"}, chain(s.leaf(t, "site-ca", "dev"))...)
		conn.Expect(0x20, 2, 0, 5)
		conn.ExpectClosed()
		s.refusedAs(t, "MS-32/username")
		require.Equal(t, 1, s.count(journal.Connack, "site_dev"))
		rule.Proves(t, "MS-32/username")
	})
}
