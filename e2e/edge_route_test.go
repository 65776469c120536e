package e2e

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const edgeHubID = "mygateway/$edgeHub"

// deploy sets desired properties of $edgeHub and returns what it reports of them.
func deploy(t *testing.T, cloud *fakecloud.Cloud, desired string) (code float64, description string) {
	t.Helper()
	_, err := cloud.PatchDesired(demoHub, edgeHubID, json.RawMessage(desired))
	require.NoError(t, err)
	text, err := cloud.Twin(demoHub, edgeHubID)
	require.NoError(t, err)
	var twin struct {
		Properties struct {
			Desired struct {
				Version float64 `json:"$version"`
			}
			Reported struct {
				LastDesiredVersion float64
				LastDesiredStatus  struct {
					Code        float64
					Description string
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal(text, &twin))
	r := twin.Properties.Reported
	require.Equal(t, twin.Properties.Desired.Version, r.LastDesiredVersion)
	return r.LastDesiredStatus.Code, r.LastDesiredStatus.Description
}

// filterWorld gives the gateway's own device a module, with the demo key.
const filterWorld = "azure: {hubs: [{name: fakecloud-hub, devices: [{deviceId: mygateway, capabilities: {iotEdge: true}, modules: [{moduleId: filter, authentication: {symmetricKey: {primaryKey: " + demoKey + "}}}]}]}]}"

// EDGE-36: a route to a module's input; the module's output goes on to the hub.
func TestEdgeBrokeredEndpoint(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(filterWorld))
	code, _ := deploy(t, cloud, `{"schemaVersion":"1.0","routes":{
		"in":"FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO BrokeredEndpoint(\"/modules/filter/inputs/in1\")",
		"out":"FROM /messages/modules/filter/outputs/alert INTO $upstream"}}`)
	require.EqualValues(t, 200, code)
	conn := join(t, cloud, leaf())
	say(t, conn, leafSays+"%24.ct=text%2Fplain&k=v", "before") // the module is not there yet
	module := join(t, cloud, child("mygateway/filter"))
	subscribe(t, module, "devices/mygateway/modules/filter/#")
	p := receiveAcked(t, module)
	require.Equal(t, "devices/mygateway/modules/filter/inputs/in1/%24.cdid=demo-leaf&%24.ct=text%2Fplain&k=v", p.Topic())
	require.Equal(t, "before", p.Payload())
	say(t, conn, leafSays, "after")
	p = receiveAcked(t, module)
	require.Equal(t, "devices/mygateway/modules/filter/inputs/in1/%24.cdid=demo-leaf", p.Topic())
	require.Equal(t, "after", p.Payload())
	messages, _ := cloud.Telemetry(demoHub, "", 0, 0)
	require.Empty(t, messages)
	say(t, module, "devices/mygateway/modules/filter/messages/events/%24.on=alert", "hot")
	telemetryAt(t, cloud, "iothub", "mygateway/filter", 1)
	all, _ := cloud.Telemetry(demoHub, "mygateway", 0, 0)
	require.Equal(t, "hot", string(all[0].Body))
	require.Equal(t, "internal", all[0].System["edgeHubOriginInterface"])
	require.Equal(t, "alert", all[0].System["iothub-outputname"])
	rule.Proves(t, "EDGE-36")

	// Without an output a message comes from the module, and from none of its outputs.
	code, _ = deploy(t, cloud, `{"routes":{"out":"FROM /messages/modules/filter/outputs/* INTO $upstream"}}`)
	require.EqualValues(t, 200, code)
	say(t, module, "devices/mygateway/modules/filter/messages/events/", "no output")
	require.Equal(t, "source /messages/modules/filter/", refused(t, cloud, "EDGE-37/unrouted").Seen)
	code, _ = deploy(t, cloud, `{"routes":{"out":"FROM /messages/modules/filter/outputs/alert INTO $upstream"}}`)
	require.EqualValues(t, 200, code)

	say(t, module, "devices/mygateway/modules/filter/messages/events/%24.on=other", "nowhere")
	refused(t, cloud, "EDGE-37/unrouted")
	wantAlive(t, module)
	rule.Proves(t, "EDGE-37")
}

// EDGE-38: a bad configuration leaves the old one in force, and says where it is bad.
func TestEdgeBadConfiguration(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	code, _ := deploy(t, cloud, `{"schemaVersion":"1.1","routes":{"r":"FROM /messages/* INTO $upstream"}}`)
	require.EqualValues(t, 200, code)
	for _, c := range [][2]string{
		{`{"routes":{"r":"FROM /messages/* WHERE temp > 5 INTO $upstream"}}`, "routes.r: column 29: > takes two values of one type"},
		{`{"routes":{"r":"FROM /messages/* INTO upstream"}}`, "routes.r: column 23: there is no endpoint upstream"},
		{`{"routes":{"r":{"route":"FROM /* INTO $upstream","priority":10}}}`, "priority: is 10; it is 0 (first) to 9"},
		{`{"routes":{"r":{"route":"FROM /* INTO $upstream","priority":null,"timeToLiveSecs":-1}}}`, "timeToLiveSecs: is -1"},
		{`{"routes":{"r":{"route":null,"timeToLiveSecs":null,"rute":"x"}}}`, "routes.r: is a text, or {"},
		{`{"routes":null,"schemaVersion":"2.0"}`, `schemaVersion: is "2.0"`},
		{`{"schemaVersion":null}`, "schemaVersion: is missing"},
		{`{"schemaVersion":"1.0","routes":{"r":{"route":"FROM /* INTO $upstream"}}}`, "needs 1.1"},
		{`{"schemaVersion":"1.1","storeAndForwardConfiguration":{"timeToLiveSecs":"long"}}`, "storeAndForwardConfiguration.timeToLiveSecs: is a string"},
		{`{"storeAndForwardConfiguration":{"timeToLiveSecs":7200,"storeLimits":{"maxSizeBytes":0}}}`, "maxSizeBytes: is more than 0"},
	} {
		code, description := deploy(t, cloud, c[0])
		require.EqualValues(t, 400, code, c[0])
		require.Contains(t, description, c[1])
		say(t, conn, leafSays, "still routed")
	}
	refused(t, cloud, "EDGE-38/config")
	require.Len(t, atHub(t, cloud, "demo-leaf", 10), 10)
	code, _ = deploy(t, cloud, `{"schemaVersion":"1.1","routes":null,"storeAndForwardConfiguration":null}`)
	require.EqualValues(t, 200, code)
	say(t, conn, leafSays, "no routes at all")
	refused(t, cloud, "EDGE-37/unrouted")
	rule.Proves(t, "EDGE-38")

	_, err := fakecloud.New(t.Context(), fakecloud.WithWorld(`edge: {gateways: [{hostname: gw.test, hub: fakecloud-hub, edgeHub: {desired: {schemaVersion: "1.1", routes: {r: "FROM x"}}}}]}`))
	require.ErrorContains(t, err, "edgeHub.desired.routes.r: column 6: a source such as")
}

// What a back end replaces takes the place of all that was there, though the patch that tells of it names what is new
// only: also in what the gateway keeps.
func TestEdgeReplacedTwins(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	b := newBackend(t, cloud, demoHub)
	b.token = sign(demoHub, "ZmFrZWNsb3VkLXRlc3Qta2V5LWlvdGh1Ym93bmVyLTEtLS0tLS0tLS0tLS0=", later, "iothubowner")
	code, _ := deploy(t, cloud, `{"schemaVersion":"1.1","routes":{"a":"FROM /messages/* INTO $upstream","b":"FROM /* INTO $upstream"}}`)
	require.EqualValues(t, 200, code)
	answer, _ := b.do("PUT", "/twins/mygateway/modules/%24edgeHub", `{"properties":{"desired":{"schemaVersion":"1.1","routes":{"only":"FROM /messages/* INTO $upstream"}}}}`)
	require.Equal(t, 200, answer.StatusCode)
	state, err := cloud.EdgeGateway(edgeGateway)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"only": "FROM /messages/* INTO $upstream"}, state.Routes)

	conn := join(t, cloud, leaf())
	subscribe(t, conn, "$iothub/twin/PATCH/properties/desired/#", "$iothub/twin/res/#")
	_, err = cloud.PatchDesired(demoHub, "demo-leaf", json.RawMessage(`{"old":1}`))
	require.NoError(t, err)
	require.Equal(t, `{"$version":2,"old":1}`, receiveAcked(t, conn).Payload())
	answer, _ = b.do("PUT", "/twins/demo-leaf", `{"properties":{"desired":{"new":1}}}`)
	require.Equal(t, 200, answer.StatusCode)
	require.Equal(t, `{"$version":3,"new":1}`, receiveAcked(t, conn).Payload())
	upstream(t, cloud, false)
	send(t, conn, rawmqtt.Publish("$iothub/twin/GET/?$rid=1", "", 0, 0, false))
	require.Contains(t, receiveAcked(t, conn).Payload(), `{"desired":{"$version":3,"new":1}`)
}

