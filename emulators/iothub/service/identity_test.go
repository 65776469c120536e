package service_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/emulators/iothub/service"
	"github.com/fakecloud/fakecloud/internal/broker"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestCreateDevice(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	r := b.do("PUT", "/devices/dev-1", `{"deviceId":"dev-1","status":null,"authentication":null,"connectionState":"Connected"}`)
	d := r.ok(200)
	require.Equal(t, "dev-1", d["deviceId"])
	require.Equal(t, "enabled", d["status"])
	require.Equal(t, "Disconnected", d["connectionState"])
	require.Regexp(t, `^\d{18}$`, d["generationId"])
	require.Equal(t, `"`+d["etag"].(string)+`"`, r.header.Get("ETag"))
	for _, never := range []string{"connectionStateUpdatedTime", "statusUpdatedTime", "lastActivityTime"} {
		require.Equal(t, "0001-01-01T00:00:00", d[never])
	}
	require.Contains(t, d, "statusReason")
	require.Nil(t, d["statusReason"])
	require.Equal(t, map[string]any{"iotEdge": false}, d["capabilities"])
	auth := d["authentication"].(map[string]any)
	require.Equal(t, "sas", auth["type"])
	require.Equal(t, map[string]any{"primaryThumbprint": nil, "secondaryThumbprint": nil}, auth["x509Thumbprint"])
	for _, name := range []string{"primaryKey", "secondaryKey"} {
		key, err := base64.StdEncoding.DecodeString(auth["symmetricKey"].(map[string]any)[name].(string))
		require.NoError(t, err)
		require.Len(t, key, 32)
	}
	require.Equal(t, d, b.do("GET", "/devices/dev-1", "").ok(200))
	twin := b.do("GET", "/twins/dev-1", "").ok(200)
	require.EqualValues(t, 1, twin["version"])
	rule.Proves(t, "SVC-1")

	require.Contains(t, b.do("PUT", "/devices/dev-1", `{"deviceId":"dev-1"}`).fails(409, "DeviceAlreadyExists"), "'dev-1'")
	b.refused("SVC-2/exists")
	rule.Proves(t, "SVC-2")
	b.do("PUT", "/devices/dev-2", `{"deviceId":"Dev-2"}`).fails(400, "ArgumentInvalid")
	b.refused("SVC-1/mismatch")
	b.do("GET", "/devices/dev-2", "").fails(404, "DeviceNotFound")
	b.noSecrets()
}

func TestReplaceDevice(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	d := b.create("d")
	first := d["etag"].(string)
	changed := b.do("PUT", "/devices/d", `{"deviceId":"d","status":"disabled","statusReason":"stolen"}`, "If-Match", `"`+first+`"`).ok(200)
	require.NotEqual(t, first, changed["etag"])
	require.Equal(t, "stolen", changed["statusReason"])
	require.Equal(t, d["generationId"], changed["generationId"])
	for _, stale := range []string{`"` + first + `"`, first, `W/"` + first + `"`, `"nonsense"`} {
		b.do("PUT", "/devices/d", `{"deviceId":"d"}`, "If-Match", stale).fails(412, "PreconditionFailed")
	}
	b.do("DELETE", "/devices/d", "", "If-Match", `"`+first+`"`).fails(412, "PreconditionFailed")
	b.refused("SVC-3/etag")
	for _, anyTag := range []string{`"*"`, `*`} {
		b.do("PUT", "/devices/d", `{"deviceId":"d"}`, "If-Match", anyTag).ok(200)
	}
	rule.Proves(t, "SVC-3")
	b.do("PUT", "/devices/new", `{"deviceId":"new"}`, "If-Match", `"*"`).fails(404, "DeviceNotFound")
	r := b.do("DELETE", "/devices/d", "", "If-Match", `"*"`)
	r.ok(http.StatusNoContent)
	require.Empty(t, r.body)
	b.do("DELETE", "/devices/d", "").fails(404, "DeviceNotFound")
}

