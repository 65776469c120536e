package mqtt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/broker/brokertest"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// sas signs a resource with the demo key until 2030.
func sas(resource, policy string) string {
	key, err := base64.StdEncoding.DecodeString(demoKey)
	if err != nil {
		panic(err)
	}
	return azure.FormatSAS(resource, key, time.Unix(1893456000, 0), policy)
}

// hello is one CONNECT of the tables; empty fields are dev-01's, "-" is absent.
type hello struct {
	name, clientID, username, password string
	level                              byte
	code                               byte
	rules                              []rule.ID // what is proven; a refusal's is the first
}

func (h hello) packet() []byte {
	c := login()
	c.Level = h.level
	for _, f := range []struct {
		text  string
		field **string
	}{{h.username, &c.Username}, {h.password, &c.Password}} {
		switch f.text {
		case "":
		case "-":
			*f.field = nil
		default:
			*f.field = brokertest.Text(f.text)
		}
	}
	switch h.clientID {
	case "":
	case "-":
		c.ClientID = ""
	default:
		c.ClientID = h.clientID
	}
	return c.Bytes()
}

func TestConnectAccepted(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.put("Dev#01", keys())
	secondary := azure.FormatSAS(contoso+"/devices/dev-01", []byte("the secondary key of the device!"), time.Unix(1893456000, 0), "")
	lower := "SharedAccessSignature sr=contoso.azure-devices.net%2fdevices%2fdev-01&sig=J7NRO9v4VM7r%2BiPC%2FPoXqMCex1DI%2BaFHSGGMQSnuX9M%3D&se=1893456000"
	for _, h := range []hello{
		{name: "HUB-1", rules: []rule.ID{"HUB-1"}},
		{name: "2016 without question mark", username: contoso + "/dev-01/api-version=2016-11-14", rules: []rule.ID{"HUB-2"}},
		{name: "no api-version", username: contoso + "/dev-01", rules: []rule.ID{"HUB-3"}},
		{name: "no api-version, slash", username: contoso + "/dev-01/"},
		{name: "lower-case escapes", password: lower, rules: []rule.ID{"HUB-4"}},
		{name: "secondary key", password: secondary, rules: []rule.ID{"HUB-4"}},
		{name: "policy token", password: sas(contoso, "device"), rules: []rule.ID{"HUB-8"}},
		{name: "mindsphere", username: contoso + "/dev-01/?api-version=2018-06-30"},
		{name: "python", username: contoso + "/dev-01/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0%283.x%3BLinux%29"},
		{name: "node", username: contoso + "/dev-01/?api-version=2021-04-12&model-id=dtmi:a:b;1&DeviceClientType=azure-iot-device%2F1.18.3%20(node)"},
		{name: "c", username: contoso + "/dev-01/?api-version=2020-09-30&DeviceClientType=iothubclient%2f1.13.0%20(native%3b%20Linux)"},
		{name: "old embedded c", username: contoso + "/dev-01/?api-version=2018-06-30&c%2F1.0.0"},
		{name: "escaped id", clientID: "Dev#01", username: contoso + "/Dev%2301/?api-version=2020-09-30", password: sas(contoso+"/devices/Dev#01", "")},
		{name: "by loopback", username: "127.0.0.1/dev-01/?api-version=2021-04-12"},
		{name: "by .cn", username: "Contoso.azure-devices.cn/dev-01/?api-version=2021-04-12"},
	} {
		t.Run(h.name, func(t *testing.T) {
			conn := c.dial()
			conn.Send(h.packet())
			conn.Expect(accepted...)
			publish(conn, "devices/"+orDev01(h.clientID)+"/messages/events/", "x")
			if len(h.rules) > 0 {
				rule.Proves(t, h.rules...)
			}
		})
	}
}

func orDev01(id string) string {
	if id == "" {
		return "dev-01"
	}
	return strings.ReplaceAll(id, "#", "%23")
}

