package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// asRegistrar asks the service API of DPS as its owner, with further header lines.
func asRegistrar(t *testing.T, cloud *fakecloud.Cloud, line, body string, header ...string) reply {
	t.Helper()
	token := sign(serviceDPS, dpsOwnerKey, time.Now().Add(time.Hour).Unix(), "provisioningserviceowner")
	return ask(t, cloud, via{name: serviceDPS}, line, body, append([]string{"Authorization: " + token, "Content-Type: application/json"}, header...)...)
}

// DPS-42: a query that is not served is answered with the place where it stops being one.
func TestDPSHostileQueries(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	for _, c := range []struct{ name, query, says string }{
		{"empty", "", "SELECT is expected at column 1."},
		{"no star", "SELECT registrationId FROM enrollments", "* is expected at column 8."},
		{"one word", "SELECT*FROMenrollments", "FROM, or the end, is expected at column 8."},
		{"unclosed quote", "SELECT * FROM 'enrollments", "the name of a collection is expected at column 15."},
		{"a condition", "SELECT * FROM enrollments WHERE registrationId = 'x", "the end of the query is expected at column 27."},
		{"unknown function", "SELECT COUNT(*) FROM enrollments", "* is expected at column 8."},
		{"two statements", "SELECT *; DROP TABLE enrollments", "FROM, or the end, is expected at column 9."},
		{"NUL", "SELECT * FROM enrollments\x00", "the end of the query is expected at column 26."},
		{"NUL in a name", "SELECT * FROM enroll\x00ments", "the end of the query is expected at column 21."},
		{"letters of another script", "SÉLECT *", "SELECT is expected at column 1."},
		{"400 kB of name", "SELECT * FROM " + strings.Repeat("a", 400_000) + "é", "the end of the query is expected at column 400015."},
		{"400 kB of space", "SELECT *" + strings.Repeat(" ", 400_000) + "x", "FROM, or the end, is expected at column 400009."},
		{"deep", strings.Repeat("(", 400_000), "SELECT is expected at column 1."},
	} {
		for _, line := range []string{"POST /enrollments/query", "POST /enrollmentGroups/query"} {
			t.Run(c.name+line, func(t *testing.T) {
				t.Parallel()
				text, err := json.Marshal(c.query)
				require.NoError(t, err)
				r := asRegistrar(t, cloud, line+serviceVersion, `{"query":`+string(text)+`}`)
				require.Contains(t, wantRegistrarError(t, r, 400000), c.says)
				require.Less(t, len(r.body), 400)
				e := refusedFor(t, cloud, "DPS-42/query", line)
				require.Equal(t, 400, *e.Code)
				require.Less(t, len(e.Seen), 400)
			})
		}
	}
	for _, good := range []string{"SELECT *", " select * ; ", "SELECT * FROM enrollments", "select *\nfrom enrollmentGroups;"} {
		text, err := json.Marshal(good)
		require.NoError(t, err)
		r := asRegistrar(t, cloud, "POST /enrollmentGroups/query"+serviceVersion, `{"query":`+string(text)+`}`)
		require.Equal(t, 200, r.StatusCode, r.body)
	}
}

