package service_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/rule"
)

func (b *backend) desired(path string) map[string]any {
	b.t.Helper()
	d := b.do("GET", "/twins/"+path, "").ok(200)["properties"].(map[string]any)["desired"].(map[string]any)
	delete(d, "$metadata")
	delete(d, "$version")
	return d
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	for _, id := range []string{"a", "b"} {
		b.create(id)
	}
	b.do("PATCH", "/twins/a", `{"tags":{"site":"x"},"properties":{"desired":{"own":1,"fleet":{"kept":1}}}}`).ok(200)
	l := b.connect("a", false)
	r := b.do("PUT", "/configurations/low", `{"id":"low","labels":{"l":"1"},"priority":1,"targetCondition":"tags.site='x'","content":{"deviceContent":{"properties.desired.fleet":{"n":1,"who":"low"}}},
		"metrics":{"queries":{"sites":"SELECT deviceId FROM devices WHERE tags.site = 'x'","count":"SELECT COUNT() AS n FROM devices"}}}`)
	k := r.ok(201)
	require.Equal(t, "1.0", k["schemaVersion"])
	require.Equal(t, `"`+k["etag"].(string)+`"`, r.header.Get("ETag"))
	require.EqualValues(t, 1, k["systemMetrics"].(map[string]any)["results"].(map[string]any)["targetedCount"])
	require.Equal(t, map[string]any{"sites": 1.0, "count": 1.0}, k["metrics"].(map[string]any)["results"])
	require.JSONEq(t, `{"$version":3,"fleet":{"n":1,"who":"low"}}`, <-l.desired)
	b.do("PUT", "/configurations/high", `{"id":"high","priority":9,"targetCondition":"*","content":{"deviceContent":{"properties.desired.fleet.who":"high"}}}`).ok(201)
	require.Equal(t, map[string]any{"own": 1.0, "fleet": map[string]any{"kept": 1.0, "n": 1.0, "who": "high"}}, b.desired("a"))
	require.Equal(t, map[string]any{"fleet": map[string]any{"who": "high"}}, b.desired("b"))
	b.do("PATCH", "/twins/b", `{"tags":{"site":"x"}}`).ok(200)
	require.Equal(t, map[string]any{"fleet": map[string]any{"n": 1.0, "who": "high"}}, b.desired("b"), "it has come into the target")
	b.create("c")
	require.Equal(t, map[string]any{"fleet": map[string]any{"who": "high"}}, b.desired("c"))

	require.Len(t, b.do("GET", "/configurations/?top=5", "").list(), 2)
	require.Len(t, b.do("GET", "/configurations?top=1", "").list(), 1)
	require.Equal(t, map[string]any{"l": "1"}, b.do("GET", "/configurations/low", "").ok(200)["labels"])
	changed := b.do("PUT", "/configurations/low", `{"id":"low","priority":20,"targetCondition":"tags.site='x'","content":{"moduleContent":null,"deviceContent":{"properties.desired.fleet":{"who":"low","n":1}}}}`,
		"If-Match", `"`+k["etag"].(string)+`"`).ok(200)
	require.NotEqual(t, k["etag"], changed["etag"])
	require.Equal(t, k["createdTimeUtc"], changed["createdTimeUtc"])
	require.Equal(t, "low", b.desired("a")["fleet"].(map[string]any)["who"])
	b.do("DELETE", "/configurations/low", "", "If-Match", `"stale"`).fails(412, "PreconditionFailed")
	b.do("PUT", "/configurations/low", `{"id":"low"}`, "If-Match", `"stale"`).fails(412, "PreconditionFailed")
	b.refused("SVC-28/etag")
	b.do("PUT", "/configurations/low", `{"id":"low","content":{"deviceContent":{"properties.desired.x":1}}}`, "If-Match", `*`).fails(400, "CannotModifyImmutableConfigurationContent")
	b.refused("SVC-28/immutable")
	b.do("PUT", "/configurations/low", `{"id":"low"}`).fails(409, "ConfigurationAlreadyExists")
	b.refused("SVC-28/exists")
	b.do("DELETE", "/configurations/low", "").ok(204)
	for _, method := range []string{"GET", "DELETE"} {
		b.do(method, "/configurations/low", "").fails(404, "ConfigurationNotFound")
	}
	b.refused("SVC-28/unknown")
}

