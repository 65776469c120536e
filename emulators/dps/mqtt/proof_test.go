package mqtt_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Tokens of the vectors V4 to V6 of the fact sheet, V5 also with its fields in another order.
const (
	tokenV4        = "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2Fdevice-001&sig=1%2F7JadeGBemKLfY73yLNP6VZhqgNmFAPIO6o0HpsoN8%3D&se=1577836800&skn=registration"
	tokenV5        = "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2FMeter-01&sig=WlpM10gU8RjKF57rf%2BLBwsGvwkMHyXjfxZSRqyofPEU%3D&se=4102444800&skn=registration"
	tokenV5Java    = "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2FMeter-01&sig=WlpM10gU8RjKF57rf%2BLBwsGvwkMHyXjfxZSRqyofPEU%3D&se=4102444800&skn="
	tokenV5Reverse = "SharedAccessSignature skn=registration&se=4102444800&sig=WlpM10gU8RjKF57rf%2BLBwsGvwkMHyXjfxZSRqyofPEU%3D&sr=0ne00FAKE01%2Fregistrations%2FMeter-01"
	tokenV6        = "SharedAccessSignature sr=0ne00FAKE01%2fregistrations%2fMeter-01&sig=kDszwdcTR8wsAR434SImJ2bDuN%2BQD9czO5uXRBO677U%3D&se=4102444800&skn=registration"
	individualKey  = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	otherKey       = "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMDE="

	// openssl: HMAC-SHA256 with the group key V2 over "0ne00FAKE01%2Fregistrations%2Fdevice-001\n4102444800".
	tokenGroupKey = "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2Fdevice-001&sig=hAP0eEsjesNCSpspg49dhmtNJX5%2BAD8mFZGnkH4cJSc%3D&se=4102444800&skn=registration"
)

// hubs is an Allocator that may fail.
type hubs struct {
	mu   sync.Mutex
	fail error
}

func (h *hubs) Assign(context.Context, dps.Assignment) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fail
}

func (*hubs) Holds(string, string) bool { return false }

// authority is a certificate that can sign others.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (a authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

func issue(t *testing.T, name string, parent *authority, ca bool, from, to time.Time) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		IsCA: ca, BasicConstraintsValid: ca}
	up, signer := tmpl, key
	if parent != nil {
		up, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, up, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{cert, key}
}

// pki is a root with an intermediate, and certificates of dev1 below.
type pki struct{ root, middle, leaf, direct, own authority }

func newPKI(t *testing.T) pki {
	t.Helper()
	from, to := today.Add(-time.Hour), today.Add(time.Hour)
	var p pki
	p.root = issue(t, "root", nil, true, from, to)
	p.middle = issue(t, "middle", &p.root, true, from, to)
	p.leaf = issue(t, "dev1", &p.middle, false, from, to)
	p.direct = issue(t, "dev1", &p.root, false, from, to)
	p.own = issue(t, "dev1", nil, false, from, to)
	return p
}

func (s *server) individual(t *testing.T, id, deviceID string, a dps.Attestation, terms dps.Terms) {
	t.Helper()
	_, err := s.service.PutEnrollment("fakecloud-dps", dps.Enrollment{RegistrationID: id, DeviceID: deviceID, Attestation: a, Terms: terms})
	require.NoError(t, err)
}

func (s *server) caGroup(t *testing.T, a authority, verified bool) {
	t.Helper()
	require.NoError(t, s.service.PutCA("fakecloud-dps", dps.CA{Name: "root", Certificate: a.pem(), Verified: verified}))
	_, err := s.service.PutGroup("fakecloud-dps", dps.Group{ID: "by-ca", Attestation: dps.Attestation{X509: &dps.X509{PrimaryCA: "root"}}})
	require.NoError(t, err)
}

func keys(primary, secondary string) dps.Attestation {
	return dps.Attestation{SymmetricKey: &dps.SymmetricKey{Primary: primary, Secondary: secondary}}
}

func certificate(a authority) dps.Attestation {
	return dps.Attestation{X509: &dps.X509{Primary: a.pem()}}
}

// attempt is one register on a connection of its own.
type attempt struct {
	id, scope, suffix string // scope and suffix may be empty
	token             string
	certs             []*x509.Certificate
	body              string
}

