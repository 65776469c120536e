package mqtt_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func pemBlock(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// MS-1 to MS-4: dropped, dropped, accepted, accepted.
func TestFirstConnectionIsDropped(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		s.clock.Freeze()
		i := s.leaf(t, "camexia-ca", "dash7_gateway_1")
		connect := brokertest.Connect{ClientID: "camexia_dash7_gateway_1", KeepAlive: 60}
		s.attempt(t, connect, chain(i)...).ExpectClosed()
		e := s.refusedAs(t, "MS-1/first")
		require.Nil(t, e.Code)
		require.Equal(t, "camexia_dash7_gateway_1", e.Device)
		require.Contains(t, e.Expected, "in 3s")
		require.Zero(t, s.count(journal.Connack, ""))

		require.NoError(t, s.clock.Advance(2*time.Second))
		s.attempt(t, connect, chain(i)...).ExpectClosed()
		require.Contains(t, s.refusedAs(t, "MS-2/pending").Detail, "another 1s")
		require.Empty(t, s.svc.Assets("camexia"))
		require.Zero(t, s.count(journal.Provisioned, ""))

		require.NoError(t, s.clock.Advance(time.Second))
		require.Equal(t, 1, s.count(journal.Provisioned, "camexia_dash7_gateway_1"))
		for range 2 {
			c := s.attempt(t, connect, i.Leaf) // the bare leaf is enough now
			c.Expect(0x20, 2, 0, 0)
			c.Send(brokertest.Disconnect)
			c.ExpectClosed()
		}
		assets := s.svc.Assets("camexia")
		require.Len(t, assets, 1)
		require.Equal(t, [2]string{"core.mcmqtt", "camexia_dash7_gateway_1"}, [2]string{assets[0].TypeID, assets[0].ExternalID})
		rule.Proves(t, "MS-1", "MS-1/first", "MS-2", "MS-2/pending", "MS-3")
	})
}

// deaf is a clock whose timers never fire, as those of an earlier process.
type deaf struct{ *clock.Control }

func (deaf) AfterFunc(time.Duration, func()) clock.Timer { return deaf{} }
func (deaf) Stop() bool                                  { return false }

// MS-4: an agent that fell into the end of a process gets in once it is due, and stays in.
func TestProvisioningOutlivesItsTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serverOn(t, func(c *clock.Control) clock.Clock { return deaf{c} })
		defer s.stop(t)
		require.NoError(t, s.svc.PutTenant(mindsphere.Tenant{Name: "camexia"}))
		s.addCA(t, "camexia", "camexia-ca", true)
		i := s.leaf(t, "camexia-ca", "a")
		connect := brokertest.Connect{ClientID: "camexia_a"}
		s.attempt(t, connect, i.Leaf).ExpectClosed()
		require.NoError(t, s.clock.Advance(2*time.Second))
		s.attempt(t, connect, i.Leaf).ExpectClosed()
		require.NoError(t, s.clock.Advance(time.Second))
		for range 2 {
			c := s.attempt(t, connect, i.Leaf)
			c.Expect(0x20, 2, 0, 0)
			c.Send(brokertest.Disconnect)
			c.ExpectClosed()
		}
		require.Len(t, s.svc.Assets("camexia"), 1)
		rule.Proves(t, "MS-4")
	})
}

// MS-1/renewal: a new certificate of a known agent is provisioned like the first; the old one stays good.
func TestRenewedCertificate(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		old := s.provision(t, "a")
		renewed := s.leaf(t, "camexia-ca", "a")
		connect := brokertest.Connect{ClientID: "camexia_a"}
		s.attempt(t, connect, chain(renewed)...).ExpectClosed()
		s.refusedAs(t, "MS-1/renewal")
		c := s.attempt(t, connect, old.Leaf)
		c.Expect(0x20, 2, 0, 0)
		require.NoError(t, s.clock.Advance(3*time.Second))
		c = s.attempt(t, connect, renewed.Leaf)
		c.Expect(0x20, 2, 0, 0)
		require.Len(t, s.svc.Assets("camexia"), 1)
		rule.Proves(t, "MS-1/renewal")
	})
}

