package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/e2e/rawmqtt"
)

// paras reads the parameters of the one event that a device was sent.
func paras(t *testing.T, p rawmqtt.Packet, service, kind string) map[string]any {
	t.Helper()
	require.Equal(t, node1Sys+"events/down", p.Topic())
	var body struct {
		Services []struct {
			ServiceID string `json:"service_id"`
			EventType string `json:"event_type"`
			EventID   string `json:"event_id"`
			Paras     map[string]any
		}
	}
	require.NoError(t, json.Unmarshal([]byte(p.Payload()), &body), p.Payload())
	require.Len(t, body.Services, 1)
	require.Equal(t, service, body.Services[0].ServiceID)
	require.Equal(t, kind, body.Services[0].EventType)
	require.NotEmpty(t, body.Services[0].EventID)
	return body.Services[0].Paras
}

// event is one event of a device.
func event(service, kind, paras string) string {
	return `{"object_device_id":"demo_node1","services":[{"service_id":"` + service + `","event_type":"` + kind + `","event_time":"20151212T121212Z","paras":` + paras + `}]}`
}

func sha256Hex(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// fetch asks for a signed address as a device does.
func fetch(t *testing.T, cloud *fakecloud.Cloud, method string, address any, body string) reply {
	t.Helper()
	u, err := url.Parse(fmt.Sprint(address))
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%s:%d", iotdaMQTT, cloud.Ports().HTTPS[0]), u.Host)
	return ask(t, cloud, via{name: u.Hostname()}, method+" "+u.RequestURI(), body)
}

// A device uploads a file to the address that it asked for, and downloads it again; another object, another
// method and an address that was tampered with are refused. The journal shows no signature.
func TestIoTDAFiles(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	c := online(t, cloud)
	up := node1Sys + "events/up"
	puback(t, c, up, event("$file_manager", "get_upload_url", `{"file_name":"log.txt","file_attributes":{"hash_code":"58059181f378062f9b446e884362a526","size":5}}`), 1)
	grant := paras(t, receive(t, c), "$file_manager", "get_upload_url_response")
	require.Equal(t, "log.txt", grant["object_name"])
	require.EqualValues(t, 3600, grant["expire"])
	require.Equal(t, map[string]any{"hash_code": "58059181f378062f9b446e884362a526", "size": float64(5)}, grant["file_attributes"])
	require.Equal(t, http.StatusOK, fetch(t, cloud, "PUT", grant["url"], "hello").StatusCode)
	require.Equal(t, http.StatusForbidden, fetch(t, cloud, "GET", grant["url"], "").StatusCode, "the address is for PUT")
	require.Equal(t, http.StatusForbidden, fetch(t, cloud, "PUT", strings.Replace(fmt.Sprint(grant["url"]), "log.txt", "other.txt", 1), "x").StatusCode)
	puback(t, c, up, event("$file_manager", "upload_result_report", `{"object_name":"log.txt","result_code":0,"status_code":200,"status_description":"done"}`), 2)

	puback(t, c, up, event("$file_manager", "get_download_url", `{"file_name":"log.txt"}`), 3)
	grant = paras(t, receive(t, c), "$file_manager", "get_download_url_response")
	got := fetch(t, cloud, "GET", grant["url"], "")
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Equal(t, "hello", got.body)
	part := fetchRange(t, cloud, grant["url"])
	require.Equal(t, http.StatusPartialContent, part.StatusCode)
	require.Equal(t, "ell", part.body)

	puback(t, c, up, event("$file_manager", "get_upload_url", `{"file_name":"../x"}`), 4)
	refused(t, cloud, "DA-35/entry")
	for _, e := range cloud.Events(fakecloud.Filter{Platform: "iotda"}) {
		text, err := json.Marshal(e)
		require.NoError(t, err)
		require.NotRegexp(t, `Signature=[0-9a-f]`, string(text)+string(e.Payload))
	}
}

func fetchRange(t *testing.T, cloud *fakecloud.Cloud, address any) reply {
	t.Helper()
	u, err := url.Parse(fmt.Sprint(address))
	require.NoError(t, err)
	return ask(t, cloud, via{name: u.Hostname()}, "GET "+u.RequestURI(), "", "Range: bytes=1-3")
}

// An upgrade from its package to its end: the platform asks for the version, sends the address of the
// package, which the device downloads and reports on; a device that has the version is done at once.
func TestIoTDAUpgrade(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	require.Equal(t, http.StatusOK, ask(t, cloud, via{name: iotdaAPI}, "PUT /obs/packages/pump-2.bin", "firmware of version 2").StatusCode)
	wrong := iotdaSays(t, cloud, "POST", "/ota-upgrades/packages", `{"package_type":"firmwarePackage","product_id":"demo","version":"v2","file_location":{"obs_location":{"bucket_name":"packages","object_key":"none"}}}`)
	require.Equal(t, http.StatusBadRequest, wrong.StatusCode)
	made := iotdaSays(t, cloud, "POST", "/ota-upgrades/packages", `{"package_type":"firmwarePackage","product_id":"demo","version":"v2","custom_info":"hi","file_location":{"obs_location":{"region_name":"cn-north-4","bucket_name":"packages","object_key":"pump-2.bin"}}}`)
	require.Equal(t, http.StatusCreated, made.StatusCode, made.body)
	var p struct {
		ID string `json:"package_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(made.body), &p))
	task := iotdaSays(t, cloud, "POST", "/batchtasks", `{"task_name":"to-v2","task_type":"firmwareUpgrade","targets":["demo_node1"],"document":{"package_id":"`+p.ID+`"}}`)
	require.Equal(t, http.StatusCreated, task.StatusCode, task.body)
	require.Contains(t, task.body, `"status":"Waitting"`, "the device is away")
	var made1 struct {
		ID string `json:"task_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(task.body), &made1))

	c := online(t, cloud)
	require.Empty(t, paras(t, receive(t, c), "$ota", "version_query"))
	puback(t, c, node1Sys+"events/up", event("$ota", "version_report", `{"fw_version":"v1","sw_version":null}`), 1)
	offer := paras(t, receive(t, c), "$ota", "firmware_upgrade_v2")
	require.Equal(t, "v2", offer["version"])
	require.Equal(t, "hi", offer["custom_info"])
	require.EqualValues(t, len("firmware of version 2"), offer["file_size"])
	require.Equal(t, "pump-2.bin", offer["file_name"])
	require.Equal(t, sha256Hex("firmware of version 2"), offer["sign"])
	require.Equal(t, "firmware of version 2", fetch(t, cloud, "GET", offer["url"], "").body)
	puback(t, c, node1Sys+"events/up", event("$ota", "upgrade_progress_report", `{"result_code":0,"progress":50,"version":"v1","description":"half"}`), 2)
	require.Contains(t, iotdaSays(t, cloud, "GET", "/batchtasks/"+made1.ID, "").body, `"status":"Processing"`)
	puback(t, c, node1Sys+"events/up", event("$ota", "upgrade_progress_report", `{"result_code":0,"progress":100,"version":"v2"}`), 3)
	require.Empty(t, paras(t, receive(t, c), "$ota", "version_query"))
	puback(t, c, node1Sys+"events/up", event("$ota", "version_report", `{"fw_version":"v2"}`), 4)
	done := iotdaSays(t, cloud, "GET", "/batchtasks/"+made1.ID, "")
	require.Contains(t, done.body, `"task_details":[{"target":"demo_node1","status":"Success"`)
	require.Contains(t, iotdaSays(t, cloud, "GET", "/devices/demo_node1", "").body, `"fw_version":"v2"`)

	again := iotdaSays(t, cloud, "POST", "/batchtasks", `{"task_name":"again","task_type":"firmwareUpgrade","targets":["demo_node1"],"document":{"package_id":"`+p.ID+`"}}`)
	require.Equal(t, http.StatusCreated, again.StatusCode)
	require.Empty(t, paras(t, receive(t, c), "$ota", "version_query"))
	puback(t, c, node1Sys+"events/up", event("$ota", "version_report", `{"fw_version":"v2"}`), 5)
	require.Contains(t, iotdaSays(t, cloud, "GET", "/batchtasks", "").body, `"success":1`)
	wantAlive(t, c)
}

// A package that the platform keeps itself is offered in the first form: an address, and a token to get it with.
func TestIoTDAUpgradeWithToken(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	require.Equal(t, http.StatusOK, ask(t, cloud, via{name: iotdaAPI}, "PUT /obs/iotda-packages/pump-2.bin", "firmware of version 2").StatusCode)
	made := iotdaSays(t, cloud, "POST", "/ota-upgrades/packages", `{"package_type":"firmwarePackage","product_id":"demo","version":"v2","file_location":{"obs_location":{"bucket_name":"iotda-packages","object_key":"pump-2.bin"}}}`)
	var p struct {
		ID string `json:"package_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(made.body), &p))
	c := online(t, cloud)
	task := iotdaSays(t, cloud, "POST", "/batchtasks", `{"task_name":"to-v2","task_type":"firmwareUpgrade","targets":["demo_node1"],"document":{"package_id":"`+p.ID+`"}}`)
	require.Equal(t, http.StatusCreated, task.StatusCode, task.body)
	receive(t, c)
	puback(t, c, node1Sys+"events/up", event("$ota", "version_report", `{"fw_version":"v1"}`), 1)
	offer := paras(t, receive(t, c), "$ota", "firmware_upgrade")
	token := fmt.Sprint(offer["access_token"])
	delete(offer, "access_token")
	address, err := url.Parse(fmt.Sprint(offer["url"]))
	require.NoError(t, err)
	require.Equal(t, map[string]any{"version": "v2", "url": "https://" + address.Host + "/obs/iotda-packages/pump-2.bin", "file_size": 21.0, "file_name": "pump-2.bin",
		"expires": 3600.0, "sign": sha256Hex("firmware of version 2")}, offer)
	get := func(token string) reply {
		return ask(t, cloud, via{name: address.Hostname()}, "GET "+address.RequestURI(), "", "Authorization: Bearer "+token)
	}
	got := get(token)
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Equal(t, "firmware of version 2", got.body)
	require.Equal(t, http.StatusUnauthorized, get("9999999999."+strings.Repeat("0", 64)).StatusCode)
	require.Equal(t, http.StatusUnauthorized, get("x").StatusCode)
	for _, e := range cloud.Events(fakecloud.Filter{Platform: "iotda"}) {
		text, err := json.Marshal(e)
		require.NoError(t, err)
		require.NotContains(t, string(text)+string(e.Payload), token)
	}
	cloud.Skew(3601 * time.Second)
	late := get(token)
	require.Equal(t, http.StatusUnauthorized, late.StatusCode)
	require.Contains(t, late.body, "expired")
}

// An upgrade that fails on the device fails in the task, can be tried again, and be stopped.
func TestIoTDAUpgradeFails(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	ask(t, cloud, via{name: iotdaAPI}, "PUT /obs/packages/app", "x")
	made := iotdaSays(t, cloud, "POST", "/ota-upgrades/packages", `{"package_type":"softwarePackage","product_id":"demo","version":"v2","file_location":{"obs_location":{"bucket_name":"packages","object_key":"app"}}}`)
	var p struct {
		Package string `json:"package_id"`
		Task    string `json:"task_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(made.body), &p))
	c := online(t, cloud)
	task := iotdaSays(t, cloud, "POST", "/batchtasks", `{"task_name":"t","task_type":"softwareUpgrade","targets":["demo_node1","gone"],"document":{"package_id":"`+p.Package+`"}}`)
	require.NoError(t, json.Unmarshal([]byte(task.body), &p))
	receive(t, c)
	puback(t, c, node1Sys+"events/up", event("$ota", "version_report", `{"sw_version":"v1"}`), 1)
	paras(t, receive(t, c), "$ota", "software_upgrade_v2")
	puback(t, c, node1Sys+"events/up", event("$ota", "upgrade_progress_report", `{"result_code":7,"progress":30}`), 2)
	shown := iotdaSays(t, cloud, "GET", "/batchtasks/"+p.Task, "")
	require.Contains(t, shown.body, `"output":"the package failed its check"`)
	require.Contains(t, shown.body, `"fail":2`)
	require.Equal(t, http.StatusOK, iotdaSays(t, cloud, "POST", "/batchtasks/"+p.Task+"/retry", `{"targets":["demo_node1"]}`).StatusCode)
	paras(t, receive(t, c), "$ota", "version_query")
	require.Equal(t, http.StatusOK, iotdaSays(t, cloud, "POST", "/batchtasks/"+p.Task+"/stop", "").StatusCode)
	require.Contains(t, iotdaSays(t, cloud, "GET", "/batchtasks/"+p.Task, "").body, `"stopped":1`)
}

// Batch tasks that are done at once, by ids and by group; groups and queries find their devices.
func TestIoTDAGroupsAndTasks(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(gatewayWorld))
	made := iotdaSays(t, cloud, "POST", "/device-group", `{"name":"hall","description":"d"}`)
	require.Equal(t, http.StatusCreated, made.StatusCode, made.body)
	var g struct {
		ID string `json:"group_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(made.body), &g))
	require.Equal(t, http.StatusOK, iotdaSays(t, cloud, "POST", "/device-group/"+g.ID+"/action?action_id=addDevice&device_id=demo_gw2", "").StatusCode)
	require.Equal(t, http.StatusNotFound, iotdaSays(t, cloud, "POST", "/device-group/"+g.ID+"/action?action_id=addDevice&device_id=gone", "").StatusCode)
	require.Contains(t, iotdaSays(t, cloud, "GET", "/device-group/"+g.ID+"/devices", "").body, `"device_id":"demo_gw2"`)
	require.Contains(t, iotdaSays(t, cloud, "POST", "/devices/demo_gw2/list-device-group", `{}`).body, g.ID)

	task := iotdaSays(t, cloud, "POST", "/batchtasks", `{"task_name":"f","task_type":"freezeDevices","targets_filter":{"group_ids":["`+g.ID+`"]}}`)
	require.Contains(t, task.body, `"status":"Success"`)
	found := iotdaSays(t, cloud, "POST", "/search/query-devices", `{"sql":"select * from device where product_id = 'demo' and status = 'FROZEN' and device_id like 'demo%' limit 0,10"}`)
	require.Contains(t, found.body, `"count":1`)
	require.Contains(t, found.body, `"device_id":"demo_gw2"`)
	bad := iotdaSays(t, cloud, "POST", "/search/query-devices", `{"sql":"select device_id from device"}`)
	require.Equal(t, http.StatusBadRequest, bad.StatusCode)
	require.Contains(t, bad.body, "select * from device")
	require.Contains(t, iotdaSays(t, cloud, "POST", "/batchtasks", `{"task_name":"m","task_type":"createMessages","targets":["demo_node1"],"document":{"message":"hi"}}`).body, `"success":1`)
	require.Contains(t, iotdaSays(t, cloud, "POST", "/batchtasks", `{"task_name":"d","task_type":"deleteDevices","targets":["demo_gw2","none"]}`).body, `"status":"PartialSuccess"`)
	require.Equal(t, http.StatusNotFound, iotdaSays(t, cloud, "GET", "/devices/demo_foreign", "").StatusCode, "children go with their gateway")

	queue := iotdaSays(t, cloud, "POST", "/amqp-queues", `{"queue_name":"my_queue"}`)
	require.Equal(t, http.StatusCreated, queue.StatusCode, queue.body)
	require.Equal(t, http.StatusConflict, iotdaSays(t, cloud, "POST", "/amqp-queues", `{"queue_name":"my_queue"}`).StatusCode)
	require.Contains(t, iotdaSays(t, cloud, "POST", "/auth/accesscode", `{"type":"AMQP"}`).body, `"access_key":"`)
}

// A tunnel is announced to its device.
func TestIoTDATunnel(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t)
	require.Equal(t, http.StatusForbidden, iotdaSays(t, cloud, "POST", "/tunnels", `{"device_id":"demo_node1"}`).StatusCode)
	c := online(t, cloud)
	made := iotdaSays(t, cloud, "POST", "/tunnels", `{"device_id":"demo_node1"}`)
	require.Equal(t, http.StatusCreated, made.StatusCode, made.body)
	notice := paras(t, receive(t, c), "$tunnel_manager", "tunnel_notify")
	require.NotEmpty(t, notice["tunnel_access_token"])
	require.Contains(t, made.body, fmt.Sprint(notice["tunnel_uri"]))
}
