package e2e

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// thumbprints is a world in which contoso has a device x-1 of that authentication.
func thumbprints(slots string) string {
	return "azure: {hubs: [{name: contoso, devices: [{deviceId: x-1, authentication: {type: selfSigned, x509Thumbprint: {" + slots + "}}}]}]}"
}

func x1(password *string) rawmqtt.Connect {
	return rawmqtt.Connect{ClientID: "x-1", Username: ptr("contoso.azure-devices.net/x-1/?api-version=2021-04-12"), Password: password}
}

func TestHubThumbprints(t *testing.T) {
	t.Parallel()
	cert := valid(t, "any subject")
	other := strings.Repeat("0", 40)
	for name, slots := range map[string]string{
		"SHA-1 primary":     "primaryThumbprint: '" + sha1Of(cert) + "'",
		"SHA-1 secondary":   "primaryThumbprint: '" + other + "', secondaryThumbprint: '" + sha1Of(cert) + "'",
		"SHA-256 primary":   "primaryThumbprint: '" + strings.ToUpper(sha256Of(cert)) + "', secondaryThumbprint: '" + other + "'",
		"SHA-256 secondary": "primaryThumbprint: '" + other + "', secondaryThumbprint: '" + sha256Of(cert) + "'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t, thumbprints(slots))
			for _, password := range []*string{nil, ptr("")} {
				conn := signIn(t, cloud, x1(password), cert)
				say(t, conn, "devices/x-1/messages/events/", "{}")
			}
			e := telemetry(t, cloud, "x-1", 2)[1]
			require.JSONEq(t, `{"scope":"device","type":"x509","issuer":"iothub"}`, e.Properties["iothub-connection-auth-method"])
			rule.Proves(t, "HUB-13")
		})
	}
}

// A module may have a certificate of its own while its device has keys.
func TestHubModuleThumbprint(t *testing.T) {
	t.Parallel()
	cert := valid(t, "anything")
	cloud := startContoso(t, "azure: {hubs: [{name: contoso, devices: [{deviceId: dev-01, modules: [{moduleId: mod-x, authentication: {x509Thumbprint: {primaryThumbprint: '"+sha256Of(cert)+"'}}}]}]}]}")
	module := rawmqtt.Connect{ClientID: "dev-01/mod-x", Username: ptr("contoso.azure-devices.net/dev-01/mod-x/?api-version=2021-04-12")}
	say(t, signIn(t, cloud, module, cert), "devices/dev-01/modules/mod-x/messages/events/", "{}")
	require.JSONEq(t, `{"scope":"module","type":"x509","issuer":"iothub"}`, telemetry(t, cloud, "dev-01/mod-x", 1)[0].Properties["iothub-connection-auth-method"])
	wantAlive(t, signIn(t, cloud, modA())) // the device's other modules are still there
	wantRefused(t, cloud, knock(t, cloud, module), 5, "HUB-15/no-certificate", "")
}

// Seed 003: the eWON Flexy script, which names its hub in capitals and sends a text as password.
func TestHubFlexy(t *testing.T) {
	t.Parallel()
	cert := valid(t, "ewon.biz")
	cloud := startContoso(t, `
azure:
  hubs:
    - name: eWONPROJECT
      devices:
        - {deviceId: Flexy205Self, authentication: {type: selfSigned, x509Thumbprint: {primaryThumbprint: '`+sha1Of(cert)+`'}}}
`)
	conn := dial(t, cloud, via{name: "eWONPROJECT.azure-devices.net", cert: &cert, max: tls.VersionTLS12})
	send(t, conn, rawmqtt.Connect{ClientID: "Flexy205Self", KeepAlive: 20,
		Username: ptr("eWONPROJECT.azure-devices.net/Flexy205Self/api-version=2016-11-14"),
		Password: ptr("HostName=eWONPROJECT;DeviceID=Flexy205Self;x509=true")}.Bytes())
	wantConnack(t, conn, 0)
	payload := `{"Tag1":"1.5","time": "2019-01-31 10:00:00"}`
	send(t, conn, rawmqtt.Publish("devices/Flexy205Self/messages/events/", payload, 0, 0, false))
	require.Equal(t, payload, string(telemetry(t, cloud, "Flexy205Self", 1)[0].Payload))
	wantAlive(t, conn)
	rule.Proves(t, "HUB-14")
}

// A token or any text beside the registered certificate does not count.
func TestHubCertificateBesidePassword(t *testing.T) {
	t.Parallel()
	cert := valid(t, "x-1")
	cloud := startContoso(t, thumbprints("primaryThumbprint: '"+sha1Of(cert)+"'"))
	for _, password := range []string{tokenV1, "open sesame", "HostName=contoso;DeviceID=x-1;x509=true"} {
		wantAlive(t, signIn(t, cloud, x1(&password), cert))
	}
	noSecrets(t, cloud)
	rule.Proves(t, "HUB-14")
}

