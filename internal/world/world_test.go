package world

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/stretchr/testify/require"
)

// A self-signed certificate made by openssl, as seed 003 makes them; its thumbprints are openssl's.
const (
	flexyPEM = `-----BEGIN CERTIFICATE-----
MIIBkjCCATegAwIBAgIUSpqM6stvlsN7pLhwXL0Fpd91t4owCgYIKoZIzj0EAwIw
HTELMAkGA1UEBhMCQkUxDjAMBgNVBAoMBUZsZXh5MCAXDTI2MTEyMTAxMTMzNloY
DzIxMjYxMDI4MDExMzM2WjAdMQswCQYDVQQGEwJCRTEOMAwGA1UECgwFRmxleHkw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR1S30BZUUmbZdS2IlccNbmLZ6pXErh
laWOozvAsAbtIF+lD1QMQqnbgIwduTKjNuK3nvEIX8CYHUsc5uvtbbAto1MwUTAd
BgNVHQ4EFgQUxMYWfgeiWEuk6kySRC2AYZJxlGkwHwYDVR0jBBgwFoAUxMYWfgei
WEuk6kySRC2AYZJxlGkwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBG
AiEApcOXP05oy/2FJ9yQy1NrrFwumE9NdE4kLSCM2Qw1Sb8CIQCOBTRXgbCA98Mb
dMZueUuIaZ1MDqr1/sRoA/HcgCs9UA==
-----END CERTIFICATE-----
`
	flexySHA256 = "B5DD36798D3848B6C05415C323E2EF5D13CA4AD2830D45FCC64DC36CD0641D03"
)

func parseOK(t *testing.T, text string) *World {
	t.Helper()
	w, err := Parse("test.yaml", []byte(text))
	require.NoError(t, err)
	return w
}

func TestDefaultWorld(t *testing.T) {
	t.Parallel()
	w := Default()
	require.NoError(t, Validate(w))
	dps, hub := w.Azure.DPS[0], w.Azure.Hubs[0]
	require.Equal(t, "0ne00FAKE01", dps.IDScope)
	require.Equal(t, 3*time.Second, dps.RetryAfter.D())
	require.Equal(t, "fakecloud-hub.azure-devices.net", hub.HostName())
	require.Len(t, hub.Policies, 5)
	require.Equal(t, TypeSAS, hub.Devices[0].Authentication.Type)
	require.Equal(t, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", hub.Devices[0].Authentication.SymmetricKey.PrimaryKey)
	require.True(t, dps.Certificates[0].IsVerified())
}

func TestExampleIsAWorld(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "world.yaml")
	require.NoError(t, os.WriteFile(name, ExampleText(), 0o600))
	w, err := Load("", name)
	require.NoError(t, err)
	_, ok := w.Hub("plant-hub.azure-devices.net")
	require.True(t, ok)
}

func TestServeFlags(t *testing.T) {
	t.Parallel()
	require.Equal(t, []Flag{
		{"data", []string{"./state"}}, {"ephemeral", []string{"true"}}, {"bind", []string{"127.0.0.1"}},
		{"admin-bind", []string{"::1"}}, {"lan", []string{"false"}}, {"advertise", []string{"build-1", "10.0.0.5"}},
		{"mqtts-port", []string{"0"}}, {"mqtt-port", []string{"off"}}, {"https-port", []string{"auto"}},
		{"server-key", []string{"ecdsa"}}, {"seed", []string{"18446744073709551615"}}, {"log-format", []string{"json"}},
	}, wholeWorld(t).Serve.Flags())
}

// A device of IoTDA that is given another kind of proof gives up the one that it had.
func TestMergeChangesAnIoTDADevicesProof(t *testing.T) {
	t.Parallel()
	patch := func(rest string) *World {
		return parseOK(t, "iotda: {instances: [{name: fakecloud, devices: [{deviceId: demo_node1, "+rest+"}]}]}")
	}
	device := func(w *World) IoTDADevice { return w.IoTDA.Instances[0].Devices[0] }
	print := strings.Repeat("ab", 20)
	w := Merge(Default(), patch("secondarySecret: abcdefgh"))
	require.Equal(t, "12345678", device(w).Secret)
	w = Merge(w, patch("fingerprint: "+print))
	require.NoError(t, Validate(w))
	require.Empty(t, device(w).Secret+device(w).SecondarySecret)
	w = Merge(w, patch("secret: abcdefgh"))
	require.NoError(t, Validate(w))
	require.Empty(t, device(w).Fingerprint)
}

