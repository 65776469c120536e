package mqtt_test

import (
	"crypto/sha1" //nolint:gosec // the platform takes SHA-1 fingerprints
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// DA-1, DA-3, DA-4, DA-10: who is accepted.
func TestAccepted(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		require.Equal(t, iotda.Online, c.status(demo))
		conn.Send(brokertest.Disconnect)
		conn.ExpectClosed()
		require.Equal(t, iotda.Offline, c.status(demo))
		require.Equal(t, iotda.Inactive, c.status(dev01))

		require.EqualValues(t, 0, c.try(login(dev01+"_0_1_2026010100", dev01, passV3), way{}))
		require.EqualValues(t, 0, c.try(login(demo+"_0_0_2025041401", demo, passV1), way{plain: true}))
		v3 := login(demo+"_0_0_2025041401", demo, passV1)
		v3.Level = 3
		require.EqualValues(t, 0, c.try(v3, way{}))
		c.device("p_with_many_under_scores", "12345678")
		c.join("p_with_many_under_scores")

		_, err := c.ResetSecret(instance, dev01, "mySecret_0123", true, false)
		require.NoError(t, err)
		require.EqualValues(t, 0, c.try(login(dev01+"_0_0_2018072417", dev01, passV2), way{}), "the secondary secret")
		require.EqualValues(t, 0, c.try(login(dev01+"_0_0_2026010100", dev01, passV3), way{}), "the primary one still")
		rule.Proves(t, "DA-1", "DA-3", "DA-4", "DA-10")
	})
}

// DA-4 with sign type 2: V6, at the hour of its time stamp.
func TestAcceptedWithSM3(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		c.clock.Skew(c.clock.Skewed() - today.Sub(time.Date(2025, 4, 14, 2, 10, 0, 0, time.UTC)))
		require.EqualValues(t, 0, c.try(login(demo+"_0_2_2025041401", demo, passV6), way{}))
		require.EqualValues(t, 4, c.try(login(demo+"_0_2_2025041401", demo, passV1), way{}))
		require.Contains(t, c.refusedAs("DA-2/algorithm").Detail, "HMAC-SHA256")
	})
}

