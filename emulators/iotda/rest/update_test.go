package rest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// inner follows keys and indexes into an answer.
func inner(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			v = v.(map[string]any)[step]
		case int:
			require.Greater(t, len(v.([]any)), step)
			v = v.([]any)[step]
		}
	}
	return v
}

// A list that a PUT sends replaces the old one: nothing of it shines through, and one that is refused changes nothing.
func TestUpdatedProductKeepsNothingOfItsOldServices(t *testing.T) {
	t.Parallel()
	a := withDevice(t)
	before := a.must(200, "GET", "/products/demo", "")
	a.fails(400, "IOTDA.000006", "PUT", "/products/demo", `{"service_capabilities":[{"service_id":"Other","properties":[{"property_name":"x","data_type":"nothing"}]}]}`)
	require.Equal(t, before, a.must(200, "GET", "/products/demo", ""))

	a.must(200, "PUT", "/products/demo", `{"service_capabilities":[{"service_id":"Text","properties":[{"property_name":"x","data_type":"string"}]}]}`)
	p := a.must(200, "GET", "/products/demo", "")
	require.Equal(t, []any{map[string]any{"service_id": "Text", "properties": []any{map[string]any{"property_name": "x", "data_type": "string"}}}}, p["service_capabilities"])
	require.Equal(t, "demo", p["name"], "what is not sent stays")

	require.Equal(t, []any{}, a.must(200, "PUT", "/products/demo", `{"service_capabilities":[]}`)["service_capabilities"])
	require.Equal(t, []any{}, a.must(201, "POST", "/products", `{"name":"bare"}`)["service_capabilities"], "a list, and not null")
	topics := func(n int) string {
		return `{"name":"x","topics":[` + strings.TrimSuffix(strings.Repeat(`{"topic":"t","operation":"ALL"},`, n), ",") + `]}`
	}
	a.must(201, "POST", "/products", topics(50))
	a.fails(400, "IOTDA.000006", "POST", "/products", topics(51))
}

// PUT changes what it sends (UpdateDevicePolicy, UpdateProvisioningTemplate, UpdateActionReq of the service SDK).
func TestPartialUpdates(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	policy := a.must(201, "POST", "/device-policies", `{"policy_name":"p","statement":[{"effect":"DENY","actions":["iotda:devices:publish"],"resources":["topic:/a/*"]}]}`)
	path := "/device-policies/" + policy["policy_id"].(string)
	a.must(200, "PUT", path, `{"policy_name":"q"}`)
	changed := a.must(200, "GET", path, "")
	require.Equal(t, []any{"q", policy["statement"]}, []any{changed["policy_name"], changed["statement"]})
	a.fails(400, "IOTDA.000006", "PUT", path, `{"statement":[]}`)

	template := a.must(201, "POST", "/provisioning-templates", `{"template_name":"t","template_body":{"parameters":{},"resources":{"device":{"node_id":"n","product_id":"demo"},"policy":{"policy_ids":["`+policy["policy_id"].(string)+`"]}}}}`)
	path = "/provisioning-templates/" + template["template_id"].(string)
	changed = a.must(200, "PUT", path, `{"description":"d"}`)
	require.Equal(t, []any{"d", template["template_body"]}, []any{changed["description"], changed["template_body"]})
	a.fails(404, "IOTDA.000005", "PUT", path, `{"template_body":{"parameters":{},"resources":{"device":{"node_id":"n","product_id":"demo"},"policy":{"policy_ids":["nope"]}}}}`)
	a.fails(400, "IOTDA.000006", "PUT", path, `{"template_body":{"parameters":{},"resources":{"device":{"node_id":"n","product_id":"demo","tags":[{"tag_key":"k","tag_value":{"ref":"undeclared"}}]}}}}`)

	rule := a.must(201, "POST", "/routing-rule/rules", `{"rule_name":"r","subject":{"resource":"device.property","event":"report"}}`)
	action := a.must(201, "POST", "/routing-rule/actions", `{"rule_id":"`+rule["rule_id"].(string)+`","channel":"HTTP_FORWARDING","channel_detail":{"http_forwarding":{"url":"https://127.0.0.1/in"}}}`)
	path = "/routing-rule/actions/" + action["action_id"].(string)
	require.Equal(t, action["channel_detail"], a.must(200, "PUT", path, `{"channel":"HTTP_FORWARDING"}`)["channel_detail"])
	require.Equal(t, "https://127.0.0.1/b", inner(t, a.must(200, "PUT", path, `{"channel_detail":{"http_forwarding":{"url":"https://127.0.0.1/b"}}}`), "channel_detail", "http_forwarding", "url"))
}