func TestMergeByID(t *testing.T) {
	t.Parallel()
	base := Default()
	before := string(Format(base))
	patch := parseOK(t, `
azure:
  dps:
    - name: FAKECLOUD-DPS
      rounds: 3
      certificates: [{name: demo-ca, verified: false}]
      groups:
        - {name: Demo-X509, provisioningStatus: disabled}
      enrollments:
        - {registrationId: r1, attestation: {symmetricKey: {}}}
  hubs:
    - name: fakecloud-hub
      certificates: [{name: demo-ca, pem: `+fmt.Sprintf("%q", flexyPEM)+`}]
      devices:
        - {deviceId: demo-sas, authentication: {type: certificateAuthority}}
        - {deviceId: Demo-Sas}
---
azure: {hubs: [{name: second}]}
`)
	w := Merge(base, patch)
	require.NoError(t, Validate(w))
	require.Equal(t, before, string(Format(base)), "the base stays as it is")
	dps, hub := w.Azure.DPS[0], w.Azure.Hubs[0]
	require.Equal(t, 3, *dps.Rounds)
	require.Equal(t, "0ne00FAKE01", dps.IDScope)
	require.False(t, dps.Certificates[0].IsVerified())
	require.Equal(t, "demo-ca", dps.Certificates[0].CA)
	require.Equal(t, "disabled", dps.Groups[0].ProvisioningStatus)
	require.Equal(t, "demo-ca", dps.Groups[0].Attestation.X509.CA)
	require.Len(t, dps.Enrollments, 1)
	require.Empty(t, hub.Certificates[0].CA, "a certificate of its own replaces the CA's name")
	require.Len(t, hub.Devices, 2, "device ids are case-sensitive")
	require.Equal(t, &Authentication{Type: TypeCA}, hub.Devices[0].Authentication, "replaced whole")
	require.Len(t, w.Azure.Hubs, len(base.Azure.Hubs)+1)

	*patch.Azure.DPS[0].Rounds = 9
	require.Equal(t, 3, *w.Azure.DPS[0].Rounds, "no shared memory")
	require.Equal(t, string(Format(w)), string(Format(Merge(w, &World{}))))
	require.Equal(t, string(Format(w)), string(Format(Merge(&World{}, w))))
	require.Equal(t, string(Format(w)), string(Format(Merge(w, w))))
}

func TestLoadLaysFilesOverTheDefault(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	write("flexy.crt", flexyPEM)
	a := write("a.yaml", "azure: {hubs: [{name: plant, devices: [{deviceId: flexy, authentication: {certificate: {file: flexy.crt}}}]}]}")
	b := write("b.yaml", "azure: {hubs: [{name: plant, devices: [{deviceId: flexy, status: disabled}]}]}\n")

	w, err := Load("azure: {hubs: [{name: plant, devices: [{deviceId: flexy, status: enabled, statusReason: inline}]}]}", a, b)
	require.NoError(t, err)
	plant, ok := w.Hub("Plant")
	require.True(t, ok)
	device := plant.Devices[0]
	require.Equal(t, flexySHA256, device.Authentication.X509Thumbprint.PrimaryThumbprint)
	require.Equal(t, "disabled", device.Status)
	require.Equal(t, "inline", device.StatusReason)

	w, err = Load("base: none", a)
	require.NoError(t, err)
	require.Len(t, w.Azure.Hubs, 1)
	require.Empty(t, w.Azure.DPS)

	w, err = Load("")
	require.NoError(t, err)
	require.Equal(t, string(Format(Default())), string(Format(w)))

	_, err = Load("azure: {hubz: []}", filepath.Join(dir, "none.yaml"), dir)
	require.EqualError(t, err, "FAKECLOUD_WORLD:1:9: azure.hubz: unknown key; did you mean hubs?\n"+
		filepath.Join(dir, "none.yaml")+": does not exist\n"+dir+": is a directory; name a YAML file")
}

func TestReferencesFromAnAliasAreFound(t *testing.T) {
	t.Parallel()
	w := parseOK(t, "azure:\n  dps:\n    - name: d1\n      idScope: 0ne00000001\n      linkedHubs: &all [gone]\n    - {name: d2, idScope: 0ne00000002, linkedHubs: *all}\n")
	require.EqualError(t, Validate(w), "test.yaml:5:25: azure.dps[d1].linkedHubs[0]: no hub \"gone\" in azure.hubs\n"+
		"test.yaml:5:25: azure.dps[d2].linkedHubs[0]: no hub \"gone\" in azure.hubs")
}