// Every CONNECT that is refused for what it says: the code on the wire and the reason beside it.
func TestRefusedConnects(t *testing.T) {
	id := demo + "_0_0_2025041401"
	silent := func(keepAlive uint16) brokertest.Connect {
		hello := login(id, demo, passV1)
		hello.KeepAlive = keepAlive
		return hello
	}
	level := login(id, demo, passV1)
	level.Level = 9
	long := strings.Repeat("d", 260)
	for _, c := range []struct {
		hello    brokertest.Connect
		code     byte
		id       rule.ID
		expected string
	}{
		{login(id, demo, "0"+passV1[1:]), 4, "DA-2/password", "with the time stamp 2025041401 as key"},
		{login(id, demo, passV7), 4, "DA-2/swapped", ""},
		{login(id, demo, strings.ToUpper(passV1)), 4, "DA-2/case", ""},
		{login(id, demo, "12345678"), 4, "DA-2/plain", ""},
		{login(id, demo, passV6), 4, "DA-2/algorithm", ""},
		{login(id, demo, ""), 4, "DA-2/empty", ""},
		{login(dev01+"_0_1_2025123121", dev01, passV3), 4, "DA-5/local", "2026010100 (UTC)"},
		{login(dev01+"_0_1_2026010108", dev01, passV3), 4, "DA-5/local", "2026010100 (UTC)"},
		{login(dev01+"_0_1_2018072417", dev01, passV2), 4, "DA-5/stamp", "2026010100 (UTC)"},
		{login(demo+"_0_0_2025041402", demo, passV1), 4, "DA-6/stamp", ""},
		{login(demo+"_0_0", demo, passV1), 2, "DA-7/parts", demo + "_0_0_2026010100 "},
		{login(demo, demo, passV1), 2, "DA-7/parts", demo + "_0_0_2026010100 "},
		{login(demo+"_2_0_2025041401", demo, passV1), 2, "DA-7/type", demo + "_0_0_2026010100 "},
		{login(demo+"_0_7_2025041401", demo, passV1), 2, "DA-7/sign", demo + "_0_0_2026010100 "},
		{login(demo+"_0_0_20250414", demo, passV1), 2, "DA-7/stamp", demo + "_0_0_2026010100 "},
		{login(long, long, passV1), 2, "DA-7/length", "{device_id}_0_0_2026010100 "},
		{silent(0), 2, "DA-8/keep-alive", "30 to 1200 s"},
		{silent(29), 2, "DA-8/keep-alive", ""},
		{silent(1201), 2, "DA-8/keep-alive", ""},
		{level, 1, "DA-8/level", ""},
		{login("demo_node2_0_0_2025041401", "demo_node2", passV1), 4, "DA-9/unknown", "the nearest is demo_node1"},
		{login(id, "node1", passV1), 4, "DA-9/username", `username "demo_node1"`},
	} {
		t.Run(string(c.id), func(t *testing.T) {
			onWire(t, func(t *testing.T, s *cloud) {
				require.Equal(t, c.code, s.try(c.hello, way{}))
				e := s.refusedAs(c.id)
				require.EqualValues(t, c.code, *e.Code)
				require.Contains(t, e.Expected, c.expected)
				events, _ := s.journal.Select(journal.Filter{})
				for _, e := range events {
					text, err := e.MarshalJSON()
					require.NoError(t, err)
					require.NotContains(t, string(text), passV1, "passwords stay out of the journal")
				}
				rule.Proves(t, c.id)
			})
		})
	}
	onWire(t, func(t *testing.T, s *cloud) {
		for _, ok := range []uint16{30, 1200} {
			require.EqualValues(t, 0, s.try(silent(ok), way{}))
		}
		hello := login(id, demo, "x")
		hello.Level = 5
		conn := s.dial(way{})
		conn.Send(hello.Bytes())
		conn.Expect(0x20, 3, 0, 0x86, 0)
		conn.ExpectClosed()
		rule.Proves(t, "DA-8")
	})
}

// DA-9/child, DA-11: who is known and not let in.
func TestNotLetIn(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		_, err := c.ResetSecret(instance, child, "12345678", false, false)
		require.NoError(t, err)
		require.EqualValues(t, 4, c.try(login(child+"_0_0_2025041401", child, passV1), way{}))
		require.Contains(t, c.refusedAs("DA-9/child").Expected, gateway)

		conn := c.join(demo)
		require.NoError(t, c.Freeze(instance, demo, true))
		conn.ExpectClosed()
		require.Equal(t, iotda.Frozen, c.status(demo))
		require.EqualValues(t, 5, c.try(login(demo+"_0_0_2025041401", demo, passV1), way{}))
		c.refusedAs("DA-11/frozen")
		require.NoError(t, c.Freeze(instance, demo, false))
		secure := true
		_, err = c.UpdateDevice(instance, demo, iotda.Change{SecureAccess: &secure})
		require.NoError(t, err)
		require.EqualValues(t, 5, c.try(login(demo+"_0_0_2025041401", demo, passV1), way{plain: true}))
		c.refusedAs("DA-11/plain")
		c.join(demo)
		rule.Proves(t, "DA-9/child", "DA-11", "DA-11/frozen", "DA-11/plain")
	})
}