func TestUnknownDevice(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("Flexy205")
	for method, path := range map[string]string{"GET": "/devices/flexy205", "DELETE": "/devices/flexy205", "PATCH": "/twins/flexy205", "PUT": "/twins/flexy205"} {
		require.Equal(t, "Device flexy205 not registered", b.do(method, path, `{}`).fails(404, "DeviceNotFound"))
	}
	b.do("GET", "/twins/flexy205", "").fails(404, "DeviceNotFound")
	b.do("GET", "/devices/flexy205/modules", "").fails(404, "DeviceNotFound")
	b.do("DELETE", "/devices/flexy205/commands", "").fails(404, "DeviceNotFound")
	e := b.refused("SVC-4/device")
	require.Contains(t, e.Detail, `"Flexy205", which differs in case`)
	require.Equal(t, 404, *e.Code)
	rule.Proves(t, "SVC-4")
}

func TestAuthenticationTypes(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	sha1, sha256 := strings.Repeat("AB", 20), strings.Repeat("0F", 32)
	none := map[string]any{"primaryKey": nil, "secondaryKey": nil}
	for i, c := range []struct{ in, kind string }{
		{`{"type":"sas","symmetricKey":{"primaryKey":"` + ownerKey + `","secondaryKey":"` + otherKey + `"},"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null}}`, "sas"},
		{`{"type":"selfSigned","symmetricKey":null,"x509Thumbprint":{"primaryThumbprint":"` + strings.ToLower(sha1) + `","secondaryThumbprint":"` + sha256 + `"}}`, "selfSigned"},
		{`{"x509Thumbprint":{"primaryThumbprint":"` + sha1 + `"}}`, "selfSigned"},
		{`{"type":"certificateAuthority"}`, "certificateAuthority"},
		{`{"type":"none"}`, "none"},
	} {
		path := fmt.Sprint("/devices/d", i)
		b.do("PUT", path, fmt.Sprintf(`{"deviceId":"d%d","authentication":%s}`, i, c.in)).ok(200)
		auth := b.do("GET", path, "").ok(200)["authentication"].(map[string]any)
		require.Equal(t, c.kind, auth["type"])
		thumbs := auth["x509Thumbprint"].(map[string]any)
		switch c.kind {
		case "sas":
			require.Equal(t, map[string]any{"primaryKey": ownerKey, "secondaryKey": otherKey}, auth["symmetricKey"])
			require.Nil(t, thumbs["primaryThumbprint"])
		case "selfSigned":
			require.Equal(t, sha1, thumbs["primaryThumbprint"])
			require.Equal(t, none, auth["symmetricKey"])
		default:
			require.Nil(t, thumbs["primaryThumbprint"])
			require.Equal(t, none, auth["symmetricKey"])
		}
	}
	for _, bad := range []string{
		`{"deviceId":"x","authentication":{"type":"magic"}}`,
		`{"deviceId":"x","authentication":{"type":"sas","symmetricKey":{"primaryKey":"short"}}}`,
		`{"deviceId":"x","authentication":{"type":"selfSigned"}}`,
		`{"deviceId":"x","authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"AB:CD"}}}`,
		`{"deviceId":"x","authentication":{"type":"sas","symmetricKey":{"primaryKey":"` + ownerKey + `"},"x509Thumbprint":{"primaryThumbprint":"` + sha1 + `"}}}`,
		`{"deviceId":"x","status":"paused"}`,
		`{"deviceId":"x","statusReason":"` + strings.Repeat("r", 129) + `"}`,
	} {
		b.do("PUT", "/devices/x", bad).fails(400, "ArgumentInvalid")
	}
	reason := strings.Repeat("ü", 128)
	require.Equal(t, reason, b.do("PUT", "/devices/reason", `{"deviceId":"reason","statusReason":"`+reason+`"}`).ok(200)["statusReason"], "characters count, not bytes")
	require.Contains(t, b.do("PUT", "/devices/x", `{"deviceId":"x","statusReason":"`+reason+`ü"}`).fails(400, "ArgumentInvalid"), "129 characters")
	require.Equal(t, "disabled", b.do("PUT", "/devices/cased", `{"deviceId":"cased","status":"Disabled"}`).ok(200)["status"], "in any case, as azure-iot-sdk-java sends it")
	b.do("PUT", "/devices/a%20b", `{"deviceId":"a b"}`).fails(400, "ArgumentInvalid")
	b.refused("SVC-5/invalid")
	rule.Proves(t, "SVC-5")
	b.noSecrets()
}

