package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The vectors of section 8 of the fact sheet, whole: openssl and Python agree on them.
const (
	tokenV1 = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01&sig=JQmpIEKDMl%2BOJOOeafv5EINLZmT%2FO%2Fu0tqZURbAHh%2BQ%3D&se=1893456000"
	tokenV2 = "SharedAccessSignature sr=contoso.azure-devices.net%2fdevices%2fdev-01&sig=J7NRO9v4VM7r%2biPC%2fPoXqMCex1DI%2baFHSGGMQSnuX9M%3d&se=1893456000"
	tokenV3 = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01%2Fmodules%2Fmod-a&sig=Aph6WgFAF00uSVneZglExBjOsbRbUsrlT6bipTiK5iU%3D&se=1893456000"
	tokenV4 = "SharedAccessSignature sr=contoso.azure-devices.net&sig=qntaV5IT1dM2apsDoJXawvLIz4ZKnzKlcX2pfrRfwRU%3D&se=1893456000"
	tokenV5 = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2FDev%2301&sig=YNn9lFGKK39o5Rd2p8Ss70uldaryrmI0htqzpXX6XhY%3D&se=1893456000"
	tokenV6 = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01&sig=V%2FT3GuAyQ3xNOOJJKsvL7qzUS5UCcdTbNIB6mwuVTh4%3D&se=1577836800"
)

// secondKey is dev-01's secondary key, "the secondary key of dev-01!!".
const secondKey = "dGhlIHNlY29uZGFyeSBrZXkgb2YgZGV2LTAxISE="

const thirdKey = "dGhpcmQga2V5IG9mIGFub3RoZXIgZGV2aWNlISEhISE="

// sign makes a token as section 8 of the sheet has it: sig is HMAC-SHA256 with the decoded key over the
// escaped resource, a newline and se.
func sign(resource, key string, se int64, skn string) string {
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		panic(err)
	}
	return signRaw(percent(resource), secret, strconv.FormatInt(se, 10), skn)
}

func signRaw(sr string, secret []byte, se, skn string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(sr + "\n" + se))
	token := "SharedAccessSignature sr=" + sr + "&sig=" + percent(base64.StdEncoding.EncodeToString(mac.Sum(nil))) + "&se=" + se
	if skn != "" {
		token += "&skn=" + skn
	}
	return token
}

