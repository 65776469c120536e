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

// asOwner asks contoso's service API as iothubowner, with further header lines.
func asOwner(t *testing.T, cloud *fakecloud.Cloud, line, body string, header ...string) reply {
	t.Helper()
	token := sign(contosoHost, demoKey, time.Now().Add(time.Hour).Unix(), "iothubowner")
	return ask(t, cloud, via{name: contosoHost}, line, body, append([]string{"Authorization: " + token, "Content-Type: application/json"}, header...)...)
}

// hostileQueries are texts that are no query of the hub's, and where each goes wrong.
var hostileQueries = []struct{ name, query, at string }{
	{"empty", "", "line 1, column 1)"},
	{"unclosed quote", "SELECT * FROM devices WHERE deviceId = 'x", "line 1, column 40)"},
	{"unclosed double quote", "SELECT * FROM devices\nWHERE deviceId = \"x", "line 2, column 18)"},
	{"unclosed bracket", "SELECT * FROM devices WHERE deviceId IN ['a', 'b'", "line 1, column 50)"},
	{"unclosed double bracket", "SELECT * FROM devices WHERE [[x = 1", "line 1, column 29)"},
	{"400 kB of name", "SELECT " + strings.Repeat("a", 400_000), "line 1, column 16385)"},
	{"400 kB of names", "SELECT * FROM devices " + strings.Repeat("a ", 200_000), "line 1, column 16385)"},
	{"400 kB of conditions", "SELECT * FROM devices WHERE " + strings.Repeat("NOT ", 100_000), "line 1, column 16385)"},
	{"deep NOT", "SELECT * FROM devices WHERE " + strings.Repeat("NOT ", 4000), "line 1, column "},
	{"deep parentheses", "SELECT * FROM devices WHERE " + strings.Repeat("(", 1400) + "1 = 1" + strings.Repeat(")", 1400), "line 1, column "},
	{"deep minus", "SELECT * FROM devices WHERE tags.a = " + strings.Repeat("-", 1400) + "1", "line 1, column "},
	{"deep lists", "SELECT * FROM devices WHERE tags.a IN " + strings.Repeat("[", 1400), "line 1, column "},
	{"deep calls", "SELECT * FROM devices WHERE " + strings.Repeat("is_defined(", 1400), "line 1, column "},
	{"unknown function", "SELECT * FROM devices WHERE sleep(10) = 1", "line 1, column 29)"},
	{"unknown aggregate", "SELECT MEDIAN(tags.a) FROM devices", "line 1, column 8)"},
	{"unknown collection", "SELECT * FROM users", "line 1, column 15)"},
	{"NUL", "SELECT * FROM devices\x00", "line 1, column 22)"},
	{"NUL in a name", "SELECT * FROM dev\x00ices", "line 1, column 18)"},
	{"a second statement", "SELECT * FROM devices; DROP TABLE devices", "line 1, column 22)"},
	{"a comment", "SELECT * FROM devices -- all", "line 1, column 23)"},
	{"letters of another script", "SELECT * FROM devices WHERE deviceId = ‘x’", "line 1, column 40)"},
	{"a number too large", "SELECT * FROM devices WHERE tags.a = 1e999", "line 1, column 38)"},
	{"a join", "SELECT * FROM devices JOIN devices.modules", "line 1, column 28)"},
}

// SVC-20, SVC-27 and SVC-28: wherever the hub takes a query, one that cannot be read is answered with the place
// of its mistake, in an answer that stays small.
func TestHostileQueries(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	for _, c := range hostileQueries {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text, err := json.Marshal(c.query)
			require.NoError(t, err)
			r := asOwner(t, cloud, "POST /devices/query"+version, `{"query":`+string(text)+`}`)
			wantServiceError(t, r, 400, "ArgumentInvalid")
			require.Contains(t, r.body, c.at)
			require.Less(t, len(r.body), 600)
			e := refusedFor(t, cloud, "SVC-20/syntax", "POST /devices/query")
			require.Equal(t, 400, *e.Code)
			require.Less(t, len(e.Seen)+len(e.Detail), 1500)
		})
	}
}