// EDGE-39: priorities while the hub is away; a message that two routes lead to one endpoint goes there once.
func TestEdgePriorities(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(`
edge:
  gateways:
    - hostname: mygateway.contoso.com
      edgeHub:
        desired:
          schemaVersion: "1.1"
          routes:
            bulk: {route: "FROM /messages/* INTO $upstream", priority: 5}
            alert: {route: "FROM /messages/* WHERE kind = 'alert' INTO $upstream", priority: 0, timeToLiveSecs: 60}
`))
	conn := join(t, cloud, leaf())
	upstream(t, cloud, false)
	for _, m := range []string{"kind=bulk", "kind=alert", "kind=bulk", "kind=alert"} {
		say(t, conn, leafSays+m, m)
	}
	state, err := cloud.EdgeGateway(edgeGateway)
	require.NoError(t, err)
	require.Equal(t, 4, state.Queue.Messages)
	require.Equal(t, 0, state.Queue.Lanes[0].Priority)
	require.Equal(t, 2, state.Queue.Lanes[1].Messages)
	upstream(t, cloud, true)
	var bodies []string
	for _, m := range atHub(t, cloud, "demo-leaf", 4) {
		bodies = append(bodies, string(m.Body))
	}
	require.Equal(t, []string{"kind=alert", "kind=alert", "kind=bulk", "kind=bulk"}, bodies)
	rule.Proves(t, "EDGE-39")
}

