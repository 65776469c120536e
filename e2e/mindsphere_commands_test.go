package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// commanding asks the delivery job API of tenant demo.
func commanding(t *testing.T, cloud *fakecloud.Cloud, line, body string) reply {
	t.Helper()
	return ask(t, cloud, via{name: "gateway.eu1.mindsphere.io"}, line, body, "Authorization: Bearer demo", "Content-Type: application/json")
}

const jobsPath = "/api/commanding/v3/deliveryJobs"

// MS-25, MS-26, MS-27: a job's command, several updates of it, and jobs beyond their limits.
func TestMindSphereCommands(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	p := newPump(t, cloud)
	made := commanding(t, cloud, "POST "+jobsPath, `{"name":"restart","clientIds":["demo_pump-7"],"data":{"k":"v"}}`)
	require.Equal(t, 201, made.StatusCode, made.body)
	var job struct{ ID, Status string }
	require.NoError(t, json.Unmarshal([]byte(made.body), &job))
	command := p.next("cmd_v3/c")
	m := regexp.MustCompile(`^\{"id":"([0-9a-f]{32})","data":\{"jobId":"` + job.ID + `","createdAt":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","payload":\{"k":"v"\}\}\}$`).FindStringSubmatch(command)
	require.NotNil(t, m, command)
	rule.Proves(t, "MS-25")

	state := func() string {
		t.Helper()
		return commanding(t, cloud, "GET "+jobsPath+"/"+job.ID+"/commands/"+m[1], "").body
	}
	for _, u := range []struct{ status, response string }{{"EXECUTING", `{"done":"50"}`}, {"EXECUTING", `{"done":"90"}`}, {"EXECUTED", `{"done":"100"}`}} {
		p.publish("cmd_v3/u", fmt.Sprintf(`{"id":"u","requestId":%q,"data":{"timestamp":"2026-01-01T00:00:00.000Z","jobId":%q,"status":%q,"response":%s}}`, m[1], job.ID, u.status, u.response))
		p.silent()
		require.Contains(t, state(), `"status":"`+u.status+`"`)
		require.Contains(t, state(), `"response":`+u.response)
	}
	require.Contains(t, commanding(t, cloud, "GET "+jobsPath+"/"+job.ID, "").body, `"status":"EXECUTED"`)
	rule.Proves(t, "MS-26")

	many := strings.TrimSuffix(strings.Repeat(`"demo_pump-7",`, 21), ",")
	for id, body := range map[rule.ID]string{
		"MS-27/clients": `{"name":"n","clientIds":[` + many + `],"data":{}}`,
		"MS-27/size":    `{"name":"n","clientIds":["demo_pump-7"],"data":{"k":"` + strings.Repeat("x", 4096) + `"}}`,
		"MS-27/name":    `{"name":"","clientIds":["demo_pump-7"],"data":{}}`,
		"MS-27/data":    `{"name":"n","clientIds":["demo_pump-7"],"data":[]}`,
		"MS-27/agent":   `{"name":"n","clientIds":["demo_pump-8"],"data":{}}`,
		"MS-27/twice":   `{"name":"n","clientIds":["demo_pump-7","demo_pump-7"],"data":{}}`,
	} {
		got := commanding(t, cloud, "POST "+jobsPath, body)
		require.Equal(t, 400, got.StatusCode, got.body)
		require.Contains(t, got.body, `{"errors":[{"code":"`)
		refused(t, cloud, id)
	}
	p.silent()
	rule.Proves(t, "MS-27")
}

// MS-28: a token for an hour, good for the REST APIs; the journal does not show it.
func TestMindSphereToken(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	p := newPump(t, cloud)
	p.publish("agm_v3/t", `{"id":"r1"}`)
	text := p.next("agm_v3/tr")
	m := regexp.MustCompile(`"requestId":"r1","data":\{"access_token":"([^"]+)","token_type":"Bearer","expires_in":3600,"scope":\["mdsp:core:DefaultAgent"\],"jti":"[0-9a-f]{32}","timestamp":\d{10}\}\}$`).FindStringSubmatch(text)
	require.NotNil(t, m, text)
	got := ask(t, cloud, via{name: "gateway.eu1.mindsphere.io"}, "GET /api/assetmanagement/v3/assets", "", "Authorization: Bearer "+m[1])
	require.Equal(t, 200, got.StatusCode, got.body)
	for _, e := range cloud.Events(fakecloud.Filter{}) {
		require.NotContains(t, string(e.Payload), m[1])
	}
	rule.Proves(t, "MS-28")
}