// DPS-40: bodies that are too large, too deep, or no JSON, each with its place.
func TestDPSHostileBodies(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	for _, c := range []struct{ line, before, after string }{
		{"PUT /enrollments/e1", `{"attestation":{"type":"symmetricKey"},"initialTwin":{"tags":`, `}}`},
		{"PUT /enrollmentGroups/g1", `{"attestation":{"type":"symmetricKey"},"initialTwin":{"properties":{"desired":`, `}}}`},
		{"POST /enrollments", `{"mode":"create","enrollments":[{"registrationId":"e2","attestation":{"type":"symmetricKey"},"initialTwin":`, `}]}`},
		{"POST /enrollmentGroups", `{"mode":"create","enrollmentGroups":[{"enrollmentGroupId":"g2","attestation":`, `}]}`},
		{"POST /enrollments/query", `{"query":`, `}`},
	} {
		for _, bad := range []struct {
			name, value, says string
			code              int
		}{
			{"large", `"` + strings.Repeat("x", 1<<20) + `"`, "too large", 413000},
			{"deep", deep, "more than 64 objects and lists within each other at byte ", 400000},
			{"deep and open", strings.Repeat("[", 100_000), "more than 64 objects and lists within each other at byte ", 400000},
			{"open", `"`, "unexpected", 400000},
			{"NUL", "\"\x00\"", "at byte ", 400000},
			{"no UTF-8", "\"\xc3\x28\"", "not UTF-8, at byte ", 400000},
			{"a value too much", "1 1", "at byte ", 400000},
		} {
			t.Run(c.line+"/"+bad.name, func(t *testing.T) {
				t.Parallel()
				r := asRegistrar(t, cloud, c.line+serviceVersion, c.before+bad.value+c.after)
				require.Contains(t, wantRegistrarError(t, r, bad.code), bad.says)
				e := refusedFor(t, cloud, "DPS-40/body", c.line)
				require.NotEmpty(t, e.Expected)
			})
		}
	}
	_, got := newRegistrar(t, cloud, serviceDPS).do("GET", "/enrollments/e1", "")
	require.NotContains(t, got, "registrationId", "nothing was made of them")
}

// What stands in a record is judged field by field; the message names the field.
func TestDPSHostileRecords(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	key := `"attestation":{"type":"symmetricKey"}`
	for _, c := range []struct {
		name, line, body, says string
		id                     rule.ID
	}{
		{"no attestation", "PUT /enrollments/a1", `{}`, "attestation", "DPS-40/invalid"},
		{"unknown attestation", "PUT /enrollments/a2", `{"attestation":{"type":"password"}}`, "attestation.type", "DPS-40/invalid"},
		{"a key that is no base64", "PUT /enrollments/a3", `{"attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"???"}}}`, "ey", "DPS-40/invalid"},
		{"a certificate that is none", "PUT /enrollments/a4", `{"attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":"AAAA"}}}}}`, "certificate", "DPS-40/invalid"},
		{"id of another", "PUT /enrollments/a5", `{"registrationId":"b",` + key + `}`, "id in the body", "DPS-40/invalid"},
		{"id with a slash", "PUT /enrollments/a%2Fb", `{` + key + `}`, "egistration", "DPS-40/invalid"},
		{"id with NUL", "PUT /enrollments/a%00b", `{` + key + `}`, "egistration", "DPS-40/invalid"},
		{"id that is no UTF-8", "PUT /enrollments/a%FFb", `{` + key + `}`, "egistration", "DPS-40/invalid"},
		{"id too long", "PUT /enrollments/" + strings.Repeat("a", 129), `{` + key + `}`, "128", "DPS-40/invalid"},
		{"unknown status", "PUT /enrollments/a6", `{` + key + `,"provisioningStatus":"on"}`, "provisioningStatus", "DPS-40/invalid"},
		{"unknown allocation", "PUT /enrollments/a7", `{` + key + `,"allocationPolicy":"random"}`, "allocation", "DPS-40/invalid"},
		{"a twin that is none", "PUT /enrollments/a8", `{` + key + `,"initialTwin":[1]}`, "win", "DPS-40/invalid"},
		{"a list for a text", "PUT /enrollments/a9", `{"deviceId":[1],` + key + `}`, "deviceId is of JSON type array", "DPS-40/body"},
		{"no api-version", "PUT /enrollments/b1?x=1", `{` + key + `}`, "api-version", "DPS-40/path"},
		{"eleven records", "POST /enrollments", `{"mode":"create","enrollments":[` + strings.Repeat(`{},`, 10) + `{}]}`, "1 to 10", "DPS-40/bulk"},
		{"unknown mode", "POST /enrollments", `{"mode":"replace","enrollments":[{}]}`, "mode", "DPS-40/bulk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			line := c.line
			if !strings.Contains(line, "?") {
				line += serviceVersion
			}
			r := asRegistrar(t, cloud, line, c.body)
			require.Contains(t, wantRegistrarError(t, r, 400000), c.says)
			refusedFor(t, cloud, c.id, c.line)
		})
	}
}