// DA-12, DA-13, DA-1/first, DA-1/malformed: how connections end.
func TestEnds(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		conn.ExpectSilence(179 * time.Second)
		conn.ExpectClosed()
		require.Equal(t, iotda.Offline, c.status(demo))
		require.Equal(t, journal.Closed, c.told("DA-12/silent").Kind)

		first := c.join(demo)
		second := c.dial(way{})
		second.Send(login(demo+"_0_0_2018072417", demo, "4f6a0e1de1f7a6d97b76b6a4b0a3c7e0a37e2ce4a64d4dc6bf1aa3e7c3b9a4b0").Bytes())
		second.Expect(0x20, 2, 0, 4) // who is refused takes nothing over
		require.Equal(t, iotda.Online, c.status(demo))
		_, err := c.ResetSecret(instance, demo, "mySecret_0123", true, false)
		require.NoError(t, err)
		second = c.dial(way{})
		second.Send(login(demo+"_0_0_2018072417", demo, passV2).Bytes())
		second.Expect(0x20, 2, 0, 0)
		first.ExpectClosed()
		c.refusedAs("DA-13/takeover")
		require.Equal(t, iotda.Online, c.status(demo))

		second.Send(login(demo+"_0_0_2018072417", demo, passV2).Bytes())
		second.ExpectClosed()
		c.refusedAs("DA-1/first")
		third := c.join(demo)
		third.Send([]byte{0x82, 2, 0, 1}) // SUBSCRIBE without a filter
		third.ExpectClosed()
		c.refusedAs("DA-1/malformed")
		rule.Proves(t, "DA-12", "DA-12/silent", "DA-13", "DA-13/takeover", "DA-1/first", "DA-1/malformed")
	})
}

func x509login(device string) brokertest.Connect {
	return login(device+"_0_0_2026010100", device, "")
}

// DA-14, DA-16: certificates that are accepted.
func TestCertificates(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		ca := newCA(t, "root")
		c.upload(ca, true)
		leaf := ca.device("anything")
		long, short := sha256.Sum256(leaf.Raw), sha1.Sum(leaf.Raw) //nolint:gosec // see above
		c.certDevice("c_256", hex.EncodeToString(long[:]))
		c.certDevice("c_1", strings.ToUpper(hex.EncodeToString(short[:])))
		by := way{certs: []*x509.Certificate{leaf}}
		require.EqualValues(t, 0, c.try(x509login("c_256"), by))
		require.EqualValues(t, 0, c.try(x509login("c_1"), by))
		// Huawei's Go SDK sends the HMAC of the empty secret beside the certificate: V4.
		require.EqualValues(t, 0, c.try(login("c_256_0_0_2026010100", "c_256", "6318036815083c3e4972af9720fc7fdfb3760df235c02eef11c3e86d584c9807"), by))

		c.certDevice("c_new", "")
		require.EqualValues(t, 0, c.try(x509login("c_new"), by))
		d, err := c.Device(instance, "c_new")
		require.NoError(t, err)
		require.Equal(t, hex.EncodeToString(long[:]), d.Auth.Fingerprint)
		require.EqualValues(t, 4, c.try(x509login("c_new"), way{certs: []*x509.Certificate{ca.device("other")}}))
		c.refusedAs("DA-16/learned")
		rule.Proves(t, "DA-14", "DA-16", "DA-16/learned")
	})
}

// DA-15, DA-17: certificates that are refused, always with 4 after a handshake that succeeded.
func TestCertificatesRefused(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		good, pending, foreign, elsewhere := newCA(t, "good"), newCA(t, "pending"), newCA(t, "foreign"), newCA(t, "elsewhere")
		c.upload(good, true)
		ca := c.upload(pending, false)
		space, err := c.PutApp(instance, iotda.App{Name: "other"})
		require.NoError(t, err)
		_, err = c.UploadCA(instance, iotda.CA{Certificate: elsewhere.pem(), Verified: true, AppID: space.AppID})
		require.NoError(t, err)
		c.certDevice(cert1, strings.Repeat("ab", 32))
		for id, leaf := range map[rule.ID]*x509.Certificate{
			"DA-15/fingerprint":   good.device("d"),
			"DA-15/unverified":    pending.device("d"),
			"DA-15/chain":         foreign.device("d"),
			"DA-15/space":         elsewhere.device("d"),
			"DA-15/expired":       good.leaf(pkix.Name{CommonName: "d"}, today.Add(-48*time.Hour), today.Add(-time.Minute)),
			"DA-15/not-yet-valid": good.leaf(pkix.Name{CommonName: "d"}, today.Add(time.Minute), today.Add(48*time.Hour)),
		} {
			require.EqualValues(t, 4, c.try(x509login(cert1), way{certs: []*x509.Certificate{leaf}}))
			e := c.refusedAs(id)
			if id == "DA-15/unverified" {
				require.Contains(t, e.Expected, ca.VerifyCode)
			}
			rule.Proves(t, id)
		}
		require.EqualValues(t, 4, c.try(x509login(cert1), way{}))
		require.EqualValues(t, 4, c.try(x509login(cert1), way{plain: true}))
		require.Contains(t, c.refusedAs("DA-17/no-certificate").Seen, "without TLS")
		require.EqualValues(t, 4, c.try(x509login(demo), way{certs: []*x509.Certificate{good.device("d")}}))
		c.refusedAs("DA-17/no-password")
		rule.Proves(t, "DA-15", "DA-17", "DA-17/no-certificate", "DA-17/no-password")
	})
}