// SVC-5 of scopes: the steps of azure-iot-sdk-node, e2etests/test/registry.js, "Can create an edge and device
// scope relationship", and what else names no parent.
func TestScopes(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	edge := b.do("PUT", "/devices/gw", `{"deviceId":"gw","capabilities":{"iotEdge":true}}`).ok(200)["deviceScope"].(string)
	require.Regexp(t, `^ms-azure-iot-edge://gw-\d{18,19}$`, edge)
	leaf := b.do("PUT", "/devices/leaf", `{"deviceId":"leaf","deviceScope":"`+edge+`"}`).ok(200)
	require.Equal(t, []any{edge, []any{edge}}, []any{leaf["deviceScope"], leaf["parentScopes"]})
	for _, in := range []string{
		`{"deviceId":"leaf","deviceScope":"5f1a6c1e-6d8e-4f5b-9a41-0a6a58a1c9f0"}`,
		`{"deviceId":"leaf","parentScopes":["ms-azure-iot-edge://gw-1"]}`,
		`{"deviceId":"leaf","deviceScope":"ms-azure-iot-edge://leaf-100000000000000000"}`,
		`{"deviceId":"leaf","parentScopes":["` + edge + `","` + edge + `"]}`,
	} {
		b.do("PUT", "/devices/leaf", in, "If-Match", "*").fails(400, "ArgumentInvalid")
		b.refused("SVC-5/invalid")
		b.do("PUT", "/devices/new", strings.ReplaceAll(in, `"leaf"`, `"new"`)).fails(400, "ArgumentInvalid")
	}
	require.Equal(t, edge, b.do("GET", "/devices/leaf", "").ok(200)["deviceScope"])
	b.do("PUT", "/devices/inner", `{"deviceId":"inner","capabilities":{"iotEdge":true},"parentScopes":["`+edge+`"]}`).ok(200)
	b.do("DELETE", "/devices/gw", "", "If-Match", "*").ok(204)
	leaf = b.do("PUT", "/devices/leaf", `{"deviceId":"leaf","status":"disabled","deviceScope":"`+edge+`"}`, "If-Match", "*").ok(200)
	require.Equal(t, edge, leaf["deviceScope"], "what a device has stays, though the parent has gone")
	require.NotContains(t, b.do("PUT", "/devices/leaf", `{"deviceId":"leaf"}`, "If-Match", "*").ok(200), "deviceScope")
}

func TestDisableConnectedDevice(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	l := b.connect("d", false)
	b.do("PUT", "/devices/d", `{"deviceId":"d","status":"disabled"}`, "If-Match", "*").ok(200)
	require.ErrorContains(t, <-l.closed, "HUB-12/disabled")
	_, err := b.signIn("d")
	require.ErrorContains(t, err, "HUB-12/disabled")
	rule.Proves(t, "SVC-6")
}

func TestDeleteAndCreateAnew(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	old := b.create("d")
	l := b.connect("d", false)
	b.do("PATCH", "/twins/d", `{"tags":{"a":1},"properties":{"desired":{"b":2}}}`).ok(200)
	_, err := b.hub.SendC2D(contoso, "d", "", iothub.C2D{Body: []byte("x")})
	require.NoError(t, err)
	b.do("DELETE", "/devices/d", "", "If-Match", `"`+b.do("GET", "/devices/d", "").ok(200)["etag"].(string)+`"`).ok(204)
	require.ErrorContains(t, <-l.closed, "HUB-12/deleted")
	d := b.create("d")
	require.NotEqual(t, old["generationId"], d["generationId"])
	require.EqualValues(t, 0, d["cloudToDeviceMessageCount"])
	twin := b.do("GET", "/twins/d", "").ok(200)
	require.EqualValues(t, 1, twin["version"])
	require.Equal(t, map[string]any{}, twin["tags"])
	require.NotContains(t, twin["properties"].(map[string]any)["desired"], "b")
	rule.Proves(t, "SVC-7")
}

