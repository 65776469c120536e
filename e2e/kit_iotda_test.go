package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/iotda"
)

// kitNode is the default world's device on the kit.
func kitNode(t *testing.T, cloud *fakecloud.Cloud) iotda.Config {
	t.Helper()
	return iotda.Config{
		Host: iotdaMQTT, DeviceID: node1, Credential: iotda.Secret("12345678"), TLS: trusting(t, cloud), Dial: cloud.DialContext,
	}
}

// node connects a device and closes it with the test.
func node(t *testing.T, ctx context.Context, cfg iotda.Config) *iotda.Device {
	t.Helper()
	d, err := iotda.Dial(ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close(context.Background())) })
	return d
}

// said is the status and body of an API call that waits for the device.
func said(t *testing.T, cloud *fakecloud.Cloud, method, path, body string) <-chan string {
	answer := make(chan string, 1)
	go func() {
		r := iotdaSays(t, cloud, method, path, body)
		answer <- fmt.Sprint(r.StatusCode, " ", r.body)
	}()
	return answer
}

// A device with everything that the platform offers to one.
func TestIoTDAKit(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	set := iotdaSays(t, cloud, "PUT", "/devices/demo_node1/shadow", `{"shadow":[{"service_id":"Battery","desired":{"batteryLevel":50}}]}`)
	require.Equal(t, http.StatusOK, set.StatusCode, set.body)
	require.Equal(t, http.StatusCreated, iotdaSays(t, cloud, "POST", "/devices/demo_node1/messages", `{"message":"early","ttl":1440}`).StatusCode)

	wanted := make(chan string, 4)
	cfg := kitNode(t, cloud)
	cfg.OnSet = func(_ context.Context, id string, list []iotda.Service) error {
		wanted <- fmt.Sprint(id, " ", list[0].ID, " ", list[0].Properties)
		return nil
	}
	d := node(t, ctx, cfg)
	require.Equal(t, "demo_node1 Battery map[batteryLevel:50]", next(t, ctx, wanted), "what was desired while it was away")
	_, err := cloud.Await(ctx, fakecloud.Filter{Device: node1, Kind: "publish", Match: func(e *fakecloud.Event) bool { return strings.Contains(e.Topic, "/properties/set/response/") }}, 1)
	require.NoError(t, err, "its answer, which counts as a report")

	require.NoError(t, d.Report(ctx, iotda.Service{ID: "Connectivity", Properties: map[string]any{"dailyActivityTime": 57}},
		iotda.Service{ID: "Battery", Properties: map[string]any{"batteryLevel": 80}, Time: time.Date(2015, 12, 12, 12, 12, 12, 0, time.UTC)}))
	require.EqualValues(t, 80, reported(t, cloud, node1, "Battery")["batteryLevel"])
	shadow, err := d.Shadow(ctx, "Battery")
	require.NoError(t, err)
	require.Len(t, shadow, 1)
	require.Equal(t, json.Number("80"), shadow[0].Reported["batteryLevel"])
	require.Equal(t, json.Number("50"), shadow[0].Desired["batteryLevel"])
	require.Equal(t, 2015, shadow[0].ReportedTime.Year())
	shadow, err = d.Shadow(ctx, "")
	require.NoError(t, err)
	require.Len(t, shadow, 2)

	// Commands, and properties set and asked for.
	answer := said(t, cloud, "POST", "/devices/demo_node1/commands", `{"service_id":"Battery","command_name":"recharge","paras":{"hours":2}}`)
	require.Contains(t, next(t, ctx, answer), `{"result_code":1,"paras":{"error":"not supported by the device"}}`)
	d.OnCommand(func(_ context.Context, c iotda.Command) (iotda.Response, error) {
		if c.Name == "explode" {
			return iotda.Response{}, &iotda.Failure{Code: 9, Text: "no"}
		}
		return iotda.Response{Name: "ok", Paras: c.Paras}, nil
	})
	answer = said(t, cloud, "POST", "/devices/demo_node1/commands", `{"service_id":"Battery","command_name":"recharge","paras":{"hours":2}}`)
	require.Contains(t, next(t, ctx, answer), `"response":{"result_code":0,"response_name":"ok","paras":{"hours":2}}`)
	answer = said(t, cloud, "POST", "/devices/demo_node1/commands", `{"service_id":"Battery","command_name":"explode","paras":{}}`)
	require.Contains(t, next(t, ctx, answer), `"result_code":9`)
	answer = said(t, cloud, "PUT", "/devices/demo_node1/properties", `{"services":[{"service_id":"Battery","properties":{"batteryLevel":51}}]}`)
	require.Equal(t, "demo_node1 Battery map[batteryLevel:51]", next(t, ctx, wanted))
	require.Contains(t, next(t, ctx, answer), `"result_desc":"success"`)
	d.OnGet(func(_ context.Context, _, service string) ([]iotda.Service, error) {
		return []iotda.Service{{ID: service, Properties: map[string]any{"batteryLevel": 79}}}, nil
	})
	answer = said(t, cloud, "GET", "/devices/demo_node1/properties?service_id=Battery", "")
	require.Contains(t, next(t, ctx, answer), `"batteryLevel":79`)

	// Messages both ways, and custom topics.
	messages := make(chan string, 4)
	require.NoError(t, d.OnMessage(ctx, func(_ context.Context, m iotda.Message) { messages <- string(m.Content) }))
	require.Equal(t, `"early"`, next(t, ctx, messages))
	require.Equal(t, http.StatusCreated, iotdaSays(t, cloud, "POST", "/devices/demo_node1/messages", `{"message":{"hello":1}}`).StatusCode)
	require.Equal(t, `{"hello":1}`, next(t, ctx, messages))
	require.NoError(t, d.SendMessage(ctx, iotda.Text("up")))
	topics := make(chan string, 4)
	require.NoError(t, d.Subscribe(ctx, "plant/+/alarm", func(topic string, body []byte) { topics <- topic + " " + string(body) }))
	require.Equal(t, http.StatusCreated, iotdaSays(t, cloud, "POST", "/devices/demo_node1/messages",
		`{"message":"hot","topic_full_name":"plant/7/alarm","payload_format":"raw"}`).StatusCode)
	require.Contains(t, next(t, ctx, topics), "plant/7/alarm ")
	require.NoError(t, d.Publish(ctx, d.UserTopic("log"), []byte("x")))
	var refused *clientkit.SubscribeError
	require.ErrorAs(t, d.Subscribe(ctx, "$oc/devices/other/sys/#", func(string, []byte) {}), &refused)

	// Events.
	behind, err := d.SyncTime(ctx)
	require.NoError(t, err)
	require.Less(t, behind.Abs(), time.Minute)
	require.NoError(t, d.ReportInfo(ctx, iotda.Info{SoftwareVersion: "1.1", FirmwareVersion: "2.2"}))
	shown := iotdaSays(t, cloud, "GET", "/devices/demo_node1", "").body
	for _, want := range []string{`"device_sdk_version":"fakecloud-clientkit"`, `"sw_version":"1.1"`, `"fw_version":"2.2"`, `"status":"ONLINE"`} {
		require.Contains(t, shown, want)
	}
	require.NoError(t, d.ReportVersions(ctx, iotda.Versions{Software: "1.2"}))
	require.NoError(t, d.ReportProgress(ctx, iotda.Progress{Percent: 50}))

	// The connection is lost under a report, which arrives all the same.
	inject(t, cloud, fakecloud.Fault{Match: fakecloud.FaultMatch{Step: "publish"}, Action: fakecloud.FaultAction{Close: true}, Count: 1})
	require.NoError(t, d.Report(ctx, iotda.Service{ID: "Battery", Properties: map[string]any{"batteryLevel": 12}}))
	require.NotEmpty(t, cloud.Events(fakecloud.Filter{Device: node1, Kind: "property", Match: func(e *fakecloud.Event) bool {
		return strings.Contains(string(e.Payload), `"batteryLevel":12`)
	}}))
}