// register connects, subscribes and registers in bytes, and returns the answer.
func (s *server) register(t *testing.T, a attempt) (*brokertest.Conn, brokertest.Publish) {
	t.Helper()
	if a.scope == "" {
		a.scope = "0ne00FAKE01"
	}
	user := a.scope + "/registrations/" + a.id + "/api-version=2019-03-31" + a.suffix
	c := s.dial(t, a.certs...)
	c.Send(brokertest.Connect{ClientID: a.id, Username: &user, Password: &a.token}.Bytes())
	c.Expect(0x20, 2, 0, 0)
	c.Send(brokertest.Subscribe(1, 1, "$dps/registrations/res/#"))
	c.Expect(0x90, 3, 0, 1, 1)
	c.Send(brokertest.Publish{Topic: "$dps/registrations/PUT/iotdps-register/?$rid=r-1", Payload: []byte(a.body), QoS: 1, ID: 2}.Bytes())
	c.Expect(0x40, 2, 0, 2)
	p := c.NextPublish()
	c.Send(brokertest.Puback(p.ID))
	return c, p
}

// finish polls until the answer is final and returns its body.
func finish(t *testing.T, c *brokertest.Conn, first brokertest.Publish) string {
	t.Helper()
	require.Equal(t, "$dps/registrations/res/202/?$rid=r-1&retry-after=3", first.Topic, "%s", first.Payload)
	op := regexp.MustCompile(`"operationId":"([^"]+)"`).FindSubmatch(first.Payload)
	require.NotNil(t, op)
	for range 2 {
		c.Send(brokertest.Publish{Topic: "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=p&operationId=" + string(op[1])}.Bytes())
		first = c.NextPublish()
		c.Send(brokertest.Puback(first.ID))
	}
	require.Equal(t, "$dps/registrations/res/200/?$rid=p", first.Topic)
	return string(first.Payload)
}