// DA-20: an unknown device of a CA with a template.
func TestSelfRegistration(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		root := newCA(t, "root")
		text := func(ref string) *iotda.TemplateValue {
			if strings.HasPrefix(ref, "iotda::") {
				return &iotda.TemplateValue{Ref: ref}
			}
			return &iotda.TemplateValue{Literal: ref}
		}
		body := iotda.TemplateBody{Parameters: map[string]iotda.TemplateParameter{"iotda::certificate::common_name": {Type: "String"}, "iotda::certificate::country": {Type: "String"}}}
		body.Resources.Device = iotda.TemplateDevice{NodeID: text("iotda::certificate::common_name"), ProductID: text("demo"), DeviceName: text("iotda::certificate::country")}
		template, err := c.PutTemplate(instance, iotda.Template{Name: "t", Body: body})
		require.NoError(t, err)
		_, err = c.UploadCA(instance, iotda.CA{Certificate: root.pem(), Verified: true, ProvisionEnable: true, TemplateID: template.ID})
		require.NoError(t, err)

		hello := x509login("demo_meter7")
		leaf := root.leaf(pkix.Name{CommonName: "meter7", Country: []string{"CN"}}, today.Add(-time.Hour), today.Add(time.Hour))
		by := way{certs: []*x509.Certificate{leaf}, sni: "fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com"}
		require.EqualValues(t, 4, c.try(hello, way{certs: by.certs}))
		require.Equal(t, by.sni, c.refusedAs("DA-20/sni").Expected)
		require.EqualValues(t, 4, c.try(x509login("demo_meter8"), by))
		require.Equal(t, "demo_meter7", c.refusedAs("DA-20/device").Expected)
		bare := way{certs: []*x509.Certificate{root.device("meter7")}, sni: by.sni}
		require.EqualValues(t, 4, c.try(hello, bare))
		require.Contains(t, c.refusedAs("DA-20/template").Detail, "country")

		require.EqualValues(t, 0, c.try(hello, by))
		d, err := c.Device(instance, "demo_meter7")
		require.NoError(t, err)
		require.Equal(t, []string{"meter7", "CN", iotda.AuthCertificates}, []string{d.NodeID, d.Name, d.Auth.Type})
		require.EqualValues(t, 0, c.try(hello, by), "the device is known from now on")
		rule.Proves(t, "DA-20", "DA-20/sni", "DA-20/device", "DA-20/template")
	})
}

// DA-58: the connection ends and the old password is void.
func TestResetSecret(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		_, err := c.ResetSecret(instance, demo, "mySecret_0123", false, true)
		require.NoError(t, err)
		conn.ExpectClosed()
		require.EqualValues(t, 4, c.try(login(demo+"_0_0_2025041401", demo, passV1), way{}))
		require.EqualValues(t, 0, c.try(login(demo+"_0_0_2018072417", demo, passV2), way{}))
		rule.Proves(t, "DA-58")
	})
}