// A gateway makes children, speaks for them, and hears of those that the application makes.
func TestIoTDAKitGateway(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(gatewayWorld))
	ctx := patience(t)
	cfg := kitNode(t, cloud)
	cfg.Sign, cfg.Gzip = iotda.SignChecked, true
	cfg.OnCommand = func(_ context.Context, c iotda.Command) (iotda.Response, error) {
		return iotda.Response{Paras: map[string]any{"for": c.DeviceID}}, nil
	}
	d := node(t, ctx, cfg)
	children, failed, err := d.AddChildren(ctx, iotda.NewChild{NodeID: "s1", ProductID: "demo", Name: "sensor"}, iotda.NewChild{NodeID: "s2", ProductID: "none"})
	require.NoError(t, err)
	require.Equal(t, "demo_s1", children[0].DeviceID)
	require.Len(t, failed, 1)
	require.Equal(t, "s2", failed[0].NodeID)
	battery := []iotda.Service{{ID: "Battery", Properties: map[string]any{"batteryLevel": 7}}}
	require.NoError(t, d.ReportChildren(ctx, iotda.ChildReport{DeviceID: "demo_s1", Services: battery}, iotda.ChildReport{DeviceID: "demo_foreign", Services: battery}))
	require.EqualValues(t, 7, reported(t, cloud, "demo_s1", "Battery")["batteryLevel"])
	require.Nil(t, reported(t, cloud, "demo_foreign", "Battery"))
	failed, err = d.SetChildrenOnline(ctx, true, "demo_s1", "demo_foreign")
	require.NoError(t, err)
	require.Len(t, failed, 1)
	answer := said(t, cloud, "POST", "/devices/demo_s1/commands", `{"service_id":"Battery","command_name":"x","paras":{}}`)
	require.Contains(t, next(t, ctx, answer), `"for":"demo_s1"`)
	shadow, err := d.ChildShadow(ctx, "demo_s1", "Battery")
	require.NoError(t, err)
	require.Equal(t, json.Number("7"), shadow[0].Reported["batteryLevel"])

	changes := make(chan iotda.ChildrenChange, 4)
	require.NoError(t, d.OnChildren(func(_ context.Context, c iotda.ChildrenChange) { changes <- c }))
	added := iotdaSays(t, cloud, "POST", "/devices", `{"node_id":"s3","product_id":"demo","gateway_id":"demo_node1"}`)
	require.Equal(t, http.StatusCreated, added.StatusCode, added.body)
	change := next(t, ctx, changes)
	require.Equal(t, "demo_s3", change.Children[0].DeviceID)
	list, version, err := d.SyncChildren(ctx, change.Version-1)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, change.Version, version)
	gone, failed, err := d.DeleteChildren(ctx, "demo_s1", "demo_foreign")
	require.NoError(t, err)
	require.Equal(t, []string{"demo_s1"}, gone)
	require.Len(t, failed, 1)
	require.True(t, next(t, ctx, changes).Deleted)
}