func TestSecretsAreNotInMessages(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"azure: {hubs: [{name: h, policies: [{name: p, rights: [ServiceConnect], primaryKey: hunter2hunter2!}]}]}",
		"serve: {admin-token: [hunter2hunter2]}",
		"azure: {hubs: [{name: h, devices: [{deviceId: d, authentication: {symmetricKey: {primaryKey: {hunter2: 1}}}}]}]}",
		"pki: {cas: [{name: c, key: {pem: hunter2}}]}",
	} {
		_, err := Parse("w", []byte(text))
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	deep := func(open, close string, n int) string {
		return strings.Repeat(open, n) + "1" + strings.Repeat(close, n)
	}
	lines := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.Repeat(" ", i) + "a:\n")
		}
		return b.String()
	}
	bomb := "azure: {hubs: [{name: h, devices: [{deviceId: d, initialTwin: {tags: {a0: &a0 [x, x, x, x, x, x, x, x, x, x]"
	for i := range 8 {
		bomb += fmt.Sprintf(", a%d: &a%d [%s*a%d]", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), i)
	}
	bomb += "}}}]}]}"
	for name, text := range map[string]string{
		"flow lists":       deep("[", "]", 100_000),
		"flow mappings":    deep("{a: ", "}", 100_000),
		"list on one line": strings.Repeat("- ", 50_000) + "1",
		"keys on one line": strings.Repeat("? ", 50_000) + "1",
		"tags":             strings.Repeat("!a ", 50_000) + "1",
		"indentation":      lines(2000),
		"alias bomb":       bomb,
		"long text":        "azure: \"" + strings.Repeat("x", maxSize) + "\"",
		"long key":         strings.Repeat("x", 1<<20) + ": 1",
		"many problems":    strings.Repeat("- a\n", 10) + "---\n" + "azure: {hubs: [" + strings.Repeat("x, ", 100_000) + "]}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("w", []byte(text))
			require.Error(t, err)
			require.Less(t, len(err.Error()), 20_000)
		})
	}
}

func TestSchemaAgreesWithTheReader(t *testing.T) {
	t.Parallel()
	var schema jsonschema.Schema
	require.NoError(t, json.Unmarshal(Schema(), &schema))
	resolved, err := schema.Resolve(nil)
	require.NoError(t, err)
	validate := func(text string) error {
		var v any
		require.NoError(t, yaml.Unmarshal([]byte(text), &v))
		data, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &v))
		return resolved.Validate(v)
	}
	require.NoError(t, validate(string(DefaultText())))
	require.NoError(t, validate(string(ExampleText())))
	require.NoError(t, validate(fmt.Sprintf(whole, flexyPEM)))
	for _, bad := range []string{
		"azur: {}", "azure: []", "azure: {hubs: {}}", "azure: {hubs: [{}]}", "azure: {hubs: [{name: a_b}]}",
		"azure: {hubs: [{name: h, devices: [{deviceId: a b}]}]}", "azure: {hubs: [{name: h, devices: [{deviceId: a, status: on}]}]}",
		"azure: {dps: [{name: d, idScope: 0ne1}]}", "azure: {dps: [{name: d, rounds: -1}]}", "serve: {mqtts-port: 70000}",
		"serve: {lan: maybe}", "iotda: []", "iotda: {instances: [{name: a, devices: [{deviceId: a, productId: b, secret: short}]}]}", "serve: {advertise: x}", "azure: {hubs: [{name: h, policies: [{name: p, rights: [x]}]}]}",
	} {
		require.Error(t, validate(bad), bad)
		_, err := Parse("w", []byte(bad))
		require.Error(t, err, bad)
	}
}

func TestNormalizeThumbprint(t *testing.T) {
	t.Parallel()
	const want = "AABBCCDDEEFF00112233445566778899AABBCCDD"
	for _, text := range []string{
		"aabbccddeeff00112233445566778899aabbccdd",
		"AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD",
		"\u200eaa bb cc dd ee ff 00 11 22 33 44 55 66 77 88 99 aa bb cc dd",
		"SHA1 Fingerprint=AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD\n",
	} {
		require.Equal(t, want, NormalizeThumbprint(text))
	}
	require.Empty(t, CheckThumbprint(want))
	require.Contains(t, CheckThumbprint("zz"), "40 (SHA-1) or 64 (SHA-256)")
}

func FuzzParse(f *testing.F) {
	f.Add(string(DefaultText()))
	f.Add(fmt.Sprintf(whole, flexyPEM))
	f.Add("azure: {hubs: [{name: h, devices: [{deviceId: 1e3, initialTwin: {tags: {a: [1, -.5, ~, 0x1f, 'x']}}}]}]}")
	f.Add("serve:\n  bind: |\n    a\n    b\n  keylog: >-\n    c\n  data: \"\\u263a\\n\"\n")
	f.Add("azure: {hubs: [&h {name: h}, *h]}\n---\nserve: {seed: 1}")
	f.Add("? [a]\n: - b\n  - <<: *c")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := Parse("f", []byte(text))
		require.NotNil(t, w)
		_ = Validate(w)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		written := Format(w)
		again, err := Parse("again", written)
		require.NoError(t, err, "%s", written)
		require.Equal(t, string(written), string(Format(again)))
	})
}

func BenchmarkParse10000Devices(b *testing.B) {
	var text strings.Builder
	text.WriteString("azure:\n  hubs:\n    - name: h\n      devices:\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "        - deviceId: d%d\n          authentication: {symmetricKey: {primaryKey: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}}\n", i)
	}
	for b.Loop() {
		if _, err := Parse("b", []byte(text.String())); err != nil {
			b.Fatal(err)
		}
	}
}