// A reset forgets agents; a provisioning from before does not shorten the next one.
func TestResetDuringProvisioning(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		s.clock.Freeze()
		i := s.leaf(t, "camexia-ca", "a")
		ca, _ := s.svc.CA("camexia", "camexia-ca")
		connect := brokertest.Connect{ClientID: "camexia_a"}
		s.attempt(t, connect, i.Leaf).ExpectClosed()
		require.NoError(t, s.clock.Advance(2*time.Second))
		s.store.Clear()
		require.NoError(t, s.svc.PutTenant(mindsphere.Tenant{Name: "camexia"}))
		_, err := s.svc.PutCA("camexia", ca)
		require.NoError(t, err)
		s.attempt(t, connect, i.Leaf).ExpectClosed()
		require.NoError(t, s.clock.Advance(2*time.Second))
		s.attempt(t, connect, i.Leaf).ExpectClosed()
		s.refusedAs(t, "MS-2/pending")
		require.NoError(t, s.clock.Advance(time.Second))
		c := s.attempt(t, connect, i.Leaf)
		c.Expect(0x20, 2, 0, 0)
		synctest.Wait()
		s.svc.Reset(errors.New("reset"))
		c.ExpectClosed()
	})
}

// A deleted agent is closed, and its next connection is a first one again.
func TestDeletedAgentStartsOver(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		c := s.join(t, "a")
		synctest.Wait()
		_, online := s.svc.Connection("camexia_a")
		require.True(t, online)
		require.True(t, s.svc.DeleteAgent("camexia_a"))
		c.ExpectClosed()
		require.Empty(t, s.svc.Assets("camexia"))
		i := s.leaf(t, "camexia-ca", "a")
		s.attempt(t, brokertest.Connect{ClientID: "camexia_a"}, i.Leaf).ExpectClosed()
		synctest.Wait()
		events, _ := s.journal.Select(journal.Filter{Rule: "MS-1/first"})
		require.Len(t, events, 2)
	})
}

// MS-5: every wrong client id is closed without CONNACK, and nothing is provisioned.
func TestWrongClientID(t *testing.T) {
	for _, c := range []struct {
		rule             rule.ID
		cn, id, expected string
	}{
		{"MS-5/prefix", "dev", "dev", `client id "camexia_dev"`},
		{"MS-5/tenant", "dev", "other_dev", `client id "camexia_dev"`},
		{"MS-5/device", "dev", "camexia_dev2", `client id "camexia_dev"`},
		{"MS-5/quotes", "dev", `"camexia"_"dev"`, `client id "camexia_dev"`},
		{"MS-5/quotes", `"dev"`, "camexia_dev", `a certificate issued anew with CN="dev", and client id "camexia_dev"`},
		{"MS-5/spelling", "dev", "Camexia_dev", `client id "camexia_dev"`},
		{"MS-5/spelling", "dev 1", "camexia_dev1", `client id "camexia_dev 1"`},
		{"MS-5/eu2-name", "camexia_dev", "camexia_dev", `client id "camexia_camexia_dev", or a certificate with CN="dev" and client id "camexia_dev"`},
		{"MS-5/characters", "a/b", "camexia_a/b", "a common name without / + # and control characters"},
		{"MS-5/length", "dev", "camexia_" + strings.Repeat("x", 121), "at most 128 bytes"},
		{"MS-5/region", "dev", "elsewhere_dev", "a registration at the global DPS endpoint, then a connection to the assigned hub"},
	} {
		t.Run(strings.TrimPrefix(string(c.rule), "MS-5/")+" "+c.id[:min(20, len(c.id))], func(t *testing.T) {
			onWire(t, func(t *testing.T, s *server) {
				require.NoError(t, s.svc.PutTenant(mindsphere.Tenant{Name: "elsewhere", Region: mindsphere.EU2, Hub: "h.azure-devices.net", IDScope: "0ne00FAKE02"}))
				s.attempt(t, brokertest.Connect{ClientID: c.id}, chain(s.leaf(t, "camexia-ca", c.cn))...).ExpectClosed()
				e := s.refusedAs(t, c.rule)
				require.Equal(t, c.expected, e.Expected)
				require.Nil(t, e.Code)
				require.Empty(t, s.svc.Agents("camexia"))
				require.Zero(t, s.count(journal.Connack, ""))
				rule.Proves(t, c.rule, "MS-5")
			})
		})
	}
}

// MS-5/no-cn: nothing but the wire can tell what such a certificate is for.
func TestCertificateWithoutCommonName(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		s.attempt(t, brokertest.Connect{ClientID: "camexia_"}, nameless(t, s)).ExpectClosed()
		s.refusedAs(t, "MS-5/no-cn")
		rule.Proves(t, "MS-5/no-cn")
	})
}

