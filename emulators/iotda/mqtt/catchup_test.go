package mqtt_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/internal/rule"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// DA-53: what is desired of a child while its gateway is away comes when the gateway does, and an upgrade goes on.
func TestChildrenCatchUp(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		_, err := c.SetDesired(instance, child, []iotda.Desired{{ServiceID: "Battery", Desired: map[string]any{"batteryLevel": json.Number("7")}}})
		require.NoError(t, err)
		require.NoError(t, c.PutObject(instance, "b", "o", []byte("v2")))
		p := iotda.Package{Type: iotda.FirmwarePackage, ProductID: "demo", Version: "v2"}
		p.Location.OBS.Bucket, p.Location.OBS.Key = "b", "o"
		p, err = c.PutPackage(instance, p)
		require.NoError(t, err)
		_, err = c.CreateTask(instance, iotda.NewTask{Task: iotda.Task{Name: "t", Type: "firmwareUpgrade", Document: json.RawMessage(`{"package_id":"` + p.ID + `"}`)}, Devices: []string{child}})
		require.NoError(t, err)

		conn := c.join(gateway)
		set := conn.NextPublish()
		require.Contains(t, set.Topic, "$oc/devices/demo_gw1/sys/properties/set/request_id=")
		require.Equal(t, `{"object_device_id":"demo_child1","services":[{"service_id":"Battery","properties":{"batteryLevel":7}}]}`, string(set.Payload))
		query := conn.NextPublish()
		require.Equal(t, "$oc/devices/demo_gw1/sys/events/down", query.Topic)
		require.Contains(t, string(query.Payload), `{"object_device_id":"demo_child1","services":[{"service_id":"$ota","event_type":"version_query"`)
		rule.Proves(t, "DA-53")
	})
}

// A set that the device answers with result code 0 counts as reported; one that it refuses, and what the product does not
// know, does not.
func TestSetAnswers(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(demo)
		set := func(level, answer string) {
			t.Helper()
			done := background(func() (iotda.Reply, error) {
				return c.SetProperties(t.Context(), instance, demo, []wire.ServiceData{{ServiceID: "Battery",
					Properties: map[string]any{"batteryLevel": json.Number(level), "unknown": true}}, {ServiceID: "Unknown", Properties: map[string]any{"x": "y"}}})
			})
			c.publish(conn, strings.Replace(conn.NextPublish().Topic, "set/", "set/response/", 1), answer)
			require.NoError(t, (<-done).err)
		}
		for _, answer := range []string{`{"result_code":1}`, `{"result_code":"0"}`, `{}`, `[]`} {
			set("5", answer)
			require.Equal(t, `{}`, c.reported(demo), answer)
		}
		set("5", `{"result_code":0,"result_desc":"success"}`)
		require.Equal(t, `{"Battery":{"at":"20260101T003000Z","p":{"batteryLevel":5}}}`, c.reported(demo))
		set("101", `{"result_code":0}`)
		require.Equal(t, `{"Battery":{"at":"20260101T003000Z","p":{"batteryLevel":5}}}`, c.reported(demo))
		require.Empty(t, c.notices("device.property"), "it is no report")
	})
}

