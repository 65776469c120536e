package e2e

import (
	"crypto/tls"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The default world's tenant of region eu2.
const (
	eu2Scope = "0ne00FAKE02"
	eu2Hub   = "conn-demo2-iothub.azure-devices.net"
	eu2Agent = "demo2_MqttTestAgent"
)

// registerEU2 takes an agent from its certificate to its hub by the page's requests: empty messages, $rid 1 and
// then 2. It returns the final answer.
func registerEU2(t *testing.T, cloud *fakecloud.Cloud, clientID string, cert *tls.Certificate) (registration, string) {
	t.Helper()
	c := dial(t, cloud, via{name: globalDPS, cert: cert})
	send(t, c, rawmqtt.Connect{ClientID: clientID, Username: ptr(eu2Scope + "/registrations/" + clientID + "/api-version=2019-03-31"), Password: ptr("")}.Bytes())
	wantConnack(t, c, 0)
	send(t, c, rawmqtt.Subscribe(1, 1, "$dps/registrations/res/#"))
	wantBytes(t, c, 0x90, 3, 0, 1, 1)
	first := request(t, c, "$dps/registrations/PUT/iotdps-register/?$rid=1", "")
	require.Equal(t, "$dps/registrations/res/202/?$rid=1&retry-after=3", first.Topic(), first.Payload())
	m := assigning.FindStringSubmatch(first.Payload())
	require.NotNil(t, m, first.Payload())
	poll := "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=" + m[1]
	require.Equal(t, "$dps/registrations/res/202/?$rid=2&retry-after=3", request(t, c, poll, "").Topic())
	last := request(t, c, poll, "")
	require.Equal(t, "$dps/registrations/res/200/?$rid=2", last.Topic(), last.Payload())
	var r registration
	require.NoError(t, json.Unmarshal([]byte(last.Payload()), &r))
	return r, last.Payload()
}

// agentEU2 connects a registered agent to its hub, subscribed to its answers.
func agentEU2(t *testing.T, cloud *fakecloud.Cloud, clientID string, cert *tls.Certificate) *rawmqtt.Conn {
	t.Helper()
	c := dial(t, cloud, via{name: eu2Hub, cert: cert})
	send(t, c, rawmqtt.Connect{ClientID: clientID, Username: ptr(eu2Hub + "/" + clientID + "/?api-version=2018-06-30"), Password: ptr("")}.Bytes())
	wantConnack(t, c, 0)
	send(t, c, rawmqtt.Subscribe(1, 1, "devices/"+clientID+"/messages/devicebound/#"))
	wantBytes(t, c, 0x90, 3, 0, 1, 1)
	return c
}

// MS-11 to MS-13: an agent of region eu2 comes to its hub.
func TestMindSphereEU2Onboarding(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	cert := device(t, cloud, eu2Agent)
	r, body := registerEU2(t, cloud, eu2Agent, cert)
	rule.Proves(t, "MS-11")
	require.Equal(t, []string{"assigned", "assigned", eu2Hub, eu2Agent, eu2Agent, "initialAssignment"},
		[]string{r.Status, r.State.Status, r.State.AssignedHub, r.State.DeviceID, r.State.RegistrationID, r.State.Substatus}, body)
	require.Regexp(t, `"x509":\{"enrollmentGroupId":"TenantEnrollmentGroup-TenantCACertificate-demo2"\}`, body)
	require.Regexp(t, `"createdDateTimeUtc":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z"`, body)
	rule.Proves(t, "MS-12")
	made, err := cloud.Await(t.Context(), fakecloud.Filter{Platform: "mindsphere", Kind: "provisioned", Device: eu2Agent}, 1)
	require.NoError(t, err)
	require.Equal(t, "core.mcmqtt", made[0].Properties["type"])

	wantAlive(t, agentEU2(t, cloud, eu2Agent, cert))
	rule.Proves(t, "MS-13")
	registerEU2(t, cloud, eu2Agent, cert)
	require.Len(t, cloud.Events(fakecloud.Filter{Platform: "mindsphere", Kind: "provisioned"}), 1, "one agent, however often it registers")
}

// MS-14: the client id is the common name, and begins with the tenant.
func TestMindSphereEU2Names(t *testing.T) {
	t.Parallel()
	t.Run("common name without tenant", func(t *testing.T) {
		t.Parallel()
		cloud := fakecloud.Start(t)
		cert := device(t, cloud, "MqttTestAgent")
		r, body := registerEU2(t, cloud, "MqttTestAgent", cert)
		require.Equal(t, []string{"failed", "failed", ""}, []string{r.Status, r.State.Status, r.State.AssignedHub}, body)
		e := refused(t, cloud, "MS-14/prefix")
		require.Contains(t, e.Expected, `CN="demo2_MqttTestAgent"`)
		rule.Proves(t, "MS-14")
		c := dial(t, cloud, via{name: eu2Hub, cert: cert})
		send(t, c, rawmqtt.Connect{ClientID: "MqttTestAgent", Username: ptr(eu2Hub + "/MqttTestAgent/?api-version=2018-06-30"), Password: ptr("")}.Bytes())
		wantConnack(t, c, 5)
	})
	t.Run("quotes in the common name", func(t *testing.T) { // set CLIENT_ID="%TENANT%"_"%DEVICE_NAME%" on Windows
		t.Parallel()
		cloud := fakecloud.Start(t)
		e := enrollee{id: eu2Agent, scope: eu2Scope, token: ptr(""), via: via{cert: device(t, cloud, `"demo2"_"MqttTestAgent"`)}}
		wantError(t, register(t, e.open(t, cloud), ""), 401002, ".*")
		require.Contains(t, refused(t, cloud, "DPS-21/cn").Detail, "quotes have become a part")
	})
	t.Run("client id is not the common name", func(t *testing.T) {
		t.Parallel()
		cloud := fakecloud.Start(t)
		c := dial(t, cloud, via{name: globalDPS, cert: device(t, cloud, eu2Agent)})
		send(t, c, rawmqtt.Connect{ClientID: "demo2_Other", Username: ptr(eu2Scope + "/registrations/demo2_Other/api-version=2019-03-31"), Password: ptr("")}.Bytes())
		wantConnack(t, c, 0)
		send(t, c, rawmqtt.Subscribe(1, 1, "$dps/registrations/res/#"))
		wantBytes(t, c, 0x90, 3, 0, 1, 1)
		require.Contains(t, request(t, c, "$dps/registrations/PUT/iotdps-register/?$rid=1", "").Topic(), "$dps/registrations/res/401/")
		refused(t, cloud, "DPS-21/cn")
		rule.Proves(t, "MS-14")
	})
}

const eu2Model = `{"id":"m1","data":{"externalId":"Model","typeModel":{
"aspectTypes":[{"id":"demo2.climate","name":"climate","category":"dynamic","scope":"private","variables":[{"name":"temperature","dataType":"DOUBLE","unit":"C","searchable":true,"qualityCode":true}]}],
"assetTypes":[{"id":"demo2.Pump","name":"Pump","parentTypeId":"core.basicasset","instantiable":true,"scope":"private","aspects":[{"name":"climate","aspectTypeId":"demo2.climate"}],"variables":[]}]},
"instanceModel":{"assets":[{"referenceId":"pump","typeId":"demo2.Pump","name":"Pump 1"}]},
"mappingModel":{"mappings":[{"dataPointId":"temperature","assetReferenceId":"pump","aspectName":"climate","variableName":"temperature"}]}}}`

// devicebound reads an answer that came over the hub and returns its properties and its data.
func devicebound(t *testing.T, c *rawmqtt.Conn) (bag string, data struct {
	RequestID string
	Data      struct{ Status string }
}) {
	t.Helper()
	p := answer(t, c)
	bag, ok := strings.CutPrefix(p.Topic(), "devices/"+eu2Agent+"/messages/devicebound/")
	require.True(t, ok, p.Topic())
	require.NoError(t, json.Unmarshal([]byte(p.Payload()), &data), p.Payload())
	return bag, data
}

// MS-31: applications over the hub's topics, answers on devicebound after the PUBACK.
func TestMindSphereEU2Applications(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	cert := device(t, cloud, eu2Agent)
	registerEU2(t, cloud, eu2Agent, cert)
	c := agentEU2(t, cloud, eu2Agent, cert)
	publish := func(property, body string) {
		t.Helper()
		send(t, c, rawmqtt.Publish("devices/"+eu2Agent+"/messages/events/"+property, body, 1, 9, false))
		wantBytes(t, c, 0x40, 2, 0, 9)
	}
	publish("amo_v3=m", eu2Model)
	bag, a := devicebound(t, c)
	require.Equal(t, "%24.to=%2Fdevices%2F"+eu2Agent+"%2Fmessages%2FdeviceBound&amo_v3=ms", bag)
	require.Equal(t, []string{"m1", "Success"}, []string{a.RequestID, a.Data.Status})

	publish("amo_v3=i", `{"id":"i1","data":{"modelExternalId":"Model","parameterization":{"values":[]}}}`)
	for _, want := range []string{"InProgress", "InProgress", "Success"} {
		bag, a = devicebound(t, c)
		require.True(t, strings.HasSuffix(bag, "&amo_v3=ip"), bag)
		require.Equal(t, want, a.Data.Status)
	}
	publish("mc_v3=ts", `{"timeseries":[{"timestamp":"2026-01-01T00:00:00.000Z","values":[{"dataPointId":"temperature","value":"21.5","qualityCode":"0"}]}]}`)
	wantAlive(t, c)
	pump := assetNamed(t, cloud, "demo2", "Pump 1")
	require.JSONEq(t, `[{"_time":"2026-01-01T00:00:00Z","temperature":21.5,"temperature_qc":"0"}]`,
		gateway(t, cloud, "gateway.eu2.mindsphere.io", "demo2", "/api/iottimeseries/v3/timeseries/"+pump+"/climate"))
	rule.Proves(t, "MS-31")

	for _, wrong := range []struct {
		id                     rule.ID
		property, body, expect string
	}{
		{"MS-31/channel", "amo_v3=mm", eu2Model, "amo_v3=m"},
		{"MS-31/channel", "", "hello", "="},
		{"MS-31/token", "agm_v3=t", `{"id":"r"}`, "another application"},
		{"MS-31/size", "mc_v3=ts", strings.Repeat(" ", 131073), "131072"},
		{"MS-23/unmapped", "mc_v3=ts", `{"timeseries":[{"timestamp":"2026-01-01T00:00:00.000Z","values":[{"dataPointId":"Temperature","value":"1"}]}]}`, "temperature"},
	} {
		publish(wrong.property, wrong.body)
		wantAlive(t, c) // nothing came but the PUBACK
		require.Contains(t, refused(t, cloud, wrong.id).Expected, wrong.expect, "%s", wrong.id)
	}
}

// MS-31: an answer waits at the hub for an agent that does not listen yet, and a device that was put by hand is
// no agent.
func TestMindSphereEU2AnswerWaits(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	cert := device(t, cloud, eu2Agent)
	registerEU2(t, cloud, eu2Agent, cert)
	c := dial(t, cloud, via{name: eu2Hub, cert: cert})
	send(t, c, rawmqtt.Connect{ClientID: eu2Agent, Username: ptr(eu2Hub + "/" + eu2Agent + "/?api-version=2018-06-30"), Password: ptr("")}.Bytes())
	wantConnack(t, c, 0)
	send(t, c, rawmqtt.Publish("devices/"+eu2Agent+"/messages/events/amo_v3=m", "{", 1, 9, false))
	wantBytes(t, c, 0x40, 2, 0, 9)
	wantAlive(t, c)
	send(t, c, rawmqtt.Subscribe(2, 1, "devices/"+eu2Agent+"/messages/devicebound/#"))
	wantBytes(t, c, 0x90, 3, 0, 2, 1)
	_, a := devicebound(t, c)
	require.Equal(t, "Failed", a.Data.Status)

	patch(t, cloud, `azure: {hubs: [{name: conn-demo2-iothub, devices: [{deviceId: demo2_byhand, authentication: {type: sas, symmetricKey: {primaryKey: "`+demoKey+`", secondaryKey: "`+demoKey+`"}}}]}]}`)
	hand := dial(t, cloud, via{name: eu2Hub})
	send(t, hand, rawmqtt.Connect{ClientID: "demo2_byhand", Username: ptr(eu2Hub + "/demo2_byhand/?api-version=2018-06-30"),
		Password: ptr(sasFor(t, demoKey, eu2Hub+"%2Fdevices%2Fdemo2_byhand", farFuture, ""))}.Bytes())
	wantConnack(t, hand, 0)
	send(t, hand, rawmqtt.Publish("devices/demo2_byhand/messages/events/mc_v3=ts", "{}", 1, 9, false))
	wantBytes(t, hand, 0x40, 2, 0, 9)
	refused(t, cloud, "MS-31/agent")
}

var assetID = regexp.MustCompile(`"assetId":"([0-9a-f]{32})"`)

// assetNamed asks the gateway for the id of an asset.
func assetNamed(t *testing.T, cloud *fakecloud.Cloud, tenant, name string) string {
	t.Helper()
	host := "gateway.eu1.mindsphere.io"
	if tenant == "demo2" {
		host = "gateway.eu2.mindsphere.io"
	}
	filter := strings.ReplaceAll(strings.ReplaceAll(`%7B%22name%22%3A%22NAME%22%7D`, "NAME", name), " ", "%20")
	m := assetID.FindStringSubmatch(gateway(t, cloud, host, tenant, "/api/assetmanagement/v3/assets?filter="+filter))
	require.NotNil(t, m, "no asset %q", name)
	return m[1]
}

// gateway asks a REST API of MindSphere for a tenant, whose name is token enough here.
func gateway(t *testing.T, cloud *fakecloud.Cloud, host, tenant, path string) string {
	t.Helper()
	r := ask(t, cloud, via{name: host}, "GET "+path, "", "Authorization: Bearer "+tenant)
	require.Equal(t, 200, r.StatusCode, r.body)
	return r.body
}

// A CA that comes over the REST API is a CA of the tenant's enrollment group: unverified it admits nobody.
func TestMindSphereEU2CertificateAPI(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	const path = "/api/mindconnectmqtt/v3/caCertificates"
	do := func(line, body string) reply {
		t.Helper()
		return ask(t, cloud, via{name: "gateway.eu2.mindsphere.io"}, line, body, "Authorization: Bearer demo2", "Content-Type: application/json")
	}
	ca := issueBy(t, "Second CA", nil, true, nil)
	agent := issueBy(t, "demo2_second", ca, false, nil).tls(ca)
	var x struct{ ID, RegistrationCode string }
	require.NoError(t, json.Unmarshal([]byte(do("POST "+path, `{"certificate":`+ca.yaml()+`}`).body), &x))
	e := enrollee{id: "demo2_second", scope: eu2Scope, token: ptr(""), via: via{cert: agent}}
	wantError(t, register(t, e.open(t, cloud), ""), 401002, ".*")
	refused(t, cloud, "DPS-23/unverified")
	require.NoError(t, json.Unmarshal([]byte(do("GET "+path+"/"+x.ID+"/registrationCode", "").body), &x))
	verified := do("POST "+path+"/"+x.ID+"/verify", `{"certificate":`+issueBy(t, x.RegistrationCode, ca, false, nil).yaml()+`}`)
	require.Equal(t, 200, verified.StatusCode, verified.body)
	r, _ := registerEU2(t, cloud, "demo2_second", agent)
	require.Equal(t, "assigned", r.Status)
	require.Equal(t, 204, do("DELETE "+path+"/"+x.ID, "").StatusCode)
	wantError(t, register(t, e.open(t, cloud), ""), 401002, ".*")
}
