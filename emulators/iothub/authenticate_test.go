package iothub

import (
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/pki"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// Tokens of the fact sheet; openssl and Python agree on them.
const (
	tokenV1 = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01&sig=JQmpIEKDMl%2BOJOOeafv5EINLZmT%2FO%2Fu0tqZURbAHh%2BQ%3D&se=1893456000"
	tokenV2 = "SharedAccessSignature sr=contoso.azure-devices.net%2fdevices%2fdev-01&sig=J7NRO9v4VM7r%2BiPC%2FPoXqMCex1DI%2BaFHSGGMQSnuX9M%3D&se=1893456000"
	tokenV3 = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01%2Fmodules%2Fmod-a&sig=Aph6WgFAF00uSVneZglExBjOsbRbUsrlT6bipTiK5iU%3D&se=1893456000"
	tokenV4 = "SharedAccessSignature sr=contoso.azure-devices.net&sig=qntaV5IT1dM2apsDoJXawvLIz4ZKnzKlcX2pfrRfwRU%3D&se=1893456000"
	tokenV6 = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01&sig=V%2FT3GuAyQ3xNOOJJKsvL7qzUS5UCcdTbNIB6mwuVTh4%3D&se=1577836800"
	// tokenForModule is for a module, signed with its device's key; made with Python's hmac.
	tokenForModule = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01%2Fmodules%2Fmod-b&sig=b8t22zfeyZHablGLRUh2TqeXC8pxcOKC812OVz6pLaA%3D&se=1893456000"
	tokenBad       = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01&sig=JQmpIEKDMl%2BOJOOeafv5EINLZmT%2FO%2Fu0tqZURbAHh%2BU%3D&se=1893456000"
)

func token(resource, key, policy string) string {
	b, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		panic(err)
	}
	return azure.FormatSAS(resource, b, time.Unix(1893456000, 0), policy)
}