// DA-33: numbers at the very ends of their types and ranges.
func TestNumbersAtTheirLimits(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		var p iotda.Product
		require.NoError(t, json.Unmarshal([]byte(`{"product_id":"demo","name":"demo","service_capabilities":[{"service_id":"N","properties":[
			{"property_name":"int","data_type":"int"},{"property_name":"long","data_type":"long"},
			{"property_name":"wide","data_type":"long","min":"-9007199254740993","max":"9007199254740993"},
			{"property_name":"part","data_type":"decimal","min":"0.5","max":"1.5"}]}]}`), &p))
		_, err := c.PutProduct(instance, p)
		require.NoError(t, err)
		conn := c.join(demo)
		for _, v := range []struct {
			property, value string
			id              rule.ID // empty where it is taken
		}{
			{"int", "2147483647", ""}, {"int", "-2147483648", ""}, {"int", "2147483648", "DA-33/type"}, {"int", "-2147483649", "DA-33/type"},
			{"int", "5.7e1", ""}, {"int", "57.0", ""}, {"int", "57.5", "DA-33/type"},
			{"long", "9223372036854775807", ""}, {"long", "-9223372036854775808", ""},
			{"long", "9223372036854775808", "DA-33/type"}, {"long", "-9223372036854775809", "DA-33/type"}, {"long", "1e19", "DA-33/type"},
			{"wide", "9007199254740993", ""}, {"wide", "9007199254740994", "DA-33/range"}, {"wide", "-9007199254740994", "DA-33/range"},
			{"part", "0.5", ""}, {"part", "1.5", ""}, {"part", "1", ""}, {"part", "0.4999", "DA-33/range"}, {"part", "2", "DA-33/range"},
		} {
			require.NoError(t, c.DeleteShadow(instance, demo))
			c.publish(conn, report, `{"services":[{"service_id":"N","properties":{"`+v.property+`":`+v.value+`}}]}`)
			if v.id == "" {
				require.Contains(t, c.reported(demo), `"p":{"`+v.property+`":`+v.value+`}`)
				continue
			}
			require.Equal(t, `{}`, c.reported(demo), v.value)
			require.Equal(t, "N."+v.property+" = "+v.value, c.refusedAs(v.id).Seen)
			rule.Proves(t, v.id)
		}
	})
}

// DA-20: a template binds the device to its policies.
func TestSelfRegistrationBindsPolicies(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		policy, err := c.PutPolicy(instance, iotda.Policy{Name: "p", Statements: []iotda.Statement{{Effect: "DENY", Actions: []string{"iotda:devices:subscribe"}, Resources: []string{"topic:/a/*"}}}})
		require.NoError(t, err)
		var body iotda.TemplateBody
		require.NoError(t, json.Unmarshal([]byte(`{"parameters":{"iotda::certificate::common_name":{"type":"String"}},"resources":{
			"device":{"node_id":{"ref":"iotda::certificate::common_name"},"product_id":"demo"},"policy":{"policy_ids":["`+policy.ID+`"]}}}`), &body))
		template, err := c.PutTemplate(instance, iotda.Template{Name: "t", Body: body})
		require.NoError(t, err)
		root := newCA(t, "root")
		_, err = c.UploadCA(instance, iotda.CA{Certificate: root.pem(), Verified: true, ProvisionEnable: true, TemplateID: template.ID})
		require.NoError(t, err)
		leaf := root.leaf(pkix.Name{CommonName: "meter7"}, today.Add(-time.Hour), today.Add(time.Hour))
		require.EqualValues(t, 0, c.try(x509login("demo_meter7"), way{certs: []*x509.Certificate{leaf}, sni: "fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com"}))
		policy, err = c.Policy(instance, policy.ID)
		require.NoError(t, err)
		require.Equal(t, []string{"demo_meter7"}, policy.Targets(iotda.TargetDevice))
		rule.Proves(t, "DA-20")
	})
}

// A child that was never online has no time at which it was.
func TestStatusWithoutLastOnline(t *testing.T) {
	onWire(t, func(t *testing.T, c *cloud) {
		conn := c.join(gateway)
		told := func(status string) string {
			t.Helper()
			c.event(conn, gateway, "$sub_device_manager", "sub_device_update_status", "", `{"device_statuses":[{"device_id":"demo_child1","status":"`+status+`"}]}`)
			all := c.notices("device.status")
			return string(all[len(all)-1].Payload)
		}
		require.Contains(t, told("OFFLINE"), `"device_id":"demo_child1"`)
		require.NotContains(t, told("OFFLINE"), "last_online_time")
		require.Contains(t, told("ONLINE"), `"last_online_time":"20260101T003000Z"`)
	})
}