// percent escapes all but unreserved characters.
func percent(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func TestSignerAgreesWithTheVectors(t *testing.T) {
	t.Parallel()
	require.Equal(t, tokenV1, sign("contoso.azure-devices.net/devices/dev-01", demoKey, 1893456000, ""))
	require.Equal(t, tokenV4+"&skn=device", sign("contoso.azure-devices.net", demoKey, 1893456000, "device"))
	require.Equal(t, tokenV5, sign("contoso.azure-devices.net/devices/Dev#01", demoKey, 1893456000, ""))
}

// noSecrets looks for keys and signatures in all that was journalled.
func noSecrets(t *testing.T, cloud *fakecloud.Cloud) {
	t.Helper()
	for _, e := range cloud.Events(fakecloud.Filter{}) {
		text, err := json.Marshal(e)
		require.NoError(t, err)
		for _, secret := range []string{demoKey, secondKey, "JQmpIEKDMl", "Aph6WgFAF0", "qntaV5IT1d", "T3GuAyQ3xN", "open sesame"} {
			require.NotContains(t, string(text), secret)
		}
	}
}

func TestHubTokensAccepted(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	own := "contoso.azure-devices.net/devices/dev-01"
	for _, c := range []struct {
		name, token string
		proves      rule.ID
	}{
		{"V1", tokenV1, "HUB-1"},
		{"V2, lower-case escapes", tokenV2, "HUB-4"},
		{"secondary key", sign(own, secondKey, 1893456000, ""), "HUB-4"},
		{"V4 with a policy", tokenV4 + "&skn=device", "HUB-8"},
		{"V4 with the owner", tokenV4 + "&skn=iothubowner", "HUB-8"},
		{"policy for this device", sign(own, demoKey, 1893456000, "device"), "HUB-8"},
		{"policy for all devices", sign("contoso.azure-devices.net/devices", demoKey, 1893456000, "device"), "HUB-8"},
		{"old tools' tail", sign(own+"/api-version=2016-11-14", demoKey, 1893456000, ""), "HUB-7"},
		{"host in capitals", sign("Contoso.Azure-Devices.NET/devices/dev-01", demoKey, 1893456000, ""), ""},
		{"empty skn, as Java", tokenV1 + "&skn=", ""},
		{"se first, as Node's order varies", "SharedAccessSignature se=1893456000&sig=JQmpIEKDMl%2BOJOOeafv5EINLZmT%2FO%2Fu0tqZURbAHh%2BQ%3D&sr=contoso.azure-devices.net%2Fdevices%2Fdev-01", ""},
		{"raw base64", "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01&sig=JQmpIEKDMl+OJOOeafv5EINLZmT/O/u0tqZURbAHh+Q=&se=1893456000", ""},
		{"four minutes late", sign(own, demoKey, time.Now().Unix()-4*60, ""), "HUB-6"},
	} {
		t.Run(c.name, func(t *testing.T) {
			connect := dev01()
			connect.Password = &c.token
			wantAlive(t, signIn(t, cloud, connect))
			if c.proves != "" {
				rule.Proves(t, c.proves)
			}
		})
	}
}

func TestHubTokensRefused(t *testing.T) {
	t.Parallel()
	own := "contoso.azure-devices.net/devices/dev-01"
	for _, c := range []struct {
		name, device string
		token        *string
		rule         rule.ID
		expected     string
	}{
		{"one bit of sig", "", ptr(strings.Replace(tokenV1, "sig=JQ", "sig=IQ", 1)), "HUB-5/signature", "HMAC-SHA256"},
		{"other key", "", ptr(sign(own, groupKey, 1893456000, "")), "HUB-5/signature", ""},
		{"se changed", "", ptr(strings.Replace(tokenV1, "1893456000", "1893456001", 1)), "HUB-5/signature", ""},
		{"key not decoded", "", ptr(signRaw(percent(own), []byte(demoKey), "1893456000", "")), "HUB-5/signature", ""},
		{"no sig", "", ptr("SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fdev-01&se=1893456000"), "HUB-5/malformed", "sig="},
		{"no sr", "", ptr("SharedAccessSignature sig=JQ%3D%3D&se=1893456000"), "HUB-5/malformed", ""},
		{"se is a date", "", ptr(strings.Replace(tokenV1, "1893456000", "2030-01-01", 1)), "HUB-5/malformed", ""},
		{"sig is not base64", "", ptr("SharedAccessSignature sr=x&sig=%25%25&se=1893456000"), "HUB-5/malformed", ""},
		{"lower case", "", ptr(strings.Replace(tokenV1, "SharedAccessSignature", "sharedaccesssignature", 1)), "HUB-5/malformed", "SharedAccessSignature sr="},
		{"without its first word", "", ptr(strings.TrimPrefix(tokenV1, "SharedAccessSignature ")), "HUB-5/malformed", "SharedAccessSignature sr="},
		{"no password", "", nil, "HUB-5/no-token", "SharedAccessSignature sr="},
		{"empty password", "", ptr(""), "HUB-5/no-token", "SharedAccessSignature sr="},
		{"connection string", "", ptr("HostName=contoso.azure-devices.net;DeviceId=dev-01;SharedAccessSignature=" + tokenV1), "HUB-5/connection-string", ""},
		{"connection string with key", "", ptr("HostName=contoso.azure-devices.net;DeviceId=dev-01;SharedAccessKey=" + demoKey), "HUB-5/connection-string", ""},
		{"key", "", ptr(demoKey), "HUB-5/key", ""},
		{"secondary key", "", ptr(secondKey), "HUB-5/key", ""},
		{"text", "", ptr("open sesame"), "HUB-5/password", ""},
		{"identity without key", "keyless", ptr(sign("contoso.azure-devices.net/devices/keyless", demoKey, 1893456000, "")), "HUB-5/no-key", "policy"},
		{"V6", "", ptr(tokenV6), "HUB-6/expired", ""},
		{"six minutes late", "", ptr(sign(own, demoKey, time.Now().Unix()-6*60, "")), "HUB-6/expired", ""},
		{"V1 for dev-02", "dev-02", ptr(tokenV1), "HUB-7/resource", "devices/dev-02"},
		{"V1 for dev-0, a prefix in characters", "dev-0", ptr(tokenV1), "HUB-7/resource", "devices/dev-0 "},
		{"dev-0's for dev-01", "", ptr(sign("contoso.azure-devices.net/devices/dev-0", demoKey, 1893456000, "")), "HUB-7/resource", "devices/dev-01"},
		{"other case", "", ptr(sign("contoso.azure-devices.net/devices/DEV-01", demoKey, 1893456000, "")), "HUB-7/resource", "devices/dev-01"},
		{"other hub", "", ptr(sign("fabrikam.azure-devices.net/devices/dev-01", demoKey, 1893456000, "")), "HUB-7/resource", "contoso"},
		{"module's token", "", ptr(tokenV3), "HUB-7/resource", "devices/dev-01"},
		{"policy's token for another device", "", ptr(sign("contoso.azure-devices.net/devices/dev-02", demoKey, 1893456000, "device")), "HUB-7/resource", ""},
		{"policy unknown", "", ptr(tokenV4 + "&skn=owner"), "HUB-8/policy", "iothubowner"},
		{"policy without right", "", ptr(tokenV4 + "&skn=service"), "HUB-8/rights", "DeviceConnect"},
		{"no skn", "", ptr(tokenV4), "HUB-8/no-policy", "skn"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			if c.device == "" {
				c.device = "dev-01"
			}
			connect := rawmqtt.Connect{ClientID: c.device, Password: c.token,
				Username: ptr("contoso.azure-devices.net/" + c.device + "/?api-version=2021-04-12")}
			wantRefused(t, cloud, knock(t, cloud, connect), 5, c.rule, c.expected)
		})
	}
}