// MS-6: certificates that are never accepted.
func TestWrongCertificate(t *testing.T) {
	broken := func(kind string) func(t *testing.T, s *server) []*x509.Certificate {
		return func(t *testing.T, s *server) []*x509.Certificate {
			i, err := s.cas.Broken(kind, pki.DeviceRequest{CommonName: "dev", CA: "camexia-ca"})
			require.NoError(t, err)
			return chain(i)
		}
	}
	for _, c := range []struct {
		rule  rule.ID
		certs func(t *testing.T, s *server) []*x509.Certificate
	}{
		{"MS-6/no-certificate", func(*testing.T, *server) []*x509.Certificate { return nil }},
		{"MS-6/unknown-ca", func(t *testing.T, s *server) []*x509.Certificate {
			_, err := s.cas.CreateCA(pki.CARequest{Name: "foreign"})
			require.NoError(t, err)
			return chain(s.leaf(t, "foreign", "dev"))
		}},
		{"MS-6/unknown-ca", func(t *testing.T, s *server) []*x509.Certificate {
			i, err := s.cas.IssueDevice(pki.DeviceRequest{CommonName: "dev", Self: true})
			require.NoError(t, err)
			return chain(i)
		}},
		{"MS-6/unverified", func(t *testing.T, s *server) []*x509.Certificate {
			s.addCA(t, "camexia", "new-ca", false)
			return chain(s.leaf(t, "new-ca", "dev"))
		}},
		{"MS-6/intermediate", func(t *testing.T, s *server) []*x509.Certificate {
			_, err := s.cas.CreateCA(pki.CARequest{Name: "middle", Parent: "camexia-ca"})
			require.NoError(t, err)
			return chain(s.leaf(t, "middle", "dev"))
		}},
		{"MS-6/signature", broken("wrong-ca")},
		{"MS-6/expired", broken("expired")},
		{"MS-6/not-yet-valid", broken("not-yet-valid")},
		{"MS-6/algorithm", broken("sha1")},
		{"MS-6/ca-expired", func(t *testing.T, s *server) []*x509.Certificate {
			i := s.leaf(t, "camexia-ca", "dev")
			long, err := s.cas.IssueDevice(pki.DeviceRequest{CommonName: "dev", CA: "camexia-ca", NotAfter: today.AddDate(30, 0, 0)})
			require.NoError(t, err)
			s.clock.Skew(time.Until(i.Issuers[0].NotAfter.Add(time.Hour)))
			return chain(long)
		}},
		{"MS-6/ca", func(t *testing.T, s *server) []*x509.Certificate { return s.leaf(t, "camexia-ca", "dev").Issuers }},
	} {
		t.Run(strings.TrimPrefix(string(c.rule), "MS-6/"), func(t *testing.T) {
			onWire(t, func(t *testing.T, s *server) {
				s.attempt(t, brokertest.Connect{ClientID: "camexia_dev"}, c.certs(t, s)...).ExpectClosed()
				require.Nil(t, s.refusedAs(t, c.rule).Code)
				require.Empty(t, s.svc.Agents("camexia"))
				require.Zero(t, s.count(journal.Connack, ""))
				rule.Proves(t, c.rule, "MS-6")
			})
		})
	}
}

// Two tenants may have one CA: the client id decides.
func TestSharedCA(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		require.NoError(t, s.svc.PutTenant(mindsphere.Tenant{Name: "alpha"}))
		ca, _ := s.svc.CA("camexia", "camexia-ca")
		_, err := s.svc.PutCA("alpha", ca)
		require.NoError(t, err)
		for _, tenant := range []string{"camexia", "alpha"} {
			i := s.leaf(t, "camexia-ca", "dev")
			s.attempt(t, brokertest.Connect{ClientID: tenant + "_dev"}, i.Leaf).ExpectClosed()
			require.NoError(t, s.clock.Advance(3*time.Second))
			c := s.attempt(t, brokertest.Connect{ClientID: tenant + "_dev"}, i.Leaf)
			c.Expect(0x20, 2, 0, 0)
			require.Len(t, s.svc.Assets(tenant), 1)
		}
	})
}

// MS-9: the very files that the page's openssl commands make: CA and leaf are X.509 v1.
func TestOpenSSLFilesOfTheOnboardingPage(t *testing.T) {
	text, err := os.ReadFile("../../../internal/pki/testdata/seeds/000-mindsphere-chain.pem")
	require.NoError(t, err)
	certs, err := pki.ParseCertificates(text)
	require.NoError(t, err)
	require.Len(t, certs, 2)
	require.Equal(t, [2]int{1, 1}, [2]int{certs[0].Version, certs[1].Version})
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.stop(t)
		s.clock.Skew(time.Until(certs[0].NotBefore.AddDate(0, 1, 0)))
		require.NoError(t, s.svc.PutTenant(mindsphere.Tenant{Name: "yourtenant"}))
		_, err := s.svc.PutCA("yourtenant", mindsphere.CA{ID: "ca", Certificate: pemOf(certs[1]), Verified: true})
		require.NoError(t, err)
		connect := brokertest.Connect{ClientID: "yourtenant_agent"}
		s.attempt(t, connect, certs...).ExpectClosed()
		s.refusedAs(t, "MS-1/first")
		require.NoError(t, s.clock.Advance(3*time.Second))
		c := s.attempt(t, connect, certs[0])
		c.Expect(0x20, 2, 0, 0)
		rule.Proves(t, "MS-9")
	})
}