// Wrong credentials are told by code, and named in the journal.
func TestIoTDAKitRefused(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	for want, change := range map[string]func(*iotda.Config){
		"DA-2":  func(c *iotda.Config) { c.Credential = iotda.Secret("wrong-secret") },
		"DA-9":  func(c *iotda.Config) { c.DeviceID = "demo_node2" },
		"DA-17": func(c *iotda.Config) { c.Credential = iotda.X509(*device(t, cloud, "x")) },
		"DA-5": func(c *iotda.Config) {
			c.Sign, c.Timing.Now = iotda.SignChecked, func() time.Time { return time.Now().Add(-3 * time.Hour) }
		},
	} {
		cfg := kitNode(t, cloud)
		change(&cfg)
		_, err := iotda.Dial(ctx, cfg)
		var refused *iotda.ConnectError
		require.ErrorAs(t, err, &refused, want)
		require.EqualValues(t, 4, refused.ReturnCode, want)
		events := cloud.Events(fakecloud.Filter{Platform: "iotda", Kind: "refused"})
		require.True(t, strings.HasPrefix(string(events[len(events)-1].Rule), want), "%s: %s", want, events[len(events)-1].Rule)
	}
}

// A certificate in place of the secret; a second connection takes the first one's place, which comes back.
func TestIoTDAKitCertificateAndTakeover(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ctx := patience(t)
	made := iotdaSays(t, cloud, "POST", "/devices", `{"node_id":"c1","product_id":"demo","auth_info":{"auth_type":"CERTIFICATES"}}`)
	require.Equal(t, http.StatusCreated, made.StatusCode, made.body)
	cfg := kitNode(t, cloud)
	cfg.DeviceID, cfg.Credential = "demo_c1", iotda.X509(*device(t, cloud, "c1"))
	states := newStates[iotda.State]()
	cfg.OnState = states.note
	first := node(t, ctx, cfg)
	cfg.OnState = nil
	second, err := iotda.Dial(ctx, cfg)
	require.NoError(t, err)
	require.NoError(t, second.Close(ctx))
	states.await(t, ctx, func(seen []iotda.State) bool {
		connected := 0
		for _, s := range seen {
			if s == iotda.Connected {
				connected++
			}
		}
		return connected >= 2
	})
	require.NoError(t, first.Report(ctx, iotda.Service{ID: "Battery", Properties: map[string]any{"batteryLevel": 5}}))
	require.EqualValues(t, 5, reported(t, cloud, "demo_c1", "Battery")["batteryLevel"])
}

// The provisioning service tells a device of an enrollment group its server and its secret.
func TestIoTDAKitProvisions(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(vectorWorld))
	ctx := patience(t)
	group, err := iotda.GroupSecret("Z3JvdXBzZWNyZXQtMDE=")
	require.NoError(t, err)
	ask := iotda.ProvisionConfig{Host: "iot-bs.cn-north-4.myhuaweicloud.com", DeviceID: vectorDevice, ScopeID: "scope1", Credential: group,
		TLS: trusting(t, cloud), Dial: cloud.DialContext}
	assignment, err := iotda.Provision(ctx, ask)
	require.NoError(t, err)
	require.Equal(t, iotda.Assignment{Host: iotdaMQTT, Port: 8883, DeviceSecret: "mySecret_0123"}, assignment)
	ask.Keyword = "nowhere"
	_, err = iotda.Provision(ctx, ask)
	var refused *iotda.ProvisionError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "100414", refused.Code)
	cfg := kitNode(t, cloud)
	cfg.Host, cfg.DeviceID, cfg.Credential = assignment.Host, vectorDevice, iotda.Secret(assignment.DeviceSecret)
	require.NoError(t, node(t, ctx, cfg).Report(ctx, iotda.Service{ID: "Battery", Properties: map[string]any{"batteryLevel": 1}}))
}
