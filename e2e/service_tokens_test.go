package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// refusedFor waits for the journal to name id as the reason for refusing this very request (method and path).
func refusedFor(t *testing.T, cloud *fakecloud.Cloud, id rule.ID, line string) fakecloud.Event {
	t.Helper()
	line, _, _ = strings.Cut(line, "?")
	ctx, cancel := context.WithTimeout(t.Context(), rawmqtt.Patience)
	defer cancel()
	events, err := cloud.Await(ctx, fakecloud.Filter{Rule: id, Match: func(e *fakecloud.Event) bool {
		return e.Kind == "refused" && e.Topic == line
	}}, 1)
	require.NoError(t, err, "the journal does not name %s for %s", id, line)
	e := events[0]
	require.NotEmpty(t, e.Detail)
	require.NotEmpty(t, e.Fix)
	require.NotEmpty(t, e.Source)
	rule.Proves(t, id)
	return e
}

// wantMethodError checks an error answer of direct methods, which is JSON within JSON.
func wantMethodError(t *testing.T, r reply, status, code int, name string) (message string) {
	t.Helper()
	require.Equal(t, status, r.StatusCode, r.body)
	require.Equal(t, name, r.Header.Get("iothub-errorcode"))
	var outer struct{ Message, ExceptionMessage string }
	require.NoError(t, json.Unmarshal([]byte(r.body), &outer), r.body)
	require.Empty(t, outer.ExceptionMessage)
	var inner struct {
		ErrorCode                         int
		TrackingID, Message, TimestampUTC string
		Info                              map[string]string
	}
	require.NoError(t, json.Unmarshal([]byte(outer.Message), &inner), outer.Message)
	require.Equal(t, code, inner.ErrorCode)
	require.NotEmpty(t, inner.TrackingID)
	require.NotEmpty(t, inner.Message)
	require.NotEmpty(t, inner.TimestampUTC)
	require.NotNil(t, inner.Info)
	return inner.Message
}

// hubFamily is an API of the hub with one request of it, and a policy that lacks its right.
type hubFamily struct {
	name, line, body string
	lacking          string // policy
	device           bool   // a request of the device API
}

var hubFamilies = []hubFamily{
	{"identities", "GET /devices/dev-01", "", "service", false},
	{"new identities", "PUT /devices/dev-77", `{"deviceId":"dev-77"}`, "service", false},
	{"modules", "GET /devices/dev-01/modules/mod-a", "", "service", false},
	{"twins", "PATCH /twins/dev-01", `{"tags":{"a":1}}`, "device", false},
	{"module twins", "GET /twins/dev-01/modules/mod-a", "", "device", false},
	{"methods", "POST /twins/dev-01/methods", `{"methodName":"m"}`, "device", false},
	{"query", "POST /devices/query", `{"query":"SELECT * FROM devices"}`, "device", false},
	{"jobs", "PUT /jobs/v2/j1", `{"type":"scheduleUpdateTwin"}`, "service", false},
	{"configurations", "PUT /configurations/c1", `{"id":"c1"}`, "service", false},
	{"statistics", "GET /statistics/devices", "", "service", false},
	{"feedback", "GET /messages/serviceBound/feedback", "", "device", false},
	{"messages", "POST /devices/dev-01/messages/events", "x", "service", true},
	{"files", "POST /devices/dev-01/files", `{"blobName":"b"}`, "service", true},
}

// badToken is what is wrong with a request's token, and the reason of either API.
type badToken struct {
	name            string
	token           string
	service, device rule.ID
}

func badTokens(f hubFamily) []badToken {
	later, before := time.Now().Add(time.Hour).Unix(), time.Now().Add(-time.Hour).Unix()
	return []badToken{
		{"wrong", sign(contosoHost, groupKey, later, "iothubowner"), "SVC-29/signature", "HUB-5/signature"},
		{"expired", sign(contosoHost, demoKey, before, "iothubowner"), "SVC-29/expired", "HUB-6/expired"},
		{"missing", "", "SVC-29/missing", "HUB-60/authorization"},
		{"no token", "SharedAccessSignature", "SVC-29/malformed", "HUB-5/malformed"},
		{"of no policy", sign(contosoHost, demoKey, later, "nobody"), "SVC-29/policy", "HUB-8/policy"},
		{"of a policy without the right", sign(contosoHost, demoKey, later, f.lacking), "SVC-30/rights", "HUB-8/rights"},
		{"of another hub", sign(demoHub, demoKey, later, "iothubowner"), "SVC-29/resource", "HUB-7/resource"},
	}
}

// SVC-29 and SVC-30 for one request of each API: nothing that a token can have wrong opens any of them, the
// wire says as little as the hub's does, and the journal why.
func TestServiceTokensRefused(t *testing.T) {
	t.Parallel()
	cloud := startContoso(t)
	for _, f := range hubFamilies {
		for _, bad := range badTokens(f) {
			t.Run(f.name+"/"+bad.name, func(t *testing.T) {
				t.Parallel()
				header := []string{"Content-Type: application/json"}
				if bad.token != "" {
					header = append(header, "Authorization: "+bad.token)
				}
				r := ask(t, cloud, via{name: contosoHost}, f.line+version, f.body, header...)
				id, name, code := bad.service, "IotHubUnauthorized", 401003
				if f.device {
					id = bad.device
				}
				if strings.HasSuffix(string(id), "/rights") || id == "HUB-8/policy" {
					name, code = "IotHubUnauthorizedAccess", 401002
				}
				switch {
				case f.name == "methods":
					wantMethodError(t, r, 401, code, name)
				case f.device:
					wantHubError(t, r, 401, name)
				default:
					wantServiceError(t, r, 401, name)
				}
				e := refusedFor(t, cloud, id, f.line)
				require.Equal(t, 401, *e.Code)
				require.Equal(t, contosoHost, e.Endpoint)
				if _, signature, ok := strings.Cut(bad.token, "&sig="); ok {
					require.NotContains(t, e.Seen+e.Expected+e.Detail, signature[:20])
				}
			})
		}
	}
	t.Cleanup(func() {
		require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "telemetry"}), "nothing got through")
	})
}