// MS-10: credentials that are present and empty, as the v4 sample sends them; others are ignored.
func TestEmptyUsernameAndPassword(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		i := s.provision(t, "a")
		for _, user := range []string{"", "somebody"} {
			c := s.attempt(t, brokertest.Connect{ClientID: "camexia_a", Username: &user, Password: &user}, i.Leaf)
			c.Expect(0x20, 2, 0, 0)
			c.Send(brokertest.Disconnect)
			c.ExpectClosed()
		}
		synctest.Wait()
		events, _ := s.journal.Select(journal.Filter{Kind: journal.Connect})
		require.Equal(t, "***", events[len(events)-1].Properties["password"])
		rule.Proves(t, "MS-10")
	})
}

// MS-3: level 3 is refused with return code 1; MQTT 5 is spoken.
func TestProtocolLevels(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		i := s.provision(t, "a")
		c := s.attempt(t, brokertest.Connect{Level: 3, ClientID: "camexia_a"}, i.Leaf)
		c.Expect(0x20, 2, 0, 1)
		c.ExpectClosed()
		s.refusedAs(t, "MS-3/level")
		c = s.attempt(t, brokertest.Connect{Level: 5, ClientID: "camexia_a"}, i.Leaf)
		require.Equal(t, []byte{0, 0}, c.Next()[2:4])
		rule.Proves(t, "MS-3/level")
	})
}

// MS-3: what breaks the protocol costs the connection; a keep alive below 30 s counts as 30.
func TestLifeOfAConnection(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		c := s.dial(t, s.leaf(t, "camexia-ca", "x").Leaf)
		c.Send(brokertest.Pingreq)
		c.ExpectClosed()
		s.refusedAs(t, "MS-3/first")
		c = s.join(t, "a")
		c.Send([]byte{0xf0, 0})
		c.ExpectClosed()
		s.refusedAs(t, "MS-3/malformed")
		i := s.provision(t, "b")
		c = s.attempt(t, brokertest.Connect{ClientID: "camexia_b", KeepAlive: 5}, i.Leaf)
		c.Expect(0x20, 2, 0, 0)
		c.ExpectSilence(44 * time.Second)
		c.ExpectClosed()
		require.Equal(t, journal.Closed, s.told(t, "MS-3/keep-alive").Kind)
		rule.Proves(t, "MS-3/first", "MS-3/malformed", "MS-3/keep-alive")
	})
}

// MS-7: the newer connection wins.
func TestTakeover(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		i := s.provision(t, "a")
		connect := brokertest.Connect{ClientID: "camexia_a"}
		first := s.attempt(t, connect, i.Leaf)
		first.Expect(0x20, 2, 0, 0)
		second := s.attempt(t, connect, i.Leaf)
		second.Expect(0x20, 2, 0, 0)
		first.ExpectClosed()
		require.Equal(t, journal.Closed, s.told(t, "MS-7/takeover").Kind)
		second.Send(brokertest.Pingreq)
		second.Expect(brokertest.Pingresp...)
		conn, online := s.svc.Connection("camexia_a")
		require.True(t, online)
		require.EqualValues(t, 3, conn)
		rule.Proves(t, "MS-7", "MS-7/takeover")
	})
}

// MS-6: a certificate that MindSphere has issued itself is good at once, and no more when it was deleted.
func TestIssuedCertificate(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		issued, _, err := s.svc.IssueCertificate("camexia", "device001", "")
		require.NoError(t, err)
		certs, err := pki.ParseCertificates([]byte(issued.Certificate))
		require.NoError(t, err)
		c := s.attempt(t, brokertest.Connect{ClientID: "camexia_device001"}, certs...)
		c.Expect(0x20, 2, 0, 0)
		require.True(t, s.svc.DeleteIssuedCertificate("camexia", issued.ID))
		s.attempt(t, brokertest.Connect{ClientID: "camexia_device001"}, certs...).ExpectClosed()
		require.Contains(t, s.refusedAs(t, "MS-6/deleted").Fix, "agentCertificates")
		rule.Proves(t, "MS-6/deleted")
	})
}