// A token is judged by the wall clock, which Skew moves.
func TestHubTokenExpiresBySkew(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	connect := dev01()
	connect.Password = ptr(sign("contoso.azure-devices.net/devices/dev-01", demoKey, time.Now().Unix()+3600, ""))
	cloud.Skew(time.Hour + 4*time.Minute)
	wantAlive(t, signIn(t, cloud, connect))
	cloud.Skew(time.Hour + 6*time.Minute)
	wantRefused(t, cloud, knock(t, cloud, connect), 5, "HUB-6/expired", "")
}

func TestHubSASSwitchedOff(t *testing.T) {
	t.Parallel()
	for key, connect := range map[string]rawmqtt.Connect{"disableDeviceSAS": dev01(), "disableModuleSAS": modA()} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t, "azure: {hubs: [{name: contoso, "+key+": true}]}")
			wantRefused(t, cloud, knock(t, cloud, connect), 5, "HUB-5/disabled", "certificate")
			other := modA()
			if connect.ClientID != "dev-01" {
				other = dev01()
			}
			wantAlive(t, signIn(t, cloud, other))
		})
	}
}

// selfSigned makes a certificate as `openssl req -x509` does, or one signed by issuer.
func selfSigned(t *testing.T, commonName string, from, until time.Time, issuer *tls.Certificate, ca bool) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: commonName},
		NotBefore: from, NotAfter: until, IsCA: ca, BasicConstraintsValid: true}
	parent, signer := template, any(key)
	var above [][]byte
	if issuer != nil {
		parent, err = x509.ParseCertificate(issuer.Certificate[0])
		require.NoError(t, err)
		signer, above = issuer.PrivateKey, issuer.Certificate
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(t, err)
	return tls.Certificate{Certificate: append([][]byte{der}, above...), PrivateKey: key}
}

// valid is selfSigned for the hour before and the hour after now.
func valid(t *testing.T, commonName string) tls.Certificate {
	t.Helper()
	return selfSigned(t, commonName, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), nil, false)
}

func sha1Of(c tls.Certificate) string {
	sum := sha1.Sum(c.Certificate[0])
	return hex.EncodeToString(sum[:])
}

func sha256Of(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return hex.EncodeToString(sum[:])
}