// The queries of the system metrics find what the figures count.
func TestSystemMetrics(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.do("PUT", "/devices/edge", `{"deviceId":"edge","capabilities":{"iotEdge":true}}`).ok(200)
	b.create("plain")
	for condition, want := range map[string]int{"": 0, "*": 2, " deviceId = 'plain'": 1, "capabilities.iotEdge = true OR deviceId = 'plain'": 2,
		"FROM devices.modules WHERE moduleId = '$edgeHub'": 1, "from devices.modules": 2} {
		id := fmt.Sprintf("k%x", condition)
		metrics := b.do("PUT", "/configurations/"+id, `{"id":"`+id+`","targetCondition":"`+condition+`"}`).ok(201)["systemMetrics"].(map[string]any)
		for name, query := range metrics["queries"].(map[string]any) {
			require.EqualValues(t, want, metrics["results"].(map[string]any)[name], condition)
			require.Len(t, b.ask(query.(string)).list(), want, query)
		}
		require.Len(t, metrics["queries"], 2)
	}
	rule.Proves(t, "SVC-28")
}

func TestModuleConfigurations(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.do("PUT", "/devices/edge", `{"deviceId":"edge","capabilities":{"iotEdge":true}}`).ok(200)
	content := `{"modulesContent":{"$edgeAgent":{"properties.desired":{"schemaVersion":"1.1"}},"filter":{"properties.desired":{"limit":5},"properties.desired.extra":{"a":1}}}}`
	r := b.do("POST", "/devices/edge/applyConfigurationContent", content)
	r.ok(204)
	require.Len(t, b.do("GET", "/devices/edge/modules", "").list(), 3, "with $edgeHub, which the registry makes")
	require.Equal(t, map[string]any{"schemaVersion": "1.1"}, b.desired("edge/modules/$edgeAgent"))
	require.Equal(t, map[string]any{"limit": 5.0, "extra": map[string]any{"a": 1.0}}, b.desired("edge/modules/filter"))
	before := b.do("GET", "/twins/edge/modules/filter", "").ok(200)["version"]
	b.do("POST", "/devices/edge/applyConfigurationContent", content).ok(204)
	require.Equal(t, before, b.do("GET", "/twins/edge/modules/filter", "").ok(200)["version"], "nothing is set twice")
	b.do("POST", "/devices/edge/applyConfigurationContent", `{"modulesContent":{"filter":{"properties.desired":{"limit":6}}},"deviceContent":{"properties.desired.d":1}}`).ok(204)
	require.Equal(t, map[string]any{"limit": 6.0}, b.desired("edge/modules/filter"))
	require.Equal(t, map[string]any{"d": 1.0}, b.desired("edge"))
	b.do("POST", "/devices/nope/applyConfigurationContent", content).fails(404, "DeviceNotFound")

	b.do("PUT", "/configurations/m", `{"id":"m","targetCondition":"FROM devices.modules WHERE moduleId = 'filter'","content":{"moduleContent":{"properties.desired.m":true}}}`).ok(201)
	require.Equal(t, map[string]any{"limit": 6.0, "m": true}, b.desired("edge/modules/filter"))
	b.do("PUT", "/configurations/e", `{"id":"e","targetCondition":"capabilities.iotEdge = true","content":{"modulesContent":{"late":{"properties.desired":{"x":1}}}}}`).ok(201)
	require.Equal(t, map[string]any{"x": 1.0}, b.desired("edge/modules/late"))
	rule.Proves(t, "SVC-28")
}

