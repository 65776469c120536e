package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// serviceVersion is what the DPS service clients send.
const serviceVersion = "?api-version=2021-10-01"

// wantRegistrarError checks an error answer of the service API of DPS and returns its message.
func wantRegistrarError(t *testing.T, r reply, code int) string {
	t.Helper()
	require.Equal(t, code/1000, r.StatusCode, r.body)
	require.Equal(t, fmt.Sprint(code), r.Header.Get("x-ms-error-code"))
	require.Equal(t, "application/json; charset=utf-8", r.Header.Get("Content-Type"))
	require.Regexp(t, fmt.Sprintf(`^\{"errorCode":%d,"trackingId":"[0-9a-f-]{36}","message":".+","timestampUtc":"\d{4}-\d\d-\d\dT[0-9:]{8}\.\d{7}Z"\}$`, code), r.body)
	var told struct{ Message string }
	require.NoError(t, json.Unmarshal([]byte(r.body), &told))
	return told.Message
}

// policies are weaker ones of the default instance, of demoKey.
const policies = `
azure:
  dps:
    - name: fakecloud-dps
      policies:
        - {name: reader, rights: [EnrollmentRead], primaryKey: ` + demoKey + `}
        - {name: registrar, rights: [RegistrationStatusRead, RegistrationStatusWrite], primaryKey: ` + demoKey + `}
`

// DPS-43 for one request of each API.
func TestDPSServiceTokensRefused(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(policies))
	const keyed = `{"attestation":{"type":"symmetricKey"}}`
	later, before := time.Now().Add(time.Hour).Unix(), time.Now().Add(-time.Hour).Unix()
	for _, family := range []struct{ name, line, body, lacking string }{
		{"enrollments", "PUT /enrollments/e1", keyed, "reader"},
		{"reading enrollments", "GET /enrollments/e1", "", "registrar"},
		{"deleting enrollments", "DELETE /enrollments/e1", "", "reader"},
		{"groups", "PUT /enrollmentGroups/g1", keyed, "reader"},
		{"queries", "POST /enrollments/query", `{"query":"SELECT *"}`, "registrar"},
		{"queries of groups", "POST /enrollmentGroups/query", `{"query":"SELECT *"}`, "registrar"},
		{"bulk", "POST /enrollments", `{"mode":"create","enrollments":[` + `{"registrationId":"e2","attestation":{"type":"symmetricKey"}}]}`, "reader"},
		{"bulk of groups", "POST /enrollmentGroups", `{"mode":"delete","enrollmentGroups":[{"enrollmentGroupId":"demo-x509"}]}`, "reader"},
		{"attestation", "POST /enrollmentGroups/demo-symmetric/attestationmechanism", "", "reader"},
		{"registrations", "GET /registrations/r1", "", "reader"},
		{"deleting registrations", "DELETE /registrations/r1", "", "reader"},
		{"queries of registrations", "POST /registrations/demo-symmetric/query", `{"query":"SELECT *"}`, "reader"},
	} {
		for _, bad := range []struct {
			name, token string
			id          rule.ID
		}{
			{"wrong", sign(serviceDPS, groupKey, later, "provisioningserviceowner"), "DPS-43/signature"},
			{"expired", sign(serviceDPS, dpsOwnerKey, before, "provisioningserviceowner"), "DPS-43/expired"},
			{"missing", "", "DPS-43/token"},
			{"of the hub's policy", sign(serviceDPS, dpsOwnerKey, later, "iothubowner"), "DPS-43/policy"},
			{"of a policy without the right", sign(serviceDPS, demoKey, later, family.lacking), "DPS-43/rights"},
			{"of another host", sign(demoHub, dpsOwnerKey, later, "provisioningserviceowner"), "DPS-43/resource"},
			{"of another path", sign(serviceDPS+"/enrol", dpsOwnerKey, later, "provisioningserviceowner"), "DPS-43/resource"},
		} {
			t.Run(family.name+"/"+bad.name, func(t *testing.T) {
				t.Parallel()
				header := []string{"Content-Type: application/json"}
				if bad.token != "" {
					header = append(header, "Authorization: "+bad.token)
				}
				r := ask(t, cloud, via{name: serviceDPS}, family.line+serviceVersion, family.body, header...)
				require.Equal(t, "Unauthorized", wantRegistrarError(t, r, 401002), "the wire does not say why")
				e := refusedFor(t, cloud, bad.id, family.line)
				require.Equal(t, 401, *e.Code)
				require.Equal(t, "fakecloud-dps", e.Endpoint)
				require.NotEmpty(t, e.Expected)
			})
		}
	}
}

// DPS-44: the resource provider takes any bearer token, and nothing else.
func TestDPSCertificatesNeedABearer(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	for n, token := range []string{"", "Bearer", "Bearer  ", sign(serviceDPS, dpsOwnerKey, time.Now().Add(time.Hour).Unix(), "provisioningserviceowner")} {
		for _, line := range []string{"GET %s", "PUT %s", "DELETE %s", "POST %s/generateVerificationCode", "POST %s/verify"} {
			t.Run(fmt.Sprint(n, " ", line), func(t *testing.T) {
				t.Parallel()
				line := fmt.Sprintf(line, provider+"/certificates/c"+fmt.Sprint(n))
				header := []string{"If-Match: *"}
				if token != "" {
					header = append(header, "Authorization: "+token)
				}
				r := ask(t, cloud, via{name: "management.azure.com"}, line+"?api-version=2022-12-12", `{}`, header...)
				require.Equal(t, 401, r.StatusCode, r.body)
				require.Regexp(t, `^\{"error":\{"code":"AuthenticationFailed","message":"[^"]+"\}\}$`, r.body)
				refusedFor(t, cloud, "DPS-44/token", line)
			})
		}
	}
}