func TestAuthenticateSAS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, Device{DeviceID: "dev-02", Authentication: sasKeys()})
	w.put(t, Device{DeviceID: "dev-0", Authentication: sasKeys()})
	w.put(t, Device{DeviceID: "Dev#01", Authentication: sasKeys()})
	w.put(t, Device{DeviceID: "keyless", Authentication: Authentication{Type: AuthNone}})
	w.put(t, Device{DeviceID: "off", Status: Disabled, StatusReason: "stolen", Authentication: sasKeys()})
	fixed := Authentication{SymmetricKey: SymmetricKey{PrimaryKey: "bW9kdWxlLWtleS1tb2R1bGUta2V5LW1vZHVsZS1rZXk=", SecondaryKey: "c2Vjb25kLWtleS1zZWNvbmQta2V5LXNlY29uZC1rZXk="}}
	for _, m := range []Module{{DeviceID: "dev-01", ModuleID: "mod-b", Authentication: fixed}, {DeviceID: "keyless", ModuleID: "m", Authentication: fixed}} {
		_, err := w.PutModule(contoso, m)
		require.NoError(t, err)
	}
	own := contoso + "/devices/dev-01"
	rawKey := azure.FormatSAS(own, []byte(demoKey), time.Unix(1893456000, 0), "")
	unescaped := "SharedAccessSignature sr=" + azure.Escape(own) + "&sig=" + azure.Escape(base64.StdEncoding.EncodeToString(
		azure.Signature([]byte("0123456789abcdef0123456789abcdef"), own, "1893456000"))) + "&se=1893456000"

	for _, c := range []struct {
		name, device, module, host, password string
		rule                                 rule.ID
		scope, detail                        string
	}{
		{name: "V1", password: tokenV1, scope: "device"},
		{name: "V2 lower-case escapes", password: tokenV2, scope: "device"},
		{name: "secondary key", password: token(own, otherKey, ""), scope: "device"},
		{name: "empty skn (Java)", password: tokenV1 + "&skn=", scope: "device"},
		{name: "longer tail", password: token(own+"/api-version=2016-11-14", demoKey, ""), scope: "device"},
		{name: "host in capitals", password: token("CONTOSO.azure-devices.net/devices/dev-01", demoKey, ""), scope: "device"},
		{name: ".device. form", host: "contoso.device.azure-devices.net", password: token("contoso.device.azure-devices.net/devices/dev-01", demoKey, ""), scope: "device"},
		{name: ".cn twin", host: "contoso.azure-devices.cn", password: token("contoso.azure-devices.cn/devices/dev-01", demoKey, ""), scope: "device"},
		{name: "door name", host: "127.0.0.1", password: token("127.0.0.1/devices/dev-01", demoKey, ""), scope: "device"},
		{name: "door name, hub's token", host: "127.0.0.1", password: tokenV1, scope: "device"},
		{name: "V5 id with #", device: "Dev#01", password: token(contoso+"/devices/Dev#01", demoKey, ""), scope: "device"},
		{name: "module V3", module: "mod-a", password: tokenV3, scope: "module"},
		{name: "module by its device's key", module: "mod-b", password: tokenForModule, scope: "device"},
		{name: "module by a stranger's key", module: "mod-b", password: token(own+"/modules/mod-b", "c3RyYW5nZXItc3RyYW5nZXItc3RyYW5nZXItc3RyYW4=", ""), rule: "HUB-5/signature", detail: "module"},
		{name: "module of a device without keys", device: "keyless", module: "m", password: token(contoso+"/devices/keyless/modules/m", demoKey, ""), rule: "HUB-5/signature"},
		{name: "V4 policy device", password: tokenV4 + "&skn=device", scope: "hub"},
		{name: "V4 policy iothubowner", password: tokenV4 + "&skn=iothubowner", scope: "hub"},
		{name: "policy token for a module", module: "mod-a", password: tokenV4 + "&skn=device", scope: "hub"},
		{name: "policy token of the device's scope", password: token(own, demoKey, "device"), scope: "hub"},
		{name: "policy for a keyless device", device: "keyless", password: tokenV4 + "&skn=device", scope: "hub"},

		{name: "one bit of sig", password: tokenBad, rule: "HUB-5/signature"},
		{name: "key not decoded", password: rawKey, rule: "HUB-5/signature", detail: "decode the key from base64"},
		{name: "decoded resource signed", password: unescaped, rule: "HUB-5/signature", detail: "percent-encoded"},
		{name: "no password", password: "", rule: "HUB-5/no-token"},
		{name: "connection string", password: "HostName=contoso.azure-devices.net;DeviceId=dev-01;SharedAccessSignature=" + tokenV1, rule: "HUB-5/connection-string"},
		{name: "flexy text", password: "HostName=contoso;DeviceID=dev-01;x509=true", rule: "HUB-5/connection-string"},
		{name: "key as password", password: demoKey, rule: "HUB-5/key"},
		{name: "other text", password: "secret", rule: "HUB-5/password"},
		{name: "prefix missing", password: strings.TrimPrefix(tokenV1, "SharedAccessSignature "), rule: "HUB-5/malformed"},
		{name: "prefix in lower case", password: "sharedaccesssignature" + strings.TrimPrefix(tokenV1, "SharedAccessSignature"), rule: "HUB-5/malformed"},
		{name: "no se", password: "SharedAccessSignature sr=a&sig=YQ==", rule: "HUB-5/malformed"},
		{name: "broken escape in sr", password: "SharedAccessSignature sr=%zz&sig=YQ==&se=1893456000", rule: "HUB-5/malformed"},
		{name: "keyless device", device: "keyless", password: token(contoso+"/devices/keyless", demoKey, ""), rule: "HUB-5/no-key"},
		{name: "V6 expired", password: tokenV6, rule: "HUB-6/expired"},
		{name: "V1 for dev-02", device: "dev-02", password: tokenV1, rule: "HUB-7/resource"},
		{name: "V1 for dev-0", device: "dev-0", password: tokenV1, rule: "HUB-7/resource"},
		{name: "dev-0's token for dev-01", password: token(contoso+"/devices/dev-0", demoKey, ""), rule: "HUB-7/resource"},
		{name: "id in other case", password: token(contoso+"/devices/DEV-01", demoKey, ""), rule: "HUB-7/resource"},
		{name: "other hub's token", password: token("fabrikam.azure-devices.net/devices/dev-01", demoKey, ""), rule: "HUB-7/resource"},
		{name: "module's token for the device", password: tokenV3, rule: "HUB-7/resource"},
		{name: "device's token for the module", module: "mod-a", password: tokenV1, rule: "HUB-7/resource"},
		{name: "policy token of another device", password: token(contoso+"/devices/dev-02", demoKey, "device"), rule: "HUB-7/resource"},
		{name: "V4 without skn", password: tokenV4, rule: "HUB-8/no-policy"},
		{name: "V4 policy service", password: tokenV4 + "&skn=service", rule: "HUB-8/rights"},
		{name: "V4 policy registryRead", password: tokenV4 + "&skn=registryRead", rule: "HUB-8/rights"},
		{name: "unknown policy", password: tokenV4 + "&skn=Device", rule: "HUB-8/policy", detail: "case"},
		{name: "policy's key, wrong", password: strings.Replace(tokenV4, "qnta", "qntb", 1) + "&skn=device", rule: "HUB-5/signature"},
		{name: "unknown device", device: "nobody", password: tokenV1, rule: "HUB-9/unknown"},
		{name: "id in other case, username", device: "DEV-01", password: tokenV1, rule: "HUB-9/unknown", detail: "case"},
		{name: "unknown module", module: "Mod-A", password: tokenV3, rule: "HUB-9/module", detail: "case"},
		{name: "foreign host", host: "contosso.azure-devices.net", password: tokenV1, rule: "HUB-11/host", detail: "closest is contoso.azure-devices.net"},
		{name: "short host", host: "contoso", password: tokenV1, rule: "HUB-11/host", detail: "contoso.azure-devices.net"},
		{name: "disabled", device: "off", password: token(contoso+"/devices/off", demoKey, ""), rule: "HUB-12/disabled", detail: "stolen"},
		{name: "disabled with a bad token", device: "off", password: tokenBad, rule: "HUB-7/resource"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.device == "" {
				c.device = "dev-01"
			}
			if c.host == "" {
				c.host = contoso
			}
			id, err := w.Authenticate(t.Context(), Credentials{Endpoint: contoso, Host: c.host, Hosts: []string{"127.0.0.1"},
				DeviceID: c.device, ModuleID: c.module, Password: c.password})
			if c.rule == "" {
				require.NoError(t, err)
				require.Equal(t, AuthMethod{Scope: c.scope, Type: "sas", Issuer: "iothub"}, id.Auth)
				require.EqualValues(t, 1893456000, id.Expires.Unix())
				return
			}
			checkRefusal(t, err, c.rule, c.detail)
		})
	}
}

