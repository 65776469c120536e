package service_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/rule"
)

func (b *backend) ask(query string, headers ...string) reply {
	b.t.Helper()
	body, err := json.Marshal(map[string]string{"query": query})
	require.NoError(b.t, err)
	return b.do("POST", "/devices/query", string(body), headers...)
}

func TestQueryPages(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	for i := range 5 {
		b.create(fmt.Sprint("d", i))
	}
	b.create("other")
	const query = "SELECT * FROM devices WHERE starts_with(deviceId, 'd')"
	var ids []string
	var last http.Header
	token := ""
	for page := range 3 {
		r := b.ask(query, "x-ms-max-item-count", "2", "x-ms-continuation", token)
		for _, row := range r.list() {
			ids = append(ids, row["deviceId"].(string))
			require.Contains(t, row, "properties")
		}
		require.Equal(t, "twin", r.header.Get("x-ms-item-type"))
		last = r.header
		token = last.Get("x-ms-continuation")
		require.Equal(t, page < 2, token != "")
		if page == 0 { // rows that go between two pages shift nothing
			b.do("DELETE", "/devices/d0", "").ok(204)
			b.do("DELETE", "/devices/d1", "").ok(204)
		}
	}
	require.Equal(t, []string{"d0", "d1", "d2", "d3", "d4"}, ids)
	require.NotContains(t, last, "X-Ms-Continuation")
	for _, all := range []string{"", "0", "-1", "5000"} {
		r := b.ask(query, "x-ms-max-item-count", all)
		require.Len(t, r.list(), 3)
		require.Empty(t, r.header.Get("x-ms-continuation"))
	}
	rule.Proves(t, "SVC-18")

	good := b.ask(query, "x-ms-max-item-count", "1").header.Get("x-ms-continuation")
	for _, bad := range []string{"nonsense", "e30=", "bnVsbA==", good[1:], good + "AAAA"} {
		b.ask(query, "x-ms-continuation", bad).fails(400, "ArgumentInvalid")
	}
	b.ask(query+" ", "x-ms-continuation", good).fails(400, "ArgumentInvalid")
	b.refused("SVC-18/continuation")
	b.ask(query, "x-ms-max-item-count", "many").fails(400, "ArgumentInvalid")
	b.refused("SVC-18/size")

	require.Len(t, b.ask("SELECT TOP 2 * FROM devices").list(), 2)
	r := b.ask("SELECT TOP 2 * FROM devices", "x-ms-max-item-count", "1")
	r = b.ask("SELECT TOP 2 * FROM devices", "x-ms-max-item-count", "1", "x-ms-continuation", r.header.Get("x-ms-continuation"))
	require.Len(t, r.list(), 1)
	require.Empty(t, r.header.Get("x-ms-continuation"))
}

func TestQueryRows(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	for i, region := range []string{"US", "EU", "US"} {
		id := fmt.Sprint("d", i)
		b.create(id)
		b.do("PATCH", "/twins/"+id, fmt.Sprintf(`{"tags":{"location":{"region":%q}},"properties":{"desired":{"n":%d}}}`, region, i)).ok(200)
	}
	b.do("PUT", "/devices/d1/modules/m", `{"deviceId":"d1","moduleId":"m"}`).ok(201)
	b.do("PUT", "/devices/d2/modules/$edgeHub", `{"deviceId":"d2","moduleId":"$edgeHub"}`).ok(201)
	l := b.connect("d2", false)
	_, refusal := l.session.Report([]byte(`{"battery":0.5}`), "")
	require.Nil(t, refusal)
	for query, want := range map[string]string{
		"SELECT COUNT() AS n FROM devices":                                                                                         `[{"n":3}]`,
		"SELECT COUNT() AS n FROM devices.modules":                                                                                 `[{"n":2}]`,
		"SELECT deviceId, tags.location.region AS r FROM devices WHERE properties.desired.n > 0":                                   `[{"deviceId":"d1","r":"EU"},{"deviceId":"d2","r":"US"}]`,
		"SELECT tags.location.region AS r, COUNT() AS n FROM devices GROUP BY tags.location.region":                                `[{"r":"EU","n":1},{"r":"US","n":2}]`,
		"SELECT AVG(properties.desired.n) AS a, MAX(properties.desired.n) AS m FROM devices WHERE tags.location.region = 'US'":     `[{"a":1,"m":2}]`,
		"SELECT deviceId FROM devices WHERE connectionState = 'Connected' AND status = 'enabled' AND capabilities.iotEdge = false": `[{"deviceId":"d2"}]`,
		"SELECT deviceId FROM devices WHERE is_defined(properties.reported.battery) AND properties.reported.battery < 1":           `[{"deviceId":"d2"}]`,
		"SELECT deviceId, moduleId FROM devices.modules WHERE moduleId = '$edgeHub'":                                               `[{"deviceId":"d2","moduleId":"$edgeHub"}]`,
		"SELECT deviceId FROM devices WHERE deviceId IN ['d0', 'd9']":                                                              `[{"deviceId":"d0"}]`,
	} {
		r := b.ask(query)
		require.Equal(t, 200, r.status, "%s: %s", query, r.body)
		require.JSONEq(t, want, string(r.body), query)
		require.Equal(t, "raw", r.header.Get("x-ms-item-type"))
	}
	r := b.ask("SELECT * FROM devices.modules")
	require.Len(t, r.list(), 2)
	require.Equal(t, "twin", r.header.Get("x-ms-item-type"))
	r = b.ask("SELECT * FROM devices.jobs")
	require.Equal(t, "[]", string(r.body))
	require.Equal(t, "deviceJob", r.header.Get("x-ms-item-type"))
	r = b.ask("SELECT deviceId, COUNT() FROM devices GROUP BY deviceId", "x-ms-max-item-count", "2")
	require.Len(t, r.list(), 2)
	r = b.ask("SELECT deviceId, COUNT() FROM devices GROUP BY deviceId", "x-ms-max-item-count", "2", "x-ms-continuation", r.header.Get("x-ms-continuation"))
	require.Len(t, r.list(), 1)
	require.Empty(t, r.header.Get("x-ms-continuation"))
	rule.Proves(t, "SVC-19")
}

func TestBadQuery(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	require.Contains(t, b.ask("SELECT * FROM devices WHERE deviceId == 'x'").fails(400, "ArgumentInvalid"), "line 1, column 39")
	for _, bad := range []string{"", "DROP TABLE devices", strings.Repeat("SELECT ", 10_000), "SELECT * FROM devices WHERE " + strings.Repeat("(", 5000)} {
		b.ask(bad).fails(400, "ArgumentInvalid")
	}
	b.refused("SVC-20/syntax")
	rule.Proves(t, "SVC-20")
	b.do("POST", "/devices/query", `{"query":7}`).fails(400, "ArgumentInvalid")
	b.do("POST", "/devices/query", `{}`).fails(400, "ArgumentInvalid")
}