// MS-30: what was sent meanwhile comes with the next connection, and again until it is acknowledged; after an hour
// by the clock nothing is kept.
func TestMindSphereKeptSession(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	cert := device(t, cloud, "pump-7")
	onboard(t, cloud, "demo_pump-7", cert)
	keep := rawmqtt.Connect{ClientID: "demo_pump-7", Keep: true}
	c := attempt(t, cloud, cert, keep)
	wantConnack(t, c, 0)
	send(t, c, rawmqtt.Subscribe(1, 1, pumpIn+"cmd_v3/c"))
	wantBytes(t, c, 0x90, 3, 0, 1, 1)
	send(t, c, []byte{0xe0, 0})
	wantClosed(t, c)
	require.Equal(t, 201, commanding(t, cloud, "POST "+jobsPath, `{"name":"n","clientIds":["demo_pump-7"],"data":{"k":"v"}}`).StatusCode)
	for round, first := range []byte{0x32, 0x3a} { // then marked as a duplicate
		c = attempt(t, cloud, cert, keep)
		wantBytes(t, c, 0x20, 2, 1, 0)
		got := receive(t, c)
		require.Equal(t, first, got.First)
		require.Equal(t, pumpIn+"cmd_v3/c", got.Topic())
		if round == 1 {
			send(t, c, []byte{0x40, 2, byte(got.ID() >> 8), byte(got.ID())})
			wantAlive(t, c)
		}
		require.NoError(t, c.Close())
		awaitClosed(t, cloud, round+2)
	}
	c = attempt(t, cloud, cert, keep)
	wantBytes(t, c, 0x20, 2, 1, 0)
	wantAlive(t, c)
	send(t, c, []byte{0xe0, 0})
	wantClosed(t, c)
	require.NoError(t, cloud.Advance(time.Hour))
	c = attempt(t, cloud, cert, keep)
	wantConnack(t, c, 0)
	rule.Proves(t, "MS-30")
}

// awaitClosed waits until n connections of the agent have ended.
func awaitClosed(t *testing.T, cloud *fakecloud.Cloud, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rawmqtt.Patience)
	defer cancel()
	_, err := cloud.Await(ctx, fakecloud.Filter{Platform: "mindsphere", Device: "demo_pump-7", Match: func(e *fakecloud.Event) bool {
		return e.Kind == "closed" || e.Kind == "disconnect"
	}}, n)
	require.NoError(t, err)
}

// The published rate limits hold where the world asks for them, on the clock under the test's hand.
func TestMindSphereRateLimits(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	list := func() int {
		t.Helper()
		return commanding(t, cloud, "GET /api/mindconnectmqtt/v3/caCertificates/demo-ca/registrationCode", "").StatusCode
	}
	for range 4 {
		require.Equal(t, 200, list())
	}
	patch(t, cloud, `mindsphere: {tenants: [{name: demo, rateLimits: true}]}`)
	require.Equal(t, []int{200, 200, 429}, []int{list(), list(), list()})
	events := cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "http"})
	require.Contains(t, events[len(events)-1].Detail, "2 in 30 s, 10 in an hour")
	require.NoError(t, cloud.Advance(30*time.Second))
	require.Equal(t, 200, list())
}

// CA certificates over REST: at most two, verified by a certificate with the registration code as its name.
func TestMindSphereCertificateAPI(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(`mindsphere: {tenants: [{name: camexia}]}`))
	const path = "/api/mindconnectmqtt/v3/caCertificates"
	do := func(line, body string) reply {
		t.Helper()
		return ask(t, cloud, via{name: "gateway.eu1.mindsphere.io"}, line, body, "Authorization: Bearer camexia", "Content-Type: application/json")
	}
	ca := issueBy(t, "Camexia CA", nil, true, nil)
	made := do("POST "+path, `{"certificate":`+ca.yaml()+`}`)
	require.Equal(t, 201, made.StatusCode, made.body)
	var x struct{ ID, Status, RegistrationCode string }
	require.NoError(t, json.Unmarshal([]byte(made.body), &x))
	require.Equal(t, "UNVERIFIED", x.Status)
	cert := issueBy(t, "pump-7", ca, false, nil).tls(ca)
	wantClosed(t, attempt(t, cloud, cert, rawmqtt.Connect{ClientID: "camexia_pump-7"}))
	refused(t, cloud, "MS-6/unverified")

	require.NoError(t, json.Unmarshal([]byte(do("GET "+path+"/"+x.ID+"/registrationCode", "").body), &x))
	require.NotEmpty(t, x.RegistrationCode)
	wrong := do("POST "+path+"/"+x.ID+"/verify", `{"certificate":`+issueBy(t, "Camexia", ca, false, nil).yaml()+`}`)
	require.Equal(t, 400, wrong.StatusCode)
	require.Contains(t, wrong.body, x.RegistrationCode)
	right := do("POST "+path+"/"+x.ID+"/verify", `{"certificate":`+issueBy(t, x.RegistrationCode, ca, false, nil).yaml()+`}`)
	require.Equal(t, 200, right.StatusCode, right.body)
	require.Contains(t, right.body, `"status":"VERIFIED"`)
	onboard(t, cloud, "camexia_pump-7", cert)
	wantConnack(t, attempt(t, cloud, cert, rawmqtt.Connect{ClientID: "camexia_pump-7"}), 0)

	require.Equal(t, 201, do("POST "+path, `{"certificate":`+issueBy(t, "Second CA", nil, true, nil).yaml()+`}`).StatusCode)
	third := do("POST "+path, `{"certificate":`+issueBy(t, "Third CA", nil, true, nil).yaml()+`}`)
	require.Equal(t, 409, third.StatusCode)
	require.Contains(t, third.body, "at most 2 CA certificates")
	require.Equal(t, 204, do("DELETE "+path+"/"+x.ID, "").StatusCode)
	wantClosed(t, attempt(t, cloud, cert, rawmqtt.Connect{ClientID: "camexia_pump-7"}))
}
