package service_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	good := b.token
	for _, c := range []struct {
		token string
		cause rule.ID
	}{
		{"", "SVC-29/missing"},
		{"Bearer ey.j.x", "SVC-29/bearer"},
		{"Basic eDp5", "SVC-29/malformed"},
		{"SharedAccessSignature sr=x", "SVC-29/malformed"},
		{"SharedAccessSignature sr=%zz&sig=YQ%3D%3D&se=1&skn=service", "SVC-29/malformed"},
		{sas(contoso, ownerKey, "", time.Hour), "SVC-29/policy"},
		{sas(contoso, ownerKey, "iothubOwner", time.Hour), "SVC-29/policy"},
		{sas(contoso+"/devices/d", ownerKey, "", time.Hour), "SVC-29/policy"},
		{strings.Replace(good, "sig=", "sig=AAAA", 1), "SVC-29/signature"},
		{sas(contoso, "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3I=", "iothubowner", time.Hour), "SVC-29/signature"},
		{sas(contoso, ownerKey, "iothubowner", -time.Hour), "SVC-29/expired"},
		{sas("fabrikam.azure-devices.net", ownerKey, "iothubowner", time.Hour), "SVC-29/resource"},
		{sas(contoso+"/messages/events", ownerKey, "iothubowner", time.Hour), "SVC-29/resource"},
		{sas(contoso+"/dev", ownerKey, "iothubowner", time.Hour), "SVC-29/resource"},
	} {
		b.token = c.token
		text := b.do("GET", "/devices/d", "").fails(401, "IotHubUnauthorized")
		if c.cause == "SVC-29/missing" {
			require.Equal(t, "Authorization header missing", text)
		}
		e := b.refused(c.cause)
		require.Equal(t, 401, *e.Code)
		require.Equal(t, "GET /devices/d", e.Topic)
	}
	for _, token := range []string{
		sas(contoso, otherKey, "iothubowner", time.Hour),
		sas(strings.ToUpper(contoso), ownerKey, "iothubowner", time.Hour),
		sas(contoso+":443", ownerKey, "iothubowner", time.Hour),
		sas(contoso+"/devices", ownerKey, "iothubowner", time.Hour),
		sas(contoso+"/devices/d", ownerKey, "iothubowner", time.Hour),
		sas("localhost", ownerKey, "registryRead", time.Hour),
		sas(contoso, ownerKey, "iothubowner", -time.Minute),
	} {
		b.token = token
		b.do("GET", "/devices/d", "").ok(200)
	}
	rule.Proves(t, "SVC-29")
	b.noSecrets()
	events, _ := b.journal.Select(journal.Filter{Kind: journal.HTTP, Device: "d"})
	require.NotEmpty(t, events)
	require.Equal(t, "iothubowner", events[len(events)-1].Properties["policy"])
	require.Equal(t, 200, *events[len(events)-1].Code)
}

func TestRights(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	requests := map[string][3]string{
		"read":  {"GET", "/devices/d", ""},
		"list":  {"GET", "/devices", ""},
		"count": {"GET", "/statistics/devices", ""},
		"write": {"PUT", "/devices/d", `{"deviceId":"d"}`},
		"twin":  {"GET", "/twins/d", ""},
		"patch": {"PATCH", "/twins/d", `{}`},
		"query": {"POST", "/devices/query", `{"query":"SELECT * FROM devices"}`},
		"purge": {"DELETE", "/devices/d/commands", ""},
	}
	for policy, may := range map[string]string{
		"iothubowner":       "read list count write twin patch query purge",
		"service":           "twin patch query purge",
		"registryRead":      "read list count",
		"registryReadWrite": "read list count write",
		"device":            "",
	} {
		b.token = sas(contoso, ownerKey, policy, time.Hour)
		for name, q := range requests {
			r := b.do(q[0], q[1], q[2], "If-Match", "*")
			if strings.Contains(may, name) {
				require.Equal(t, 200, r.status, "%s %s: %s", policy, name, r.body)
				continue
			}
			r.fails(401, "IotHubUnauthorizedAccess")
		}
	}
	e := b.refused("SVC-30/rights")
	require.Contains(t, e.Expected, "iothubowner")
	rule.Proves(t, "SVC-30")
}

func TestForm(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	for _, version := range []string{"?api-version=2016-11-14", "?api-version=2024-03-31", "?x=1&api-version=2025-08-01-preview"} {
		b.raw("GET", "/devices/d"+version, "").ok(200)
	}
	for _, version := range []string{"", "?api-version=", "?api-version=latest", "?api-version=2021-13-01", "?api-version=2021-04-12-beta"} {
		b.raw("GET", "/devices/d"+version, "").fails(400, "InvalidProtocolVersion")
	}
	b.refused("SVC-38/api-version")
	b.do("GET", "/devices/d/nonsense", "").fails(404, "GenericNotFound")
	b.do("GET", "/devices//modules", "").fails(404, "GenericNotFound")
	b.do("GET", "/", "").fails(404, "GenericNotFound")
	require.Contains(t, b.refused("SVC-38/path").Expected, "/devices/{}")
	r := b.do("PATCH", "/devices/d", "{}")
	r.fails(405, "GenericMethodNotAllowed")
	require.Equal(t, "GET, PUT, DELETE", r.header.Get("Allow"))
	b.refused("SVC-38/method")
	for _, bad := range []string{"", " ", "{", "[]", "null x", `{"deviceId":5}`, `{"deviceId":"d","capabilities":[]}`, "{} {}", "\"\xff\"", `{"deviceId":"d","authentication":{"symmetricKey":"x"}}`} {
		b.do("PUT", "/devices/d", bad, "If-Match", "*").fails(400, "ArgumentInvalid")
	}
	b.refused("SVC-38/json")
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	require.Contains(t, b.do("PATCH", "/twins/d", `{"tags":`+deep+`}`).fails(400, "ArgumentInvalid"), "64")
	b.do("PATCH", "/twins/d", strings.Repeat("[", 100_000)).fails(400, "ArgumentInvalid")
	b.refused("SVC-38/depth")
	b.do("PATCH", "/twins/d", `{"tags":{"a":"`+strings.Repeat("x", 600<<10)+`"}}`).fails(413, "GenericRequestEntityTooLarge")
	b.refused("SVC-38/size")
	b.do("PUT", "/devices/d", "\xef\xbb\xbf"+`{"deviceId":"d","unknown":{"a":[1]}}`, "If-Match", "*").ok(200)
	rule.Proves(t, "SVC-38")
}