// What comes to fit a condition later gets the configuration too, whoever made it fit.
func TestConfigurationsOfLatecomers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		b.create("d")
		b.do("PUT", "/configurations/m", `{"id":"m","targetCondition":"FROM devices.modules WHERE moduleId = 'late'","content":{"moduleContent":{"properties.desired.m":1}}}`).ok(201)
		b.do("PUT", "/configurations/t", `{"id":"t","targetCondition":"tags.site = 'x'","content":{"deviceContent":{"properties.desired.t":2}}}`).ok(201)
		b.do("PUT", "/devices/d/modules/late", `{"deviceId":"d","moduleId":"late"}`).ok(201)
		require.Equal(t, map[string]any{"m": 1.0}, b.desired("d/modules/late"))
		b.do("PUT", "/jobs/v2/j", `{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":{"tags":{"site":"x"}}}`).ok(200)
		synctest.Wait()
		require.Equal(t, "completed", b.do("GET", "/jobs/v2/j", "").ok(200)["status"])
		require.Equal(t, map[string]any{"t": 2.0}, b.desired("d"))
		rule.Proves(t, "SVC-28")
	})
}

func TestBadConfigurations(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	for body, name := range map[string]string{
		`{"id":"other"}`:                                                                          "ArgumentInvalid",
		`{"id":"k","priority":-1}`:                                                                "ArgumentInvalid",
		`{"id":"k","targetCondition":"tags.x ="}`:                                                 "InvalidConfigurationTargetCondition",
		`{"id":"k","targetCondition":"FROM nowhere WHERE a = 1"}`:                                 "InvalidConfigurationTargetCondition",
		`{"id":"k","metrics":{"queries":{"q":"SELECT"}}}`:                                         "InvalidConfigurationCustomMetricsQuery",
		`{"id":"k","content":{"deviceContent":{"tags.x":1}}}`:                                     "InvalidConfigurationContent",
		`{"id":"k","content":{"deviceContent":{"properties.desired":1}}}`:                         "InvalidConfigurationContent",
		`{"id":"k","content":{"deviceContent":{"properties.desired.a b":1}}}`:                     "InvalidConfigurationContent",
		`{"id":"k","content":{"modulesContent":[]}}`:                                              "InvalidConfigurationContent",
		`{"id":"k","content":{"deviceContent":{"properties.desired.x":{"$y":4503599627370496}}}}`: "InvalidConfigurationContent",
	} {
		b.do("PUT", "/configurations/k", body).fails(400, name)
	}
	b.do("POST", "/devices/d/applyConfigurationContent", `{}`).fails(400, "InvalidConfigurationContent")
	b.do("POST", "/devices/d/applyConfigurationContent", `{"modulesContent":{"a b":{}}}`).fails(400, "ArgumentInvalid")
	for _, cause := range []rule.ID{"SVC-28/invalid", "SVC-28/target", "SVC-28/metrics", "SVC-28/content"} {
		b.refused(cause)
	}
	got := b.do("POST", "/configurations/testQueries", `{"targetCondition":"a =","customMetricQueries":{"good":"SELECT * FROM devices","bad":"SELECT"}}`).ok(200)
	require.Contains(t, got["targetConditionError"], "line 1, column 4")
	require.Len(t, got["customMetricQueryErrors"], 1)
	require.Nil(t, b.do("POST", "/configurations/testQueries", `{"targetCondition":"*"}`).ok(200)["targetConditionError"])
	for i := range 100 {
		b.do("PUT", fmt.Sprint("/configurations/k", i), fmt.Sprintf(`{"id":"k%d"}`, i)).ok(201)
	}
	b.do("PUT", "/configurations/more", `{"id":"more"}`).fails(413, "ConfigurationCountLimitExceeded")
	b.refused("SVC-28/count")
	b.token = sas(contoso, ownerKey, "service", time.Hour)
	b.do("PUT", "/configurations/more", `{"id":"more"}`).fails(401, "IotHubUnauthorizedAccess")
}