func TestModules(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	b.do("PUT", "/devices/nope/modules/m", `{"deviceId":"nope","moduleId":"m"}`).fails(404, "DeviceNotFound")
	r := b.do("PUT", "/devices/d/modules/m", `{"deviceId":"d","moduleId":"m","managedBy":"me"}`)
	m := r.ok(201)
	require.Equal(t, "m", m["moduleId"])
	require.Equal(t, "me", m["managedBy"])
	require.NotContains(t, m, "status")
	require.Equal(t, `"`+m["etag"].(string)+`"`, r.header.Get("ETag"))
	require.Equal(t, m, b.do("GET", "/devices/d/modules/m", "").ok(200))
	_, err := b.hub.SendC2D(contoso, "d", "m", iothub.C2D{Body: []byte("waits")})
	require.NoError(t, err)
	listed := b.do("GET", "/devices/d/modules", "").list()
	require.Equal(t, []map[string]any{b.do("GET", "/devices/d/modules/m", "").ok(200)}, listed, "the list says what the module says")
	require.EqualValues(t, 1, listed[0]["cloudToDeviceMessageCount"])
	b.do("PUT", "/devices/d/modules/m", `{"deviceId":"d","moduleId":"m"}`).fails(409, "ModuleAlreadyExistsOnDevice")
	b.refused("SVC-12/exists")
	b.do("PUT", "/devices/d/modules/m", `{"deviceId":"d","moduleId":"other"}`).fails(400, "ArgumentInvalid")
	b.refused("SVC-12/mismatch")
	b.do("PUT", "/devices/d/modules/m", `{"deviceId":"d","moduleId":"m","authentication":{"type":"magic"}}`, "If-Match", "*").fails(400, "ArgumentInvalid")
	b.refused("SVC-12/invalid")
	again := b.do("PUT", "/devices/d/modules/m", `{"deviceId":"d","moduleId":"m"}`, "If-Match", `"*"`).ok(200)
	require.Equal(t, m["generationId"], again["generationId"])
	b.do("PUT", "/devices/d/modules/m", `{"deviceId":"d","moduleId":"m"}`, "If-Match", `"`+m["etag"].(string)+`"`).fails(412, "PreconditionFailed")
	b.refused("SVC-12/etag")

	twin := b.do("PATCH", "/twins/d/modules/m", `{"properties":{"desired":{"a":1}}}`).ok(200)
	require.Equal(t, "m", twin["moduleId"])
	require.EqualValues(t, 2, twin["version"])
	b.do("PUT", "/twins/d/modules/m", `{"tags":{"a":1}}`).ok(200)
	require.EqualValues(t, 3, b.do("GET", "/twins/d/modules/m", "").ok(200)["version"])
	require.EqualValues(t, 1, b.do("GET", "/twins/d", "").ok(200)["version"])
	for method, path := range map[string]string{"GET": "/devices/d/modules/M", "DELETE": "/devices/d/modules/M", "PATCH": "/twins/d/modules/M"} {
		b.do(method, path, `{}`).fails(404, "ModuleNotFound")
	}
	b.refused("SVC-12/module")
	b.do("DELETE", "/devices/d/modules/m", "", "If-Match", "*").ok(204)
	b.do("GET", "/twins/d/modules/m", "").fails(404, "ModuleNotFound")
	rule.Proves(t, "SVC-12")
}