// DA-54, DA-55: the provisioning service.
func TestBootstrap(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		const passV5 = "10693b86d7ba5a6be9c5aae21f528d3ffef8a20507c6f3d67c1f96305abdc476"
		conn := c.dial(way{})
		conn.Send(login(dev01+"_0_scope1_0_2026010100", dev01, passV5).Bytes())
		conn.Expect(0x20, 2, 0, 0)
		up, down := "$oc/devices/"+dev01+"/sys/bootstrap/up", "$oc/devices/"+dev01+"/sys/bootstrap/down"
		conn.Send(brokertest.Subscribe(1, 0, down))
		conn.Expect(0x90, 3, 0, 1, 0)
		for _, payload := range []string{"", "null", `{"baseStrategyKeyword":"plant"}`} {
			conn.Send(brokertest.Publish{Topic: up, Payload: []byte(payload)}.Bytes())
			p := conn.NextPublish()
			require.Equal(t, down, p.Topic)
			require.JSONEq(t, `{"address":"fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com:8883","initConfig":"","deviceSecret":"0123456789abcdef0123456789abcdef"}`, string(p.Payload))
		}
		conn.Send(brokertest.Publish{Topic: up, Payload: []byte(`{"baseStrategyKeyword":"plane"}`)}.Bytes())
		require.Contains(t, string(conn.NextPublish().Payload), `"errorCode":"100414"`)
		c.refusedAs("DA-54/strategy")
		require.Equal(t, iotda.Inactive, c.status(dev01), "provisioning is no device access")

		// A device that signs in by itself may ask, too.
		direct := c.join(demo)
		direct.Send(brokertest.Publish{Topic: "$oc/devices/" + demo + "/sys/bootstrap/up"}.Bytes())
		require.NotContains(t, string(direct.NextPublish().Payload), "deviceSecret")

		// The group's own secret in place of the derived one, made with openssl.
		require.EqualValues(t, 4, c.try(login(dev01+"_0_scope1_0_2026010100", dev01, groupPassword), way{}))
		c.refusedAs("DA-55/derive")
		unknown := c.dial(way{})
		unknown.Send(login("nobody_0_scope1_0_2026010100", "nobody", nobodyPassword).Bytes())
		unknown.Expect(0x20, 2, 0, 0)
		unknown.Send(brokertest.Publish{Topic: "$oc/devices/nobody/sys/bootstrap/up"}.Bytes())
		require.Contains(t, string(unknown.NextPublish().Payload), `"errorCode":"100414"`)
		c.refusedAs("DA-54/device")

		require.EqualValues(t, 5, c.try(login(dev01+"_0_scope1_0_2026010100", dev01, passV5), way{plain: true}))
		require.Equal(t, "MQTT over TLS, port 8883", c.refusedAs("DA-55/plain").Expected)
		require.EqualValues(t, 2, c.try(login(dev01+"_0_scope2_0_2026010100", dev01, passV5), way{}))
		require.Contains(t, c.refusedAs("DA-7/parts").Expected, "a scope of scope1")

		_, err := c.PutInstance(iotda.Instance{Name: instance, Scopes: []iotda.Scope{{ID: "scope1", Secret: "no base64!"}}})
		require.NoError(t, err)
		require.EqualValues(t, 4, c.try(login(dev01+"_0_scope1_0_2026010100", dev01, passV5), way{}))
		c.refusedAs("DA-55/group")
		synctest.Wait()
		rule.Proves(t, "DA-54", "DA-54/strategy", "DA-54/device", "DA-55", "DA-55/derive", "DA-55/group", "DA-55/plain")
	})
}

// openssl dgst -sha256 -hmac 2026010100, of the group's secret and of the one derived for device nobody.
const (
	groupPassword  = "71e47b5b65e44df3139ababcc15b9a33c5cd04e7c14399bed1be2f8842c4c00c"
	nobodyPassword = "cb90e20a24668d6906eb63dc07c386d93dcf81a1a7aed9f61d1ff0d6a0605a5c"
)