// Every refusal at register: the answer on the wire and the reason in the journal.
func TestRefusedAtRegister(t *testing.T) {
	none := dps.Terms{}
	long, past, future := today.Add(-48*time.Hour), today.Add(-24*time.Hour), today.Add(24*time.Hour)
	for _, c := range []struct {
		rule    rule.ID
		code    int
		message string // empty: any
		try     func(t *testing.T, s *server, p pki) attempt
	}{
		{"DPS-11/json", 400000, "", func(_ *testing.T, _ *server, _ pki) attempt {
			return attempt{id: "device-001", token: token, body: "{"}
		}},
		{"DPS-11/registration-id", 400000, "", func(_ *testing.T, _ *server, _ pki) attempt {
			return attempt{id: "device-001", token: token, body: `{"registrationId":"device-002"}`}
		}},
		{"DPS-15/signature", 401000, "Unauthorized", func(t *testing.T, s *server, _ pki) attempt {
			s.individual(t, "Meter-01", "", keys(otherKey, otherKey), none)
			return attempt{id: "Meter-01", token: tokenV5}
		}},
		{"DPS-15/token", 401000, "Unauthorized", func(_ *testing.T, _ *server, _ pki) attempt { return attempt{id: "device-001", token: "hunter2"} }},
		{"DPS-15/key", 401000, "Unauthorized", func(_ *testing.T, _ *server, _ pki) attempt { return attempt{id: "device-001", token: groupKey} }},
		{"DPS-15/resource", 401000, "Unauthorized", func(_ *testing.T, _ *server, _ pki) attempt { return attempt{id: "device-002", token: token} }},
		{"DPS-15/attestation", 401002, "Invalid certificate.", func(t *testing.T, s *server, p pki) attempt {
			s.individual(t, "device-001", "", certificate(p.own), none)
			return attempt{id: "device-001", token: token}
		}},
		{"DPS-15/certificate", 401002, "Invalid certificate.", func(t *testing.T, s *server, p pki) attempt {
			s.individual(t, "dev1", "", certificate(p.own), none)
			return attempt{id: "dev1", certs: []*x509.Certificate{p.direct.cert}}
		}},
		{"DPS-15/cert-expired", 401002, "Invalid certificate.", func(t *testing.T, s *server, p pki) attempt {
			s.caGroup(t, p.root, true)
			return attempt{id: "dev1", certs: []*x509.Certificate{issue(t, "dev1", &p.root, false, long, past).cert}}
		}},
		{"DPS-15/cert-not-yet-valid", 401002, "Invalid certificate.", func(t *testing.T, s *server, p pki) attempt {
			s.caGroup(t, p.root, true)
			return attempt{id: "dev1", certs: []*x509.Certificate{issue(t, "dev1", &p.root, false, future, future.Add(time.Hour)).cert}}
		}},
		{"DPS-15/ca-expired", 401002, "Invalid certificate.", func(t *testing.T, s *server, _ pki) attempt {
			old := issue(t, "old", nil, true, long, past)
			s.caGroup(t, old, true)
			return attempt{id: "dev1", certs: []*x509.Certificate{issue(t, "dev1", &old, false, long, future).cert}}
		}},
		{"DPS-16/expired", 401000, "Unauthorized", func(_ *testing.T, _ *server, _ pki) attempt { return attempt{id: "device-001", token: tokenV4} }},
		{"DPS-19/group-key", 401000, "Unauthorized", func(_ *testing.T, _ *server, _ pki) attempt {
			return attempt{id: "device-001", token: tokenGroupKey}
		}},
		{"DPS-21/cn", 401002, "Invalid certificate.", func(t *testing.T, s *server, p pki) attempt {
			s.caGroup(t, p.root, true)
			return attempt{id: "dev2", certs: []*x509.Certificate{p.direct.cert}}
		}},
		{"DPS-22/issuer", 401002, "CA certificate not found", func(t *testing.T, s *server, p pki) attempt {
			require.NoError(t, s.service.PutCA("fakecloud-dps", dps.CA{Name: "root", Certificate: p.root.pem(), Verified: true}))
			_, err := s.service.PutGroup("fakecloud-dps", dps.Group{ID: "m", Attestation: certificate(p.middle)})
			require.NoError(t, err)
			return attempt{id: "dev1", certs: []*x509.Certificate{p.leaf.cert}}
		}},
		{"DPS-22/ca", 401002, "CA certificate not found", func(t *testing.T, s *server, p pki) attempt {
			s.caGroup(t, issue(t, "other", nil, true, long, future), true)
			return attempt{id: "dev1", certs: []*x509.Certificate{p.direct.cert, p.root.cert}}
		}},
		{"DPS-23/unverified", 401002, "", func(t *testing.T, s *server, p pki) attempt {
			s.caGroup(t, p.root, false)
			return attempt{id: "dev1", certs: []*x509.Certificate{p.direct.cert}}
		}},
		{"DPS-26/scope", 401000, "", func(_ *testing.T, _ *server, _ pki) attempt {
			return attempt{id: "device-001", scope: "0neOTHER", token: token}
		}},
		{"DPS-26/enrollment", 404201, "", func(_ *testing.T, _ *server, p pki) attempt {
			return attempt{id: "dev1", certs: []*x509.Certificate{p.own.cert}}
		}},
	} {
		t.Run(string(c.rule), func(t *testing.T) {
			onWire(t, func(t *testing.T, s *server) {
				_, answer := s.register(t, c.try(t, s, newPKI(t)))
				require.Equal(t, fmt.Sprintf("$dps/registrations/res/%d/?$rid=r-1", c.code/1000), answer.Topic)
				require.Regexp(t, fmt.Sprintf(`^\{"errorCode":%d,"trackingId":"[0-9a-f-]{36}","message":"[^"]+","timestampUtc":"2026-01-01T[0-9:]{8}\.\d{7}Z"\}$`, c.code), string(answer.Payload))
				require.Contains(t, string(answer.Payload), c.message)
				e := s.refusedAs(t, c.rule)
				require.Equal(t, c.code/1000, *e.Code)
				require.NotContains(t, e.Seen+e.Detail+e.Expected, "hunter2")
				rule.Proves(t, c.rule, c.rule.Row())
			})
		})
	}
}

