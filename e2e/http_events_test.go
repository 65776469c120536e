package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const postEvents = "POST /devices/dev-01/messages/events?api-version=2021-04-12"

func TestHTTPTelemetry(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	r := contosoSays(t, cloud, postEvents, `{"t":21.5}`, "iothub-app-temperatureAlert: true", "IoTHub-MessageId: m1", "iothub-correlationid: c1",
		"iothub-contenttype: application/json", "iothub-contentencoding: utf-8", "iothub-userid: u", "iothub-to: /x", "iothub-expiry: 2030-01-01T00:00:00Z",
		"iothub-creationtimeutc: 2029-01-01T00:00:00Z", "dt-subject: s", "Content-Type: application/octet-stream", "X-Other: no")
	require.Equal(t, 204, r.StatusCode, r.body)
	require.Empty(t, r.body)
	require.NotEmpty(t, r.Header.Get("x-ms-request-id"))
	e := telemetry(t, cloud, "dev-01", 1)[0]
	require.Equal(t, `{"t":21.5}`, string(e.Payload))
	require.Equal(t, contosoHost, e.Endpoint)
	for name, value := range map[string]string{"temperaturealert": "true", "message-id": "m1", "correlation-id": "c1", "content-type": "application/json",
		"content-encoding": "utf-8", "user-id": "u", "to": "/x", "absolute-expiry-time": "2030-01-01T00:00:00Z",
		"iothub-creation-time-utc": "2029-01-01T00:00:00Z", "dt-subject": "s", "iothub-connection-device-id": "dev-01",
		"iothub-connection-auth-method": `{"scope":"device","type":"sas","issuer":"iothub"}`} {
		require.Equal(t, value, e.Properties[name], name)
	}
	require.NotContains(t, e.Properties, "x-other")
	require.Len(t, cloud.Events(fakecloud.Filter{Kind: "http", Device: "dev-01"}), 1)
	rule.Proves(t, "HUB-60")
}

// A request by address leads to the hub that holds the device; words of the path have no case.
func TestHTTPTelemetryByAddress(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	token := sasFor(t, demoKey, "127.0.0.1%2Fdevices%2Fdev-01", farFuture, "")
	r := ask(t, cloud, via{}, "POST /Devices/dev-01/Messages/Events/?api-version=2016-11-14", "x", "authorization: "+token)
	require.Equal(t, 204, r.StatusCode, r.body)
	require.Equal(t, contosoHost, telemetry(t, cloud, "dev-01", 1)[0].Endpoint)
}

func TestHTTPModuleAndCertificate(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	r := ask(t, cloud, via{name: contosoHost}, "POST /devices/dev-01/modules/mod-a/messages/events?api-version=2020-03-13", "m", "Authorization: "+tokenV3)
	require.Equal(t, 204, r.StatusCode, r.body)
	require.Equal(t, "mod-a", telemetry(t, cloud, "dev-01/mod-a", 1)[0].Properties["iothub-connection-module-id"])

	cert := device(t, cloud, "by-cert")
	patch(t, cloud, "azure: {hubs: [{name: contoso, certificates: [{name: demo, ca: demo-ca, verified: true}], devices: [{deviceId: by-cert, authentication: {type: certificateAuthority}}]}]}")
	r = ask(t, cloud, via{name: contosoHost, cert: cert}, "POST /devices/by-cert/messages/events?api-version=2020-03-13", "c")
	require.Equal(t, 204, r.StatusCode, r.body)
	telemetry(t, cloud, "by-cert", 1)
}

func TestHTTPRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, line, token, body string
		header                  []string
		status                  int
		errorName               string
		rule                    rule.ID
	}{
		{"no credentials", postEvents, "", "x", nil, 401, "IotHubUnauthorized", "HUB-60/authorization"},
		{"bad signature", postEvents, strings.Replace(tokenV1, "sig=J", "sig=K", 1), "x", nil, 401, "IotHubUnauthorized", "HUB-5/signature"},
		{"unknown device", strings.Replace(postEvents, "dev-01", "dev-99", 1), tokenV1, "x", nil, 404, "DeviceNotFound", "HUB-9/unknown"},
		{"unknown module", "POST /devices/dev-01/modules/nope/messages/events?api-version=2020-03-13", tokenV1, "x", nil, 404, "ModuleNotFound", "HUB-9/module"},
		{"disabled", strings.Replace(postEvents, "dev-01", "off", 1), sasFor(t, demoKey, contosoHost+"%2Fdevices%2Foff", farFuture, ""), "x", nil, 403, "DeviceDisabled", "HUB-12/disabled"},
		{"host token without skn", postEvents, tokenV4, "x", nil, 401, "IotHubUnauthorizedAccess", "HUB-8/no-policy"},
		{"no api-version", "POST /devices/dev-01/messages/events", tokenV1, "x", nil, 400, "InvalidProtocolVersion", "HUB-66/api-version"},
		{"api-version that is no date", "POST /devices/dev-01/messages/events?api-version=latest", tokenV1, "x", nil, 400, "InvalidProtocolVersion", "HUB-66/api-version"},
		{"twin", "GET /devices/dev-01/twin?api-version=2020-03-13", tokenV1, "", nil, 404, "GenericNotFound", "HUB-60/path"},
		{"module's messages", "GET /devices/dev-01/modules/mod-a/messages/deviceBound?api-version=2020-03-13", tokenV3, "", nil, 404, "GenericNotFound", "HUB-60/path"},
		{"method", "GET /devices/dev-01/messages/events?api-version=2020-03-13", tokenV1, "", nil, 405, "GenericMethodNotAllowed", "HUB-60/method"},
		{"too large", postEvents, tokenV1, strings.Repeat("x", 262145), nil, 413, "MessageTooLarge", "HUB-33/size"},
		{"too large with properties", postEvents, tokenV1, strings.Repeat("x", 262144), []string{"iothub-app-a: b"}, 413, "MessageTooLarge", "HUB-33/size"},
		{"batch that is no JSON", postEvents, tokenV1, "[{", []string{"Content-Type: application/vnd.microsoft.iothub.json"}, 400, "ArgumentInvalid", "HUB-61/batch"},
		{"batch with text as base64", postEvents, tokenV1, `[{"body":"???"}]`, []string{"Content-Type: application/vnd.microsoft.iothub.json"}, 400, "ArgumentInvalid", "HUB-61/batch"},
		{"empty batch", postEvents, tokenV1, `[]`, []string{"Content-Type: application/vnd.microsoft.iothub.json"}, 400, "ArgumentInvalid", "HUB-61/batch"},
		{"stale lock", "DELETE /devices/dev-01/messages/deviceBound/6f1c0a3e-0000-0000-0000-000000000000?api-version=2020-03-13", tokenV1, "", nil, 412, "DeviceMessageLockLost", "HUB-63/lock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := startContoso(t)
			header := c.header
			if c.token != "" {
				header = append([]string{"Authorization: " + c.token}, header...)
			}
			r := ask(t, cloud, via{name: contosoHost}, c.line, c.body, header...)
			wantHubError(t, r, c.status, c.errorName)
			e := refused(t, cloud, c.rule)
			require.Equal(t, c.status, *e.Code)
			require.NotEmpty(t, e.Expected)
			require.NotContains(t, e.Seen+e.Topic, "sig=J")
			require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "telemetry"}))
			if c.rule == "HUB-8/no-policy" {
				rule.Proves(t, "HUB-67")
			}
		})
	}
}

func TestHTTPUnknownHub(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	r := ask(t, cloud, via{name: "nobody.azure-devices.net"}, postEvents, "x", "Authorization: "+tokenV1)
	wantHubError(t, r, 401, "IotHubNotFound")
	refused(t, cloud, "HUB-11/host")
}

func TestHTTPBatch(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	body := `[{"body":"b25l","base64Encoded":true,"properties":{"iothub-app-Alert":"yes","iothub-messageid":"m1"}},
		{"body":"two","base64Encoded":false},{"body":"dGhyZWU="}]`
	r := contosoSays(t, cloud, postEvents, body, "Content-Type: application/vnd.microsoft.iothub.json")
	require.Equal(t, 204, r.StatusCode, r.body)
	events := telemetry(t, cloud, "dev-01", 3)
	require.Equal(t, "one", string(events[0].Payload))
	require.Equal(t, "yes", events[0].Properties["Alert"])
	require.Equal(t, "m1", events[0].Properties["message-id"])
	require.Equal(t, "two", string(events[1].Payload))
	require.Equal(t, "three", string(events[2].Payload))
	rule.Proves(t, "HUB-61")
}

// Several messages together may be as large as one, and none is kept of a batch that is larger.
func TestHTTPBatchTooLarge(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	half := strings.Repeat("x", 131073)
	r := contosoSays(t, cloud, postEvents, `[{"body":"`+half+`","base64Encoded":false},{"body":"`+half+`","base64Encoded":false}]`,
		"Content-Type: application/vnd.microsoft.iothub.json")
	wantHubError(t, r, 413, "MessageTooLarge")
	require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "telemetry"}))
}
