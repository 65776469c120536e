package mqtt_test

import (
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The name that an agent comes by says which broker it wants: tokens are nothing to eu1's (MS-5, MS-6), certificates
// nothing to a private cloud's (MS-32).
func TestBrokersByName(t *testing.T) {
	closed, refused := []byte(nil), []byte{0x20, 2, 0, 5}
	user := "_CertificateBearer"
	for name, c := range map[string]struct {
		host, clientID string
		token          string // of which tenant's agent, empty for none
		certificate    bool
		answer         []byte
		rule           rule.ID
		expected       string
	}{
		"eu1's":                      {"mindconnectmqtt.eu1.mindsphere.io", "camexia_dev", "", true, closed, "MS-1/first", "new connection"},
		"eu1's, large":               {"MindConnectMQTT.eu1.mindsphere.io", "camexia_dev", "", true, closed, "MS-1/first", "new connection"},
		"eu1's with a token":         {"mindconnectmqtt.eu1.mindsphere.io", "site_dev", "site", false, closed, "MS-6/no-certificate", "client certificate"},
		"eu1's with a private id":    {"mindconnectmqtt.eu1.mindsphere.io", "site_dev", "", true, closed, "MS-5/tenant", `"camexia_dev"`},
		"none":                       {"mindconnectmqtt.eu3.mindsphere.io", "camexia_dev", "", true, closed, "MS-5/host", "mindconnectmqtt.eu1.mindsphere.io"},
		"none, the gateway's":        {"gateway.eu1.mindsphere.io", "camexia_dev", "", true, closed, "MS-5/host", "mindconnectmqtt.eu1.mindsphere.io"},
		"private":                    {"mqtt.site.test", "site_dev", "site", false, []byte{0x20, 2, 0, 0}, "", ""},
		"private with a certificate": {"mqtt.site.test", "camexia_dev", "", true, refused, "MS-32/username", user},
		"another private cloud's":    {"mqtt.other.test", "site_dev", "site", false, refused, "MS-32/tenant", "mqtt.site.test"},
		"any other":                  {"localhost", "camexia_dev", "", true, closed, "MS-1/first", "new connection"},
	} {
		t.Run(name, func(t *testing.T) {
			inPrivateCloud(t, func(t *testing.T, s *server) {
				require.NoError(t, s.svc.PutTenant(mindsphere.Tenant{Name: "other", Region: mindsphere.Private, Host: "mqtt.other.test"}))
				packet := brokertest.Connect{ClientID: c.clientID}
				var certificates []*x509.Certificate
				if c.token != "" {
					text := s.token(t, "site-ca").text(t)
					packet.Username, packet.Password = &user, &text
				}
				if c.certificate {
					certificates = chain(s.leaf(t, "camexia-ca", "dev"))
				}
				s.name = c.host
				conn := s.attempt(t, packet, certificates...)
				if len(c.answer) > 0 {
					conn.Expect(c.answer...)
				}
				if c.rule == "" {
					return
				}
				conn.ExpectClosed()
				require.Contains(t, s.refusedAs(t, c.rule).Expected, c.expected)
				rule.Proves(t, c.rule)
			})
		})
	}
}

// MS-5: what is said of a client id that is nobody's.
func TestClientIDsOfNobody(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		i := s.leaf(t, "camexia-ca", "dev")
		for clientID, detail := range map[string]string{"": "no client id", "mosq-x": "make one up", "camexia_x": "another agent's"} {
			s.attempt(t, brokertest.Connect{ClientID: clientID}, i.Leaf).ExpectClosed()
			require.Contains(t, s.refusedAs(t, "MS-5/device").Detail, detail)
		}
		require.Empty(t, s.svc.Agents("camexia"))
	})
}
