package e2e

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// provider is where the resource provider has the default world's instance.
const provider = "/subscriptions/0000/resourceGroups/rg/providers/Microsoft.Devices/provisioningServices/fakecloud-dps"

// pem64 is what the tools send: base64 of PEM text.
func (s *signer) pem64() string {
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}))
}

// DPS-44 at the resource provider: upload, code, proof; then a device of the CA is admitted.
func TestDPSProofOfPossession(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"management.azure.com", "127.0.0.1"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t)
			b := newBackend(t, cloud, host)
			b.token = "Bearer any"
			ca, other := issueBy(t, "my root", nil, true, nil), issueBy(t, "my root", nil, true, nil)
			path := provider + "/certificates/mine"
			refusedARM := func(id rule.ID, status int, method, path, body string, headers ...string) {
				t.Helper()
				answer, v := b.do(method, path, body, headers...)
				require.Equal(t, status, answer.StatusCode, v)
				told := v["error"].(map[string]any)
				require.NotEmpty(t, told["code"])
				require.NotEmpty(t, told["message"])
				refused(t, cloud, id)
			}
			answer, made := b.do("PUT", path, `{"properties":{"certificate":"`+ca.pem64()+`"}}`)
			require.Equal(t, 200, answer.StatusCode, made)
			properties := made["properties"].(map[string]any)
			require.Equal(t, false, properties["isVerified"])
			require.Equal(t, base64.StdEncoding.EncodeToString(ca.cert.Raw), properties["certificate"])
			require.NotContains(t, properties, "verificationCode")
			etag := made["etag"].(string)

			registrar := newRegistrar(t, cloud, serviceDPS)
			answer, group := registrar.do("PUT", "/enrollmentGroups/mine", `{"attestation":{"type":"x509","x509":{"caReferences":{"primary":"mine"}}}}`)
			require.Equal(t, 200, answer.StatusCode, group)
			device := enrollee{id: "poss-1", via: via{name: globalDPS, cert: issueBy(t, "poss-1", ca, false, nil).tls()}}
			wantError(t, register(t, device.open(t, cloud), ""), 401002, "CA certificate not found")
			refused(t, cloud, "DPS-23/unverified")

			refusedARM("DPS-44/no-code", 400, "POST", path+"/verify", `{"certificate":"`+ca.pem64()+`"}`, "If-Match", etag)
			refusedARM("DPS-44/etag", 412, "POST", path+"/generateVerificationCode", "")
			refusedARM("DPS-44/etag", 412, "POST", path+"/generateVerificationCode", "", "If-Match", "stale")
			answer, coded := b.do("POST", path+"/generateVerificationCode", "", "If-Match", etag)
			require.Equal(t, 200, answer.StatusCode, coded)
			code := coded["properties"].(map[string]any)["verificationCode"].(string)
			require.Regexp(t, `^[0-9A-F]{48}$`, code)

			prove := func(proof *signer) string { return `{"certificate":"` + proof.pem64() + `"}` }
			late := func(c *x509.Certificate) { c.NotAfter = c.NotBefore }
			for id, proof := range map[rule.ID]*signer{
				"DPS-44/code":      issueBy(t, "another code", ca, false, nil),
				"DPS-44/signature": issueBy(t, code, other, false, nil),
			} {
				refusedARM(id, 400, "POST", path+"/verify", prove(proof), "If-Match", "*")
			}
			refusedARM("DPS-44/signature", 400, "POST", path+"/verify", prove(issueBy(t, code, ca, false, late)), "If-Match", "*")
			refusedARM("DPS-44/certificate", 400, "POST", path+"/verify", `{"certificate":"bm8="}`, "If-Match", "*")
			_, still := b.do("GET", path, "")
			require.Equal(t, false, still["properties"].(map[string]any)["isVerified"])

			answer, verified := b.do("POST", path+"/verify", prove(issueBy(t, code, ca, false, nil)), "If-Match", coded["etag"].(string))
			require.Equal(t, 200, answer.StatusCode, verified)
			require.Equal(t, true, verified["properties"].(map[string]any)["isVerified"])
			provision(t, cloud, device)
			rule.Proves(t, "DPS-44")

			_, all := b.do("GET", provider+"/certificates", "")
			require.Len(t, all["value"], 2)
			_, resource := b.do("GET", provider, "")
			require.Equal(t, idScope, resource["properties"].(map[string]any)["idScope"])
			_, keys := b.do("POST", provider+"/listkeys", "")
			require.Equal(t, dpsOwnerKey, keys["value"].([]any)[0].(map[string]any)["primaryKey"])

			refusedARM("DPS-44/etag", 412, "PUT", path, `{"properties":{"certificate":"`+ca.pem64()+`"}}`)
			refusedARM("DPS-44/invalid", 400, "PUT", provider+"/certificates/bad", `{"properties":{"certificate":"bm8="}}`)
			refusedARM("DPS-44/invalid", 400, "PUT", provider+"/certificates/bad", `{`)
			refusedARM("DPS-44/missing", 404, "GET", provider+"/certificates/none", "")
			refusedARM("DPS-44/missing", 404, "GET", strings.Replace(provider, "fakecloud-dps", "none", 1), "")
			refusedARM("DPS-44/path", 404, "GET", "/subscriptions/0000/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/x", "")
			refusedARM("DPS-44/path", 404, "PATCH", path, "")
			refusedARM("DPS-44/etag", 412, "DELETE", path, "", "If-Match", etag)
			answer, _ = b.do("DELETE", path, "", "If-Match", verified["etag"].(string))
			require.Equal(t, 200, answer.StatusCode)
			b.token = ""
			refusedARM("DPS-44/token", 401, "GET", path, "")
		})
	}
}

// DPS-44 through the library's control plane, which the admin API serves.
func TestDPSProofByTheControlPlane(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	registrars := cloud.Plane().Registrars
	ca := issueBy(t, "my root", nil, true, nil)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}))
	made, err := registrars.PutCA("fakecloud-dps", "mine", text, false)
	require.NoError(t, err)
	require.False(t, made.Verified)
	coded, err := registrars.NewCode("fakecloud-dps", "mine")
	require.NoError(t, err)
	_, err = registrars.Prove("fakecloud-dps", "mine", text)
	var refusal *rule.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, rule.ID("DPS-44/code"), refusal.Rule)
	proof := issueBy(t, coded.Code, ca, false, nil)
	proven, err := registrars.Prove("fakecloud-dps", "mine", base64.StdEncoding.EncodeToString(proof.cert.Raw))
	require.NoError(t, err)
	require.True(t, proven.Verified)
	require.Empty(t, proven.Code)
	_, err = registrars.NewCode("none", "mine")
	require.Error(t, err)
}