func TestListAndStatistics(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	for i := range 5 {
		b.create(fmt.Sprint("d", i))
	}
	require.Len(t, b.do("GET", "/devices", "").list(), 5)
	require.Len(t, b.do("GET", "/devices/?top=2", "").list(), 2)
	require.Len(t, b.do("GET", "/Devices?top=5000", "").list(), 5)
	for _, bad := range []string{"0", "-1", "x"} {
		b.do("GET", "/devices?top="+bad, "").fails(400, "ArgumentInvalid")
	}
	b.refused("SVC-38/top")
	l := b.connect("d0", false)
	b.do("PUT", "/devices/d1", `{"deviceId":"d1","status":"disabled"}`, "If-Match", "*").ok(200)
	require.JSONEq(t, `{"totalDeviceCount":5,"enabledDeviceCount":4,"disabledDeviceCount":1}`, string(b.do("GET", "/statistics/devices", "").body))
	require.JSONEq(t, `{"connectedDeviceCount":1}`, string(b.do("GET", "/statistics/service", "").body))
	l.session.Close()
	require.JSONEq(t, `{"connectedDeviceCount":0}`, string(b.do("GET", "/statistics/service", "").body))
	rule.Proves(t, "SVC-21")
}

func TestPurge(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	b.create("d")
	for i := range 3 {
		_, err := b.hub.SendC2D(contoso, "d", "", iothub.C2D{MessageID: fmt.Sprint("m", i), Ack: iothub.AckNegative})
		require.NoError(t, err)
	}
	require.EqualValues(t, 3, b.do("GET", "/twins/d", "").ok(200)["cloudToDeviceMessageCount"])
	require.JSONEq(t, `{"totalMessagesPurged":3,"deviceId":"d","moduleId":null}`, string(b.do("DELETE", "/devices/d/commands", "").body))
	require.JSONEq(t, `{"totalMessagesPurged":0,"deviceId":"d","moduleId":null}`, string(b.do("DELETE", "/devices/d/commands", "").body))
	feedback := b.hub.Feedback(contoso, 0)
	require.Len(t, feedback, 3)
	require.EqualValues(t, "Purged", feedback[0].StatusCode)
	rule.Proves(t, "SVC-24")
}

func TestOddIDs(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	for _, id := range []string{"a+b", "100%", "a#b", "(x)", "a?b", "$a@b", "it's", "a,b=c!*", "a:b;c", "..", "a%2Fb"} {
		path := url.PathEscape(id)
		require.Equal(t, id, b.do("PUT", "/devices/"+path, `{"deviceId":"`+id+`"}`).ok(200)["deviceId"])
		require.Equal(t, id, b.do("GET", "/twins/"+path, "").ok(200)["deviceId"])
		_, err := b.hub.GetDevice(contoso, id)
		require.NoError(t, err)
	}
	require.Len(t, b.do("GET", "/devices", "").list(), 11)
}

func TestClaimByPath(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	_, err := b.hub.PutHub(iothub.Hub{Name: "second"})
	require.NoError(t, err)
	_, err = b.hub.PutDevice("second.azure-devices.net", iothub.Device{DeviceID: "there"})
	require.NoError(t, err)
	for path, want := range map[string]string{
		"/devices/there": "second.azure-devices.net", "/twins/there/modules/m": "second.azure-devices.net", "/devices/new": contoso, "/statistics/devices": contoso,
		"/devices": contoso, "/devices/there/messages/events": "", "/devices/there/files": "", "/": "", "/$iothub/websocket": "",
	} {
		got, ok := service.Claim(b.hub, path)
		require.Equal(t, want, got, path)
		require.Equal(t, want != "", ok)
		require.Equal(t, ok, service.Handles(path))
	}
	byAddress := service.New(b.hub, func(*http.Request) broker.Peer { return broker.Peer{Hosts: []string{"127.0.0.1"}} }, nil)
	b.handler, b.token = byAddress, sas("127.0.0.1", ownerKey, "iothubowner", 3600e9)
	b.create("local")
	_, err = b.hub.GetDevice(contoso, "local")
	require.NoError(t, err)
}