// checkRefusal also holds the refusal against the table and looks for secrets in it.
func checkRefusal(t *testing.T, err error, id rule.ID, detail string) {
	t.Helper()
	r := refusalOf(t, err)
	require.Equal(t, id, r.Rule, r.Detail)
	_, _, known := rule.NewTable(Rules).Cause(r.Rule)
	require.True(t, known, "%s is no cause of the table", r.Rule)
	require.Contains(t, r.Detail+r.Expected, detail)
	require.NotEmpty(t, r.Seen)
	require.NotEmpty(t, r.Expected)
	text := r.Detail + r.Seen + r.Expected
	for _, secret := range []string{demoKey, otherKey, "JQmpIEKDMl"} {
		require.NotContains(t, text, secret)
	}
}

func TestSASSwitches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := Credentials{Endpoint: contoso, DeviceID: "dev-01"}
	now := w.clock.Wall()
	se := func(d time.Duration) string {
		return azure.FormatSAS(contoso+"/devices/dev-01", []byte("0123456789abcdef0123456789abcdef"), now.Add(d), "")
	}
	c.Password = se(-4 * time.Minute)
	_, err := w.Authenticate(t.Context(), c)
	require.NoError(t, err, "five minutes are tolerated")
	c.Password = se(-6 * time.Minute)
	_, err = w.Authenticate(t.Context(), c)
	checkRefusal(t, err, "HUB-6/expired", "ago")
	w.clock.Skew(-5 * time.Minute)
	_, err = w.Authenticate(t.Context(), c)
	require.NoError(t, err, "the wall clock judges")
	w.clock.Skew(0)

	h, err := w.GetHub(contoso)
	require.NoError(t, err)
	zero := time.Duration(0)
	h.Switches.SASSkew = &zero
	_, err = w.PutHub(h)
	require.NoError(t, err)
	c.Password = se(-2 * time.Second)
	_, err = w.Authenticate(t.Context(), c)
	checkRefusal(t, err, "HUB-6/expired", "")

	h.DisableDeviceSAS, h.DisableModuleSAS = true, true
	_, err = w.PutHub(h)
	require.NoError(t, err)
	c.Password = tokenV1
	_, err = w.Authenticate(t.Context(), c)
	checkRefusal(t, err, "HUB-5/disabled", "disableDeviceSAS")
	c.ModuleID, c.Password = "mod-a", tokenV3
	_, err = w.Authenticate(t.Context(), c)
	checkRefusal(t, err, "HUB-5/disabled", "disableModuleSAS")
}

func TestAuthenticateCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	flexy := issue(t, nil, "anything", nil)
	sha1Hex, sha256Hex := pki.Thumbprints(flexy.cert)
	thumb := func(id, primary, secondary string) {
		w.put(t, Device{DeviceID: id, Authentication: Authentication{Type: AuthSelfSigned, Thumbprint: Thumbprints{Primary: primary, Secondary: secondary}}})
	}
	other := strings.Repeat("AB", 20)
	thumb("sha1", strings.ToLower(sha1Hex), "")
	thumb("sha256", sha256Hex, "")
	thumb("second", other, sha1Hex)
	thumb("second256", other, sha256Hex)
	thumb("wrong", other, "")
	old := issue(t, nil, "old", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	young := issue(t, nil, "young", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	_, oldHex := pki.Thumbprints(old.cert)
	_, youngHex := pki.Thumbprints(young.cert)
	thumb("old", oldHex, "")
	thumb("young", youngHex, "")

	root := issue(t, nil, "Root", asCA)
	unverified := issue(t, nil, "Unverified", asCA)
	stranger := issue(t, nil, "Stranger", asCA)
	middle := issue(t, root, "Middle", asCA)
	require.NoError(t, w.PutCA(contoso, CA{Name: "root", Certificate: root.cert, Verified: true}))
	require.NoError(t, w.PutCA(contoso, CA{Name: "unverified", Certificate: unverified.cert}))
	for _, id := range []string{"ca-1", "ca-2"} {
		w.put(t, Device{DeviceID: id, Authentication: Authentication{Type: AuthCA}})
	}
	_, err := w.PutModule(contoso, Module{DeviceID: "ca-1", ModuleID: "m", Authentication: Authentication{Type: AuthCA}})
	require.NoError(t, err)
	leaf := func(parent *authority, cn string) *x509.Certificate { return issue(t, parent, cn, nil).cert }
	good := leaf(root, "ca-1")

	for _, c := range []struct {
		name, device, module, password string
		certs                          []*x509.Certificate
		rule                           rule.ID
		detail                         string
	}{
		{name: "SHA-1", device: "sha1", certs: []*x509.Certificate{flexy.cert}},
		{name: "SHA-256", device: "sha256", certs: []*x509.Certificate{flexy.cert}},
		{name: "secondary", device: "second", certs: []*x509.Certificate{flexy.cert}},
		{name: "secondary SHA-256", device: "second256", certs: []*x509.Certificate{flexy.cert}},
		{name: "flexy's password", device: "sha1", password: "HostName=eWONPROJECT;DeviceID=Flexy205Self;x509=true", certs: []*x509.Certificate{flexy.cert}},
		{name: "token beside certificate", device: "sha1", password: tokenV1, certs: []*x509.Certificate{flexy.cert}},
		{name: "CA", device: "ca-1", certs: []*x509.Certificate{good}},
		{name: "CA with intermediate", device: "ca-1", certs: []*x509.Certificate{leaf(middle, "ca-1"), middle.cert}},
		{name: "CA with root sent", device: "ca-1", certs: []*x509.Certificate{good, root.cert}},
		{name: "module by CA", device: "ca-1", module: "m", certs: []*x509.Certificate{leaf(root, "ca-1/m")}},

		{name: "other thumbprint", device: "wrong", certs: []*x509.Certificate{flexy.cert}, rule: "HUB-15/thumbprint", detail: other},
		{name: "no certificate", device: "sha1", rule: "HUB-15/no-certificate"},
		{name: "flexy's password alone", device: "sha1", password: "HostName=x;DeviceID=sha1;x509=true", rule: "HUB-15/no-certificate"},
		{name: "token alone", device: "sha1", password: tokenV1, rule: "HUB-15/sas-token"},
		{name: "SAS device with certificate", device: "dev-01", certs: []*x509.Certificate{flexy.cert}, rule: "HUB-15/sas-device"},
		{name: "expired", device: "old", certs: []*x509.Certificate{old.cert}, rule: "HUB-15/expired"},
		{name: "not yet valid", device: "young", certs: []*x509.Certificate{young.cert}, rule: "HUB-15/not-yet-valid"},
		{name: "CA, none sent", device: "ca-1", rule: "HUB-15/no-certificate"},
		{name: "CA, expired leaf", device: "ca-1", certs: []*x509.Certificate{issue(t, root, "ca-1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }).cert}, rule: "HUB-15/expired"},
		{name: "CN of another", device: "ca-2", certs: []*x509.Certificate{good}, rule: "HUB-16/cn", detail: "ca-2"},
		{name: "module with the device's CN", device: "ca-1", module: "m", certs: []*x509.Certificate{good}, rule: "HUB-16/cn", detail: "ca-1/m"},
		{name: "stranger's CA", device: "ca-1", certs: []*x509.Certificate{leaf(stranger, "ca-1")}, rule: "HUB-16/chain"},
		{name: "intermediate not sent", device: "ca-1", certs: []*x509.Certificate{leaf(middle, "ca-1")}, rule: "HUB-16/chain", detail: "Middle"},
		{name: "self-signed with the right CN", device: "ca-1", certs: []*x509.Certificate{leaf(nil, "ca-1")}, rule: "HUB-16/chain"},
		{name: "unverified CA", device: "ca-1", certs: []*x509.Certificate{leaf(unverified, "ca-1")}, rule: "HUB-16/unverified", detail: "unverified"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := w.Authenticate(t.Context(), Credentials{Endpoint: contoso, Host: contoso,
				DeviceID: c.device, ModuleID: c.module, Password: c.password, Certificates: c.certs})
			if c.rule == "" {
				require.NoError(t, err)
				require.Equal(t, "x509", id.Auth.Type)
				require.True(t, id.Expires.IsZero())
				return
			}
			checkRefusal(t, err, c.rule, c.detail)
		})
	}
}

func TestSignatureOfAPolicyKeyWithoutSkn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, err := w.GetHub(contoso)
	require.NoError(t, err)
	h.Policies[0].PrimaryKey = "cG9saWN5LWtleS1wb2xpY3kta2V5LXBvbGljeS1rZXkh"
	_, err = w.PutHub(h)
	require.NoError(t, err)
	_, err = w.Authenticate(t.Context(), Credentials{Endpoint: contoso, DeviceID: "dev-01",
		Password: token(contoso+"/devices/dev-01", h.Policies[0].PrimaryKey, "")})
	checkRefusal(t, err, "HUB-5/signature", "&skn=iothubowner")
}

func TestUnknownDeviceNamesTheHubThatHasIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.PutHub(Hub{Name: "fabrikam"})
	require.NoError(t, err)
	_, err = w.Authenticate(t.Context(), Credentials{Endpoint: "fabrikam.azure-devices.net", DeviceID: "dev-01", Password: tokenV1})
	checkRefusal(t, err, "HUB-9/unknown", "registered in contoso.azure-devices.net")
	_, err = w.Authenticate(t.Context(), Credentials{Endpoint: "nowhere.azure-devices.net", DeviceID: "dev-01", Password: tokenV1})
	checkRefusal(t, err, "HUB-11/host", "")
	_, err = w.Authenticate(t.Context(), Credentials{Endpoint: contoso, Host: "nowhere.azure-devices.net", Hosts: []string{"127.0.0.1"}, DeviceID: "dev-01", Password: tokenV1})
	require.Equal(t, "contoso.azure-devices.net, fabrikam.azure-devices.net, 127.0.0.1", refusalOf(t, err).Expected, "each name once")
}