// What is accepted at register, up to the final poll.
func TestAcceptedAtRegister(t *testing.T) {
	assigned := func(device string) string { return `"deviceId":"` + device + `","status":"assigned"` }
	for _, c := range []struct {
		name   string
		proves []rule.ID
		want   string
		try    func(t *testing.T, s *server, p pki) attempt
	}{
		{"client version", []rule.ID{"DPS-2"}, assigned("device-001"), func(_ *testing.T, _ *server, _ pki) attempt {
			return attempt{id: "device-001", token: token, suffix: "&ClientVersion=x%2F1.0%20%28y%29"}
		}},
		{"full body", []rule.ID{"DPS-10"}, assigned("device-001"), func(_ *testing.T, _ *server, _ pki) attempt {
			return attempt{id: "device-001", token: token, body: `{"registrationId":"device-001","payload":{"a":1}}`}
		}},
		{"blank body", []rule.ID{"DPS-10"}, assigned("device-001"), func(_ *testing.T, _ *server, _ pki) attempt {
			return attempt{id: "device-001", token: token, body: " "}
		}},
		{"lower-case escapes", []rule.ID{"DPS-17"}, assigned("Meter-01"), func(t *testing.T, s *server, _ pki) attempt {
			s.individual(t, "Meter-01", "", keys(individualKey, ""), dps.Terms{})
			return attempt{id: "Meter-01", token: tokenV6}
		}},
		{"empty skn", []rule.ID{"DPS-18"}, assigned("Meter-01"), func(t *testing.T, s *server, _ pki) attempt {
			s.individual(t, "Meter-01", "", keys(individualKey, ""), dps.Terms{})
			return attempt{id: "Meter-01", token: tokenV5Java}
		}},
		{"other order", []rule.ID{"DPS-18"}, assigned("Meter-01"), func(t *testing.T, s *server, _ pki) attempt {
			s.individual(t, "Meter-01", "", keys(individualKey, ""), dps.Terms{})
			return attempt{id: "Meter-01", token: tokenV5Reverse}
		}},
		{"secondary key", []rule.ID{"DPS-20"}, assigned("Meter-01"), func(t *testing.T, s *server, _ pki) attempt {
			s.individual(t, "Meter-01", "", keys(otherKey, individualKey), dps.Terms{})
			return attempt{id: "Meter-01", token: tokenV5}
		}},
		{"full chain", []rule.ID{"DPS-21", "DPS-22"}, assigned("dev1"), func(t *testing.T, s *server, p pki) attempt {
			s.caGroup(t, p.root, true)
			return attempt{id: "dev1", certs: []*x509.Certificate{p.leaf.cert, p.middle.cert}}
		}},
		{"individual before group", []rule.ID{"DPS-25"}, assigned("my-device"), func(t *testing.T, s *server, p pki) attempt {
			s.caGroup(t, p.root, true)
			s.individual(t, "dev1", "my-device", certificate(p.direct), dps.Terms{})
			return attempt{id: "dev1", certs: []*x509.Certificate{p.direct.cert}}
		}},
		{"MindSphere", []rule.ID{"DPS-46"}, `"registrationState":{"x509":{"enrollmentGroupId":"TenantEnrollmentGroup-TenantCACertificate-demo2"},"registrationId":"demo2_Agent"`,
			func(t *testing.T, s *server, p pki) attempt {
				s.caGroup(t, p.root, true)
				require.True(t, s.service.DeleteGroup("fakecloud-dps", "by-ca"))
				_, err := s.service.PutGroup("fakecloud-dps", dps.Group{ID: "TenantEnrollmentGroup-TenantCACertificate-demo2", Attestation: dps.Attestation{X509: &dps.X509{PrimaryCA: "root"}}})
				require.NoError(t, err)
				leaf := issue(t, "demo2_Agent", &p.root, false, today.Add(-time.Hour), today.Add(time.Hour))
				return attempt{id: "demo2_Agent", certs: []*x509.Certificate{leaf.cert, p.root.cert}}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			onWire(t, func(t *testing.T, s *server) {
				conn, first := s.register(t, c.try(t, s, newPKI(t)))
				require.Contains(t, finish(t, conn, first), c.want)
				rule.Proves(t, c.proves...)
			})
		})
	}
}

