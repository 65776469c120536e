package service_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestBulk(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	body := b.do("POST", "/devices", `[
		{"id":"a","importMode":"create","tags":{"site":1},"properties":{"desired":{"$version":9,"x":1}}},
		{"id":"b","importMode":"Create","status":"disabled","statusReason":"new","capabilities":{"iotEdge":true}},
		{"id":"b","moduleId":"m","importMode":"create","authentication":{"type":"sas","symmetricKey":{"primaryKey":"`+ownerKey+`","secondaryKey":"`+otherKey+`"}}}]`).body
	require.JSONEq(t, `{"isSuccessful":true,"errors":[],"warnings":[]}`, string(body))
	a := b.do("GET", "/twins/a", "").ok(200)
	require.Equal(t, map[string]any{"site": 1.0}, a["tags"])
	device := b.do("GET", "/devices/b", "").ok(200)
	require.Equal(t, "disabled", device["status"])
	require.Equal(t, map[string]any{"iotEdge": true}, device["capabilities"])
	require.Equal(t, ownerKey, b.do("GET", "/devices/b/modules/m", "").ok(200)["authentication"].(map[string]any)["symmetricKey"].(map[string]any)["primaryKey"])

	got := b.do("POST", "/devices", `[{"id":"c","importMode":"create"},{"id":"a","importMode":"create"},{"id":"d","importMode":"create"}]`).ok(400)
	require.Equal(t, false, got["isSuccessful"])
	errs := got["errors"].([]any)
	require.Len(t, errs, 1)
	failed := errs[0].(map[string]any)
	require.Equal(t, "a", failed["deviceId"])
	require.EqualValues(t, 409001, failed["errorCode"])
	require.Equal(t, "create", failed["operation"])
	require.NotEmpty(t, failed["errorStatus"])
	require.Len(t, b.do("GET", "/devices", "").list(), 4, "the others were made")
	b.refused("SVC-8/identity")
	rule.Proves(t, "SVC-8")
	b.noSecrets()
}

func TestBulkModes(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	etag := b.create("a")["etag"].(string)
	b.create("gone")
	b.do("PUT", "/devices/a/modules/m", `{"deviceId":"a","moduleId":"m"}`).ok(201)
	for _, c := range []struct {
		item string
		code int
	}{
		{`{"id":"a","importMode":"UpdateIfMatchETag","eTag":"` + etag + `","statusReason":"x"}`, 0},
		{`{"id":"a","importMode":"updateIfMatchETag","eTag":"\"` + etag + `\""}`, 412001},
		{`{"id":"a","importMode":"updateIfMatchETag"}`, 400004},
		{`{"id":"nope","importMode":"update"}`, 404001},
		{`{"id":"a","moduleId":"nope","importMode":"update"}`, 404010},
		{`{"id":"nope","moduleId":"m","importMode":"create"}`, 404001},
		{`{"id":"nope","moduleId":"m","importMode":"updateTwin"}`, 404001},
		{`{"id":"nope","moduleId":"m","importMode":"delete"}`, 404001},
		{`{"id":"a","moduleId":"m","importMode":"create"}`, 409301},
		{`{"id":"a","moduleId":"m","importMode":"update","managedBy":"x"}`, 0},
		{`{"id":"a","importMode":"updateTwin","tags":{"t":1}}`, 0},
		{`{"id":"a","importMode":"updateTwinIfMatchETag","twinETag":"AAAAAAAAAAI=","tags":{"t":2}}`, 0},
		{`{"id":"a","importMode":"updateTwinIfMatchETag","twinETag":"AAAAAAAAAAI=","tags":{"t":3}}`, 412001},
		{`{"id":"a","importMode":"updateTwin","tags":{"a.b":1}}`, 400004},
		{`{"id":"new","importMode":"createOrUpdate","tags":{"t":1}}`, 0},
		{`{"id":"new","importMode":"createOrUpdate","status":"disabled"}`, 0},
		{`{"id":"a","moduleId":"m","importMode":"delete"}`, 0},
		{`{"id":"gone","importMode":"deleteIfMatchETag","eTag":"stale"}`, 412001},
		{`{"id":"gone","importMode":"Delete"}`, 0},
		{`{"id":"a","importMode":"explode"}`, 400004},
		{`{"id":"a b","importMode":"create"}`, 400004},
		{`{"importMode":"create"}`, 400004},
	} {
		r := b.do("POST", "/devices", "["+c.item+"]")
		if c.code == 0 {
			require.Equal(t, 200, r.status, "%s: %s", c.item, r.body)
			continue
		}
		require.EqualValues(t, c.code, r.ok(400)["errors"].([]any)[0].(map[string]any)["errorCode"], c.item)
	}
	require.Equal(t, map[string]any{"t": 2.0}, b.do("GET", "/twins/a", "").ok(200)["tags"])
	twice := b.do("POST", "/devices", `[{"id":"t","importMode":"create"},{"id":"t","importMode":"delete"}]`).ok(400)
	require.EqualValues(t, 400011, twice["errors"].([]any)[0].(map[string]any)["errorCode"])
	warned := b.do("POST", "/devices", `[{"id":"w","importMode":"create","tags":{"a.b":1}}]`).ok(200)
	require.Equal(t, "DeviceRegisteredWithoutTwin", warned["warnings"].([]any)[0].(map[string]any)["warningCode"])
}

func TestBulkTooMany(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	many := func(n int) string {
		var items []map[string]string
		for i := range n {
			items = append(items, map[string]string{"id": fmt.Sprint("d", i), "importMode": "create"})
		}
		text, err := json.Marshal(items)
		require.NoError(t, err)
		return string(text)
	}
	b.do("POST", "/devices", many(101)).fails(400, "ArgumentInvalid")
	b.refused("SVC-9/count")
	require.Empty(t, b.do("GET", "/devices", "").list())
	b.do("POST", "/devices", many(100)).ok(200)
	rule.Proves(t, "SVC-9")
	b.do("POST", "/devices", `{"id":"x"}`).fails(400, "ArgumentInvalid")
	b.do("POST", "/devices", "["+strings.Repeat("null,", 5)+"{}]").ok(400)
}

// A list may have a child before its parent, as an export has.
func TestBulkScopes(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	const scope = "ms-azure-iot-edge://z-600000000000000000"
	b.do("POST", "/devices", `[{"id":"a","importMode":"create","deviceScope":"`+scope+`"},
		{"id":"z","importMode":"create","capabilities":{"iotEdge":true},"deviceScope":"`+scope+`"}]`).ok(200)
	require.Equal(t, []any{scope}, b.do("GET", "/devices/a", "").ok(200)["parentScopes"])
	got := b.do("POST", "/devices", `[{"id":"b","importMode":"create","deviceScope":"ms-azure-iot-edge://z-1"}]`)
	require.Equal(t, 400, got.status)
	require.Contains(t, string(got.body), "no IoT Edge device")
	b.do("GET", "/devices/b", "").fails(404, "DeviceNotFound")
}