func TestHubCertificateRefused(t *testing.T) {
	t.Parallel()
	now := time.Now()
	good, other := valid(t, "x-1"), valid(t, "x-1")
	old := selfSigned(t, "x-1", now.Add(-2*time.Hour), now.Add(-time.Hour), nil, false)
	young := selfSigned(t, "x-1", now.Add(time.Hour), now.Add(2*time.Hour), nil, false)
	for _, c := range []struct {
		name       string
		registered tls.Certificate
		connect    rawmqtt.Connect
		certs      []tls.Certificate
		rule       rule.ID
		expected   string
	}{
		{"other certificate", good, x1(nil), []tls.Certificate{other}, "HUB-15/thumbprint", strings.ToUpper(sha1Of(good))},
		{"other certificate and text", good, x1(ptr("HostName=contoso;DeviceID=x-1;x509=true")), []tls.Certificate{other}, "HUB-15/thumbprint", ""},
		{"none", good, x1(nil), nil, "HUB-15/no-certificate", "client certificate"},
		{"none, text", good, x1(ptr("HostName=contoso;DeviceID=x-1;x509=true")), nil, "HUB-15/no-certificate", "client certificate"},
		{"token only", good, x1(ptr(tokenV1)), nil, "HUB-15/sas-token", "client certificate"},
		{"SAS device", good, rawmqtt.Connect{ClientID: "dev-01", Username: ptr(userDev01)}, []tls.Certificate{good}, "HUB-15/sas-device", "SharedAccessSignature"},
		{"expired", old, x1(nil), []tls.Certificate{old}, "HUB-15/expired", ""},
		{"not yet valid", young, x1(nil), []tls.Certificate{young}, "HUB-15/not-yet-valid", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t, thumbprints("primaryThumbprint: '"+sha1Of(c.registered)+"'"))
			e := wantRefused(t, cloud, knock(t, cloud, c.connect, c.certs...), 5, c.rule, c.expected)
			if c.rule == "HUB-15/thumbprint" {
				require.Contains(t, e.Seen, strings.ToUpper(sha1Of(other)))
				require.Contains(t, e.Seen, strings.ToUpper(sha256Of(other)))
			}
		})
	}
}

// caWorld trusts demo-ca with this standing and has a device and a module that must show a chain.
func caWorld(verified bool) string {
	return fmt.Sprintf(`
azure:
  hubs:
    - name: contoso
      certificates: [{name: plant-ca, ca: demo-ca, verified: %v}]
      devices:
        - deviceId: ca-1
          authentication: {type: certificateAuthority}
          modules: [{moduleId: m, authentication: {type: certificateAuthority}}]
`, verified)
}

func caDevice(id string) rawmqtt.Connect {
	return rawmqtt.Connect{ClientID: id, Username: ptr("contoso.azure-devices.net/" + id + "/?api-version=2021-04-12")}
}

func TestHubCertificateAuthority(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t, caWorld(true))
	for _, id := range []string{"ca-1", "ca-1/m"} {
		conn := signIn(t, cloud, caDevice(id), *device(t, cloud, id))
		wantAlive(t, conn)
	}
	certPEM, keyPEM := cloud.DemoCA()
	root, err := tls.X509KeyPair(certPEM, keyPEM)
	require.NoError(t, err)
	now := time.Now()
	between := selfSigned(t, "plant 7", now.Add(-time.Hour), now.Add(time.Hour), &root, true)
	leaf := selfSigned(t, "ca-1", now.Add(-time.Hour), now.Add(time.Hour), &between, false)
	wantAlive(t, signIn(t, cloud, caDevice("ca-1"), leaf))
	leaf.Certificate = leaf.Certificate[:1]
	wantRefused(t, cloud, knock(t, cloud, caDevice("ca-1"), leaf), 5, "HUB-16/chain", "")
	rule.Proves(t, "HUB-16")
}

func TestHubCertificateAuthorityRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, id, commonName string
		verified             bool
		rule                 rule.ID
		expected             string
	}{
		{"CN of another device", "ca-1", "ca-2", true, "HUB-16/cn", "ca-1"},
		{"CN in other case", "ca-1", "CA-1", true, "HUB-16/cn", "ca-1"},
		{"the device's for its module", "ca-1/m", "ca-1", true, "HUB-16/cn", "ca-1/m"},
		{"own certificate", "ca-1", "", true, "HUB-16/chain", "plant-ca"},
		{"CA not verified", "ca-1", "ca-1", false, "HUB-16/unverified", "verified"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t, caWorld(c.verified))
			cert := valid(t, c.id)
			if c.commonName != "" {
				cert = *device(t, cloud, c.commonName)
			}
			wantRefused(t, cloud, knock(t, cloud, caDevice(c.id), cert), 5, c.rule, c.expected)
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		t.Parallel()
		cloud := startContoso(t, caWorld(true))
		wantRefused(t, cloud, knock(t, cloud, caDevice("ca-1")), 5, "HUB-15/no-certificate", "CN=ca-1")
	})
}