// Changes of reported properties are messages too, whose sender is the child.
func TestEdgeTwinChangeNotifications(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(filterWorld))
	deploy(t, cloud, `{"schemaVersion":"1.1","routes":{"t":"FROM /twinChangeNotifications WHERE twin_change_includes('fw') INTO BrokeredEndpoint(\"/modules/filter/inputs/twins\")"}}`)
	module := join(t, cloud, child("mygateway/filter"))
	subscribe(t, module, "devices/mygateway/modules/filter/#")
	conn := join(t, cloud, leaf())
	subscribe(t, conn, "$iothub/twin/res/#")
	send(t, conn, rawmqtt.Publish("$iothub/twin/PATCH/properties/reported/?$rid=1", `{"other":1}`, 0, 0, false))
	receiveAcked(t, conn)
	send(t, conn, rawmqtt.Publish("$iothub/twin/PATCH/properties/reported/?$rid=2", `{"fw":"2"}`, 0, 0, false))
	receiveAcked(t, conn)
	p := receiveAcked(t, module)
	require.Contains(t, p.Topic(), "/inputs/twins/%24.cdid=demo-leaf&")
	require.Contains(t, p.Topic(), "%24.schema=twinChangeNotification")
	require.Equal(t, `{"fw":"2"}`, p.Payload())
}

// ownClients is what $edgeHub has reported of its clients.
func ownClients(t *testing.T, cloud *fakecloud.Cloud) map[string]map[string]any {
	t.Helper()
	text, err := cloud.Twin(demoHub, edgeHubID)
	require.NoError(t, err)
	var twin struct {
		Properties struct {
			Reported struct{ Clients map[string]map[string]any }
		}
	}
	require.NoError(t, json.Unmarshal(text, &twin))
	return twin.Properties.Reported.Clients
}

// The gateway reports who is connected, and answers its own method.
func TestEdgeHubModule(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	conn := join(t, cloud, leaf())
	say(t, conn, leafSays, "x")
	require.Equal(t, "Connected", ownClients(t, cloud)["demo-leaf"]["status"])
	r, err := cloud.InvokeMethod(t.Context(), demoHub, edgeHubID, "RefreshDeviceScopeIdentityCache", nil, 0)
	require.NoError(t, err)
	require.Equal(t, 200, r.Status)
	r, err = cloud.InvokeMethod(t.Context(), demoHub, edgeHubID, "other", nil, 0)
	require.NoError(t, err)
	require.Equal(t, 404, r.Status)
}