func TestHostileConditions(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	for _, c := range []struct{ name, condition, at string }{
		{"unclosed quote", "deviceId = 'x", "line 1, column 12)"},
		{"deep", strings.Repeat("(", 1400), "line 1, column "},
		{"NUL", "tags.a = 1\x00", "line 1, column 11)"},
		{"unknown function", "sleep(10)", "line 1, column 1)"},
		{"400 kB", strings.Repeat("NOT ", 100_000), "line 1, column "},
	} {
		text, err := json.Marshal(c.condition)
		require.NoError(t, err)
		for _, at := range []struct {
			line, body, name string
			id               rule.ID
		}{
			{"PUT /jobs/v2/j", `{"type":"scheduleUpdateTwin","updateTwin":{"etag":"*"},"queryCondition":` + string(text) + `}`, "ArgumentInvalid", "SVC-27/invalid"},
			{"PUT /configurations/c", `{"id":"c","content":{"deviceContent":{"properties.desired.a":1}},"targetCondition":` + string(text) + `}`, "InvalidConfigurationTargetCondition", "SVC-28/target"},
			{"PUT /configurations/m", `{"id":"m","targetCondition":"*","content":{"deviceContent":{"properties.desired.a":1}},"metrics":{"queries":{"q":` + string(text) + `}}}`, "InvalidConfigurationCustomMetricsQuery", "SVC-28/metrics"},
		} {
			t.Run(at.line+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				r := asOwner(t, cloud, at.line+version, at.body)
				wantServiceError(t, r, 400, at.name)
				if at.id != "SVC-28/metrics" { // a metric is a whole query, whose mistake is its first word
					require.Contains(t, r.body, c.at)
				}
				require.Contains(t, r.body, "line 1, column ")
				require.Less(t, len(r.body), 600)
				refusedFor(t, cloud, at.id, at.line)
			})
		}
	}
}

// SVC-38: bodies that are too large, too deep, or no JSON are refused before anything else reads them.
func TestHostileServiceBodies(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	large := strings.Repeat("x", 1<<20)
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	lists := strings.Repeat("[", 100_000)
	for _, c := range []struct {
		line, before, after string // around the value
	}{
		{"PATCH /twins/dev-01", `{"properties":{"desired":{"a":`, `}}}`},
		{"PUT /twins/dev-01", `{"tags":{"a":`, `}}`},
		{"PATCH /twins/dev-01/modules/mod-a", `{"tags":{"a":`, `}}`},
		{"POST /twins/dev-01/methods", `{"methodName":"m","payload":`, `}`},
		{"POST /twins/dev-01/modules/mod-a/methods", `{"methodName":"m","payload":`, `}`},
		{"PUT /devices/dev-78", `{"deviceId":"dev-78","x":`, `}`},
		{"PUT /devices/dev-01/modules/mod-c", `{"moduleId":"mod-c","x":`, `}`},
		{"POST /devices/query", `{"query":`, `}`},
		{"PUT /jobs/v2/j", `{"type":`, `}`},
		{"PUT /configurations/c", `{"id":`, `}`},
		{"POST /devices/dev-01/applyConfigurationContent", `{"modulesContent":{"mod-a":{"properties.desired":`, `}}}`},
	} {
		for _, bad := range []struct {
			name, value  string
			status, code int
			error        string
			id           rule.ID
			says         string
		}{
			{"large", `"` + large + `"`, 413, 413000, "GenericRequestEntityTooLarge", "SVC-38/size", "too large"},
			{"deep", deep, 400, 400004, "ArgumentInvalid", "SVC-38/depth", "64"},
			{"deep and open", lists, 400, 400004, "ArgumentInvalid", "SVC-38/depth", "64"},
			{"open", `"`, 400, 400004, "ArgumentInvalid", "SVC-38/json", "unexpected"},
			{"NUL", "\"\x00\"", 400, 400004, "ArgumentInvalid", "SVC-38/json", "byte "},
			{"no UTF-8", "\"\xc3\x28\"", 400, 400004, "ArgumentInvalid", "SVC-38/json", "byte "},
			{"a value too much", "1 1", 400, 400004, "ArgumentInvalid", "SVC-38/json", "byte "},
		} {
			t.Run(c.line+"/"+bad.name, func(t *testing.T) {
				t.Parallel()
				r := asOwner(t, cloud, c.line+version, c.before+bad.value+c.after, `If-Match: "*"`)
				if strings.HasSuffix(c.line, "/methods") {
					require.Contains(t, wantMethodError(t, r, bad.status, bad.code, bad.error), bad.says)
				} else {
					wantServiceError(t, r, bad.status, bad.error)
					require.Contains(t, r.body, bad.says)
				}
				e := refusedFor(t, cloud, bad.id, c.line)
				require.Equal(t, bad.status, *e.Code)
				require.NotEmpty(t, e.Expected)
			})
		}
	}
}