func TestConnectRefused(t *testing.T) {
	t.Parallel()
	v4 := "SharedAccessSignature sr=contoso.azure-devices.net&sig=qntaV5IT1dM2apsDoJXawvLIz4ZKnzKlcX2pfrRfwRU%3D&se=1893456000"
	v6 := "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01&sig=V%2FT3GuAyQ3xNOOJJKsvL7qzUS5UCcdTbNIB6mwuVTh4%3D&se=1577836800"
	for _, h := range []hello{
		{name: "one bit of sig", password: strings.Replace(passDev01, "BQ%3D", "BU%3D", 1), code: 5, rules: []rule.ID{"HUB-5/signature"}},
		{name: "malformed token", password: "SharedAccessSignature sr=x", code: 5, rules: []rule.ID{"HUB-5/malformed"}},
		{name: "no password", password: "-", code: 5, rules: []rule.ID{"HUB-5/no-token"}},
		{name: "connection string", password: "HostName=contoso.azure-devices.net;DeviceId=dev-01;SharedAccessSignature=" + passDev01, code: 5, rules: []rule.ID{"HUB-5/connection-string"}},
		{name: "key", password: demoKey, code: 5, rules: []rule.ID{"HUB-5/key"}},
		{name: "text", password: "secret", code: 5, rules: []rule.ID{"HUB-5/password"}},
		{name: "no key", clientID: "keyless", username: contoso + "/keyless/?api-version=2021-04-12", password: sas(contoso+"/devices/keyless", ""), code: 5, rules: []rule.ID{"HUB-5/no-key"}},
		{name: "expired", password: v6, code: 5, rules: []rule.ID{"HUB-6/expired"}},
		{name: "for another device", clientID: "dev-0", username: contoso + "/dev-0/?api-version=2021-04-12", code: 5, rules: []rule.ID{"HUB-7/resource"}},
		{name: "no skn", password: v4, code: 5, rules: []rule.ID{"HUB-8/no-policy"}},
		{name: "service policy", password: v4 + "&skn=service", code: 5, rules: []rule.ID{"HUB-8/rights"}},
		{name: "unknown policy", password: v4 + "&skn=owner", code: 5, rules: []rule.ID{"HUB-8/policy"}},
		{name: "unknown device", clientID: "nobody", username: contoso + "/nobody/?api-version=2021-04-12", code: 5, rules: []rule.ID{"HUB-9/unknown"}},
		{name: "case", clientID: "DEV-01", username: contoso + "/DEV-01/?api-version=2021-04-12", code: 5, rules: []rule.ID{"HUB-9/unknown"}},
		{name: "unknown module", clientID: "dev-01/mod-b", username: contoso + "/dev-01/mod-b/?api-version=2021-04-12", code: 5, rules: []rule.ID{"HUB-9/module"}},
		{name: "client id", clientID: "dev-02", code: 5, rules: []rule.ID{"HUB-10/client-id"}},
		{name: "client id of a module", clientID: "dev-01/mod-a", code: 5, rules: []rule.ID{"HUB-10/client-id"}},
		{name: "empty client id", clientID: "-", code: 5, rules: []rule.ID{"HUB-10/client-id"}},
		{name: "no username", username: "-", password: "-", code: 5, rules: []rule.ID{"HUB-11/username"}},
		{name: "no slash", username: "contoso", code: 5, rules: []rule.ID{"HUB-11/username"}},
		{name: "other hub", username: "fabrikam.azure-devices.net/dev-01/?api-version=2021-04-12", code: 5, rules: []rule.ID{"HUB-11/host"}},
		{name: "disabled", clientID: "off", username: contoso + "/off/?api-version=2021-04-12", password: sas(contoso+"/devices/off", ""), code: 3, rules: []rule.ID{"HUB-12/disabled"}},
		{name: "MQTT 5", level: 5, code: 1, rules: []rule.ID{"HUB-19/level"}},
		{name: "MQTT 3.1", level: 3, code: 1, rules: []rule.ID{"HUB-19/level"}},
	} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			c.put("dev-0", keys())
			c.put("keyless", iothub.Authentication{Type: iothub.AuthNone})
			c.put("off", keys())
			require.NoError(t, c.hub.SetStatus(contoso, "off", iothub.Disabled, ""))
			conn := c.dial()
			conn.Send(h.packet())
			conn.Expect(refused(h.code)...)
			conn.ExpectClosed()
			e := c.expectRefused(h.rules[0])
			require.EqualValues(t, h.code, *e.Code)
			require.NotEmpty(t, e.Seen)
			require.NotEmpty(t, e.Expected)
			noSecrets(t, c)
			rule.Proves(t, h.rules[0], h.rules[0].Row())
		})
	}
}

// noSecrets looks for keys and signatures in everything that was journalled.
func noSecrets(t *testing.T, c *cloud) {
	t.Helper()
	events, _ := c.journal.Select(journal.Filter{})
	for _, e := range events {
		text, err := e.MarshalJSON()
		require.NoError(t, err)
		for _, secret := range []string{demoKey, "JQmpIEKDMl", "qntaV5IT1dM2", "V/T3GuAyQ3", "V%2FT3GuAyQ3", `"secret"`} {
			require.NotContains(t, string(text), secret)
		}
	}
}

func TestRefusalNamesTheNearMiss(t *testing.T) {
	t.Parallel()
	for _, h := range []struct{ hello, want string }{
		{"DEV-01", "dev-01"}, {"dev-1", "dev-01"},
	} {
		c := newCloud(t)
		conn := c.dial()
		conn.Send(hello{clientID: h.hello, username: contoso + "/" + h.hello}.packet())
		conn.Expect(refused(5)...)
		require.Equal(t, h.want, c.expectRefused("HUB-9/unknown").Expected)
	}
	c := newCloud(t)
	conn := c.dial()
	conn.Send(hello{username: "dev-01"}.packet())
	conn.Expect(refused(5)...)
	require.Equal(t, contoso+"/dev-01/?api-version=2021-04-12", c.expectRefused("HUB-11/username").Expected)
}