// DPS-24, DPS-13/no-hub: final answers with 200 that are no assignment.
func TestFinalButNotAssigned(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		p := newPKI(t)
		s.caGroup(t, p.root, true)
		s.individual(t, "dev1", "", certificate(p.direct), dps.Terms{Disabled: true})
		conn, first := s.register(t, attempt{id: "dev1", certs: []*x509.Certificate{p.direct.cert}})
		require.Contains(t, finish(t, conn, first), `"status":"disabled"`)
		require.Equal(t, 200, *s.refusedAs(t, "DPS-24/disabled").Code)

		s.hubs.fail = dps.ErrNoHub
		conn, first = s.register(t, attempt{id: "device-001", token: token})
		final := finish(t, conn, first)
		require.Contains(t, final, `"status":"failed","errorCode":400208,"errorMessage":"`)
		require.NotContains(t, final, "assignedHub")
		s.refusedAs(t, "DPS-13/no-hub")
		rule.Proves(t, "DPS-24", "DPS-24/disabled", "DPS-13/no-hub")
	})
}

// DPS-27: the same hub, device and creation time on a new connection.
func TestRegisterAgainOnTheWire(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		kept := regexp.MustCompile(`"createdDateTimeUtc":"[^"]+","assignedHub":"[^"]+","deviceId":"[^"]+"`)
		conn, answer := s.register(t, attempt{id: "device-001", token: token})
		first := kept.FindString(finish(t, conn, answer))
		require.NotEmpty(t, first)
		conn.Send(brokertest.Disconnect)
		conn.ExpectClosed()
		time.Sleep(time.Hour) // of the bubble
		conn, answer = s.register(t, attempt{id: "device-001", token: token})
		require.Equal(t, first, kept.FindString(finish(t, conn, answer)))
		rule.Proves(t, "DPS-27")
	})
}

// The refusals of single packets that are not in the other tests.
func TestRefusedPackets(t *testing.T) {
	onWire(t, func(t *testing.T, s *server) {
		c := s.join(t, "device-001", token)
		for topic, id := range map[string]rule.ID{"?$rid=1": "DPS-14/missing", "?$rid=1&operationId=4.x.y": "DPS-14/operation"} {
			c.Send(brokertest.Publish{Topic: "$dps/registrations/GET/iotdps-get-operationstatus/" + topic}.Bytes())
			p := c.NextPublish()
			c.Send(brokertest.Puback(p.ID))
			require.Contains(t, p.Topic, map[rule.ID]string{"DPS-14/missing": "/res/400/", "DPS-14/operation": "/res/404/"}[id])
			if id == "DPS-14/operation" {
				require.Contains(t, string(p.Payload), `"errorCode":404203`)
			}
			s.refusedAs(t, id)
		}
		c.Send(brokertest.Publish{Topic: "devices/device-001/messages/events/"}.Bytes())
		c.ExpectClosed()
		s.refusedAs(t, "DPS-9/topic")

		for id, user := range map[rule.ID]string{
			"DPS-3/username":        "0ne00FAKE01/device-001/api-version=2019-03-31",
			"DPS-3/api-version":     "0ne00FAKE01/registrations/device-001/api-version=1999-01-01",
			"DPS-3/registration-id": "0ne00FAKE01/registrations/device 001/api-version=2019-03-31",
		} {
			c := s.dial(t)
			c.Send(brokertest.Connect{ClientID: "device-001", Username: &user, Password: brokertest.Text(token)}.Bytes())
			c.Expect(0x20, 2, 0, 4)
			c.ExpectClosed()
			s.refusedAs(t, id)
		}

		c = s.join(t, "device-001", token)
		c.Send(connectPacket("device-001", token)) // a second CONNECT
		c.ExpectClosed()
		s.refusedAs(t, "DPS-1/first")
		c = s.join(t, "device-001", token)
		c.Send([]byte{0x82, 2, 0, 1}) // SUBSCRIBE without a filter
		c.ExpectClosed()
		s.refusedAs(t, "DPS-1/malformed")
		rule.Proves(t, "DPS-14", "DPS-14/missing", "DPS-14/operation", "DPS-9/topic", "DPS-3/username", "DPS-3/api-version", "DPS-3/registration-id", "DPS-1/first", "DPS-1/malformed")
	})
}