// Binding answers target by target (BindDevicePolicyResponse, ShowTargetsInDevicePolicyResponse of the service SDK).
func TestPolicyTargets(t *testing.T) {
	t.Parallel()
	a := withDevice(t)
	app := a.must(200, "GET", "/products/demo", "")["app_id"].(string)
	path := "/device-policies/" + a.must(201, "POST", "/device-policies", `{"policy_name":"p","statement":[{"effect":"DENY","actions":["iotda:devices:subscribe"],"resources":["topic:/a/*"]}]}`)["policy_id"].(string)
	bound := a.must(200, "POST", path+"/bind", `{"target_type":"device","target_ids":["demo_node1","demo_x","demo_node1"]}`)
	require.Equal(t, []any{"demo_node1"}, bound["success_targets"])
	require.Equal(t, []any{"demo_x", "IOTDA.014000"}, []any{inner(t, bound, "failure_targets", 0, "target_id"), inner(t, bound, "failure_targets", 0, "error_code")})
	a.must(200, "POST", path+"/bind", `{"target_type":"product","target_ids":["demo"]}`)
	a.must(200, "POST", path+"/bind", `{"target_type":"app","target_ids":["`+app+`"]}`)
	a.fails(400, "IOTDA.000006", "POST", path+"/bind", `{"target_type":"group","target_ids":["x"]}`)
	all := a.must(200, "POST", path+"/list-targets", "")["targets"].([]any)
	require.Equal(t, []any{"device", "product", "app"}, []any{inner(t, all, 0, "target_type"), inner(t, all, 1, "target_type"), inner(t, all, 2, "target_type")})
	require.Equal(t, []any{map[string]any{"target_type": "product", "target_id": "demo"}}, a.must(200, "POST", path+"/list-targets", `{"target_type":"product"}`)["targets"])

	_, session := a.connect("demo_node1")
	defer session.Close()
	for _, target := range []string{`"device","target_ids":["demo_node1"]`, `"product","target_ids":["demo"]`, `"app","target_ids":["` + app + `"]`} {
		require.NotNil(t, session.Subscribe("/a/b"))
		a.must(200, "POST", path+"/unbind", `{"target_type":`+target+`}`)
	}
	require.Nil(t, session.Subscribe("/a/b"))
}

// The time of registration, and the error codes of times (Error Codes, iot_06_v5_0018).
func TestDevicesByTime(t *testing.T) {
	t.Parallel()
	a := withDevice(t)
	made := a.must(200, "GET", "/devices/demo_node1", "")["create_time"].(string)
	a.clock.Skew(time.Hour)
	a.must(201, "POST", "/devices", `{"node_id":"late","product_id":"demo"}`)
	at, err := time.Parse("20060102T150405Z", made)
	require.NoError(t, err)
	between := at.Add(time.Minute).Format("20060102T150405Z")
	require.Equal(t, "demo_late", inner(t, a.must(200, "GET", "/devices?start_time="+between, ""), "devices", 0, "device_id"))
	early := a.must(200, "GET", "/devices?end_time="+between, "")
	require.Len(t, early["devices"], 1)
	require.Equal(t, "demo_node1", inner(t, early, "devices", 0, "device_id"))
	exact := a.must(200, "GET", "/devices?start_time="+between+"&end_time="+between+"&product_id=demo&app_id=demo", "")
	require.Empty(t, exact["devices"], "each condition counts")
	a.fails(400, "IOTDA.000009", "GET", "/devices?start_time=2015-12-12", "")
	a.fails(400, "IOTDA.000010", "GET", "/devices?start_time="+between+"&end_time="+made, "")
}

// Values that a call knows by name, and those that it does not.
func TestNamedValues(t *testing.T) {
	t.Parallel()
	a := withDevice(t)
	action := "/devices/demo_node1/action?action_id=resetSecret"
	a.must(200, "POST", action, `{"secret":"secondary1","secret_type":"SECONDARY"}`)
	a.fails(400, "IOTDA.000006", "POST", action, `{"secret":"another12","secret_type":"THIRD"}`)
	auth := a.must(200, "GET", "/devices/demo_node1", "")["auth_info"].(map[string]any)
	require.Equal(t, []any{"12345678", "secondary1"}, []any{auth["secret"], auth["secondary_secret"]})
	a.must(201, "POST", "/devices", `{"node_id":"c","product_id":"demo","auth_info":{"auth_type":"CERTIFICATES"}}`)
	a.fails(400, "IOTDA.000006", "POST", "/devices/demo_c/reset-fingerprint", `{"fingerprint_type":"THIRD"}`)

	a.fails(400, "IOTDA.000006", "POST", "/devices", `{"node_id":"x"}`)
	a.fails(404, "IOTDA.000005", "POST", "/devices", `{"node_id":"x","product_id":"none"}`)
	for _, message := range []string{`null`, `1`, `true`, `["x"]`} {
		a.fails(400, "IOTDA.000006", "POST", "/devices/demo_node1/messages", `{"message":`+message+`}`)
	}
	require.Regexp(t, `^\d{8}T\d{6}Z$`, a.must(201, "POST", "/broadcast-messages", `{"topic_full_name":"$oc/broadcast/all","message":"aGk="}`)["created_time"])

	task := a.must(201, "POST", "/batchtasks", `{"task_name":"t","task_type":"createMessages","targets":["demo_node1","demo_gone"],"document":{"message":"x"}}`)
	shown := a.must(200, "GET", "/batchtasks/"+task["task_id"].(string), "")
	require.Equal(t, []any{"demo_gone", "Fail", "IOTDA.014000"}, []any{inner(t, shown, "task_details", 0, "target"), inner(t, shown, "task_details", 0, "status"), inner(t, shown, "task_details", 0, "error", "error_code")})
	require.NotContains(t, inner(t, shown, "task_details", 1), "error")
}

// The properties of a message for MQTT 5 are kept as they came.
func TestMessageProperties(t *testing.T) {
	t.Parallel()
	a := withDevice(t)
	const path, properties = "/devices/demo_node1/messages", `{"correlation_data":"c","user_properties":[{"prop_key":"k","prop_value":"v"}]}`
	id := a.must(201, "POST", path, `{"message":"hello","properties":`+properties+`}`)["message_id"].(string)
	shown, err := json.Marshal(a.must(200, "GET", path+"/"+id, "")["properties"])
	require.NoError(t, err)
	require.JSONEq(t, properties, string(shown))
	id = a.must(201, "POST", path, `{"message":"hello","properties":null}`)["message_id"].(string)
	require.NotContains(t, a.must(200, "GET", path+"/"+id, ""), "properties")
	a.fails(400, "IOTDA.000006", "POST", path, `{"message":"hello","properties":"c"}`)
}