func TestDisabledCodeSwitch(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.change(func(h *iothub.Hub) { h.Switches.DisabledCode = 5 })
	require.NoError(t, c.hub.SetStatus(contoso, "dev-01", iothub.Disabled, ""))
	conn := c.dial()
	conn.Send(login().Bytes())
	conn.Expect(refused(5)...)
	conn.ExpectClosed()
	c.expectRefused("HUB-12/disabled")
}

func TestSASSwitchedOff(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.change(func(h *iothub.Hub) { h.DisableDeviceSAS = true })
	conn := c.dial()
	conn.Send(login().Bytes())
	conn.Expect(refused(5)...)
	conn.ExpectClosed()
	c.expectRefused("HUB-5/disabled")
	rule.Proves(t, "HUB-5/disabled")
	c.signIn(loginModule())
}

func certificate(t *testing.T, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, cn string, change func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: cn},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	if change != nil {
		change(template)
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert, key
}

func TestConnectByCertificate(t *testing.T) {
	t.Parallel()
	asCA := func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }
	root, rootKey := certificate(t, nil, nil, "Root", asCA)
	loose, looseKey := certificate(t, nil, nil, "Loose", asCA)
	flexy, _ := certificate(t, nil, nil, "some subject", nil)
	other, _ := certificate(t, nil, nil, "Flexy205Self", nil)
	old, _ := certificate(t, nil, nil, "old", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	young, _ := certificate(t, nil, nil, "young", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	good, _ := certificate(t, root, rootKey, "ca-dev", nil)
	wrongCN, _ := certificate(t, root, rootKey, "ca-other", nil)
	ofLoose, _ := certificate(t, loose, looseKey, "ca-dev", nil)
	text := "HostName=eWONPROJECT;DeviceID=Flexy205Self;x509=true"
	for _, h := range []struct {
		name, device, password string
		certs                  []*x509.Certificate
		thumbprint             func(sha1, sha256 string) iothub.Thumbprints
		of                     *x509.Certificate
		rule                   rule.ID
	}{
		{name: "SHA-1, no password", password: "-", certs: []*x509.Certificate{flexy}, thumbprint: func(a, _ string) iothub.Thumbprints { return iothub.Thumbprints{Primary: a} }, rule: "HUB-13"},
		{name: "SHA-256 secondary", password: "-", certs: []*x509.Certificate{flexy}, thumbprint: func(_, b string) iothub.Thumbprints {
			return iothub.Thumbprints{Primary: strings.Repeat("0", 40), Secondary: b}
		}, rule: "HUB-13"},
		{name: "flexy's password", password: text, certs: []*x509.Certificate{flexy}, rule: "HUB-14"},
		{name: "CA", device: "ca-dev", password: "-", certs: []*x509.Certificate{good}, rule: "HUB-16"},
		{name: "other certificate", password: text, certs: []*x509.Certificate{other}, rule: "HUB-15/thumbprint"},
		{name: "no certificate", password: "-", rule: "HUB-15/no-certificate"},
		{name: "token only", password: passDev01, rule: "HUB-15/sas-token"},
		{name: "SAS device", device: "dev-01", password: "-", certs: []*x509.Certificate{flexy}, rule: "HUB-15/sas-device"},
		{name: "expired", password: "-", certs: []*x509.Certificate{old}, of: old, rule: "HUB-15/expired"},
		{name: "not yet valid", password: "-", certs: []*x509.Certificate{young}, of: young, rule: "HUB-15/not-yet-valid"},
		{name: "CN", device: "ca-dev", password: "-", certs: []*x509.Certificate{wrongCN}, rule: "HUB-16/cn"},
		{name: "chain", device: "ca-dev", password: "-", certs: []*x509.Certificate{flexy}, rule: "HUB-16/chain"},
		{name: "unverified", device: "ca-dev", password: "-", certs: []*x509.Certificate{ofLoose}, rule: "HUB-16/unverified"},
	} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			require.NoError(t, c.hub.PutCA(contoso, iothub.CA{Name: "root", Certificate: root, Verified: true}))
			require.NoError(t, c.hub.PutCA(contoso, iothub.CA{Name: "loose", Certificate: loose}))
			c.put("ca-dev", iothub.Authentication{Type: iothub.AuthCA})
			if h.of == nil {
				h.of = flexy
			}
			if h.thumbprint == nil {
				h.thumbprint = func(a, _ string) iothub.Thumbprints { return iothub.Thumbprints{Primary: a} }
			}
			c.put("Flexy205Self", iothub.Authentication{Type: iothub.AuthSelfSigned, Thumbprint: h.thumbprint(pki.Thumbprints(h.of))})
			if h.device == "" {
				h.device = "Flexy205Self"
			}
			conn := c.dial(h.certs...)
			conn.Send(hello{clientID: h.device, username: contoso + "/" + h.device + "/api-version=2016-11-14", password: h.password}.packet())
			if h.rule.Cause() == "" {
				conn.Expect(accepted...)
				publish(conn, "devices/"+h.device+"/messages/events/", "{}")
			} else {
				conn.Expect(refused(5)...)
				conn.ExpectClosed()
				c.expectRefused(h.rule)
			}
			rule.Proves(t, h.rule, h.rule.Row())
		})
	}
}
