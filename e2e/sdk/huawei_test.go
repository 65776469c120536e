//go:build vendor

package sdk

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

const (
	iotdaEndpoint = "https://fakecloud.iotda.cn-north-4.myhuaweicloud.com"
	iotdaProject  = "fa4ec10d0000000000000000000000f1"
	// signedWorld wants every call of the application API signed.
	signedWorld = "iotda: {instances: [{name: fakecloud, accessKeys: [{access: TESTAK, secret: test-secret-key}]}]}"
)

// built returns what scripts/vendor.sh has built for a language.
func built(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	require.NotEmpty(t, path, "run scripts/vendor.sh, which sets %s", variable)
	return path
}

// applications are programs on the SDKs for the application side.
func applications(t *testing.T) []program {
	return []program{
		{"huaweicloudsdkiotda (Python)", []string{python(), "python/iotda_app.py"}},
		{"huaweicloud-sdk-go-v3", []string{built(t, "FAKECLOUD_HUAWEI_GO")}},
	}
}

// javaDevice starts the program on Huawei's device SDK for Java; its steps come on the channel when it ends.
func javaDevice(t *testing.T, cloud *fakecloud.Cloud, server, device, secret string) <-chan []step {
	t.Helper()
	p := program{"iot-device-sdk-java", []string{"java", "-cp", built(t, "FAKECLOUD_HUAWEI_JAVA"), "Device"}}
	env := map[string]string{"IOTDA_CA_FILE": write(t, "root.pem", cloud.RootsPEM()), "IOTDA_SERVER_URI": server,
		"IOTDA_DEVICE_ID": device, "IOTDA_DEVICE_SECRET": secret}
	done := make(chan []step, 1)
	go func() {
		steps, code := p.run(t, env)
		if code != 0 {
			steps = append(steps, step{Step: "exit code", Text: "not 0"})
		}
		done <- steps
	}()
	return done
}

// texts are the texts of all steps of a name.
func texts(steps []step, name string) []string {
	var all []string
	for _, s := range steps {
		if s.Step == name {
			all = append(all, s.Text)
		}
	}
	return all
}

// Huawei's device SDK for Java, unmodified: it connects without a SUBSCRIBE, reports plainly and compressed,
// asks for the time and its shadow, uploads and downloads a file, takes an upgrade, a property set and get, a
// message and a command.
func TestHuaweiJavaDevice(t *testing.T) {
	cloud := real(t, withIoTDA())
	dir := t.TempDir()
	writeTo(t, dir, "DigiCertGlobalRootCA.crt.pem", cloud.RootsPEM())
	_, code := shell(t, dir, `curl -s --fail-with-body --cacert DigiCertGlobalRootCA.crt.pem -T /etc/hostname `+iotdaEndpoint+`/obs/packages/app-2.bin`)
	require.Zero(t, code)
	made := console(t, dir, "POST", "/ota-upgrades/packages", `{"package_type":"softwarePackage","product_id":"demo","version":"v2","file_location":{"obs_location":{"bucket_name":"packages","object_key":"app-2.bin"}}}`)
	done := javaDevice(t, cloud, "ssl://"+iotdaHost+":8883", "demo_node1", "12345678")
	await(t, cloud, fakecloud.Filter{Platform: "iotda", Kind: "connack", Device: "demo_node1"})
	await(t, cloud, fakecloud.Filter{Platform: "iotda", Kind: "property", Device: "demo_node1", Match: func(e *fakecloud.Event) bool {
		return e.Properties["resource"] == "device.property"
	}})
	console(t, dir, "POST", "/devices/demo_node1/messages", `{"message":"good day"}`)
	console(t, dir, "PUT", "/devices/demo_node1/properties", `{"services":[{"service_id":"Battery","properties":{"batteryLevel":50}}]}`)
	got := console(t, dir, "GET", "/devices/demo_node1/properties?service_id=Battery", "")
	require.Contains(t, jsonOf(t, got), `"batteryLevel":42`)
	task := console(t, dir, "POST", "/batchtasks", `{"task_name":"to-v2","task_type":"softwareUpgrade","targets":["demo_node1"],"document":{"package_id":"`+made["package_id"].(string)+`"}}`)
	require.Eventually(t, func() bool {
		shown := console(t, dir, "GET", "/batchtasks/"+task["task_id"].(string), "")
		return shown["batchtask"].(map[string]any)["status"] == "Success"
	}, 20*time.Second, 100*time.Millisecond)
	await(t, cloud, fakecloud.Filter{Platform: "iotda", Kind: "http", Match: func(e *fakecloud.Event) bool {
		return e.Topic == "GET /obs/iotda-device-files/demo_node1/log.txt" && e.Code != nil && *e.Code == http.StatusOK
	}})
	answer := console(t, dir, "POST", "/devices/demo_node1/commands", `{"service_id":"Battery","command_name":"stop","paras":{"hours":2}}`)
	require.Contains(t, jsonOf(t, answer), `"left":1`)
	steps := <-done
	for name, want := range map[string]string{"connected": "0", "reported": "", "compressed": "", "sent": "", "time": "true", "message": "good day",
		"set": "Battery {batteryLevel=50}", "get": "Battery", "command": "Battery stop {hours=2}", "download": "hello", "version": "v1", "closed": "true"} {
		require.Contains(t, texts(steps, name), want, name)
	}
	require.Len(t, texts(steps, "package"), 1)
	require.Contains(t, texts(steps, "package")[0], "v2 ")
	require.Contains(t, texts(steps, "package")[0], " true", "size and SHA-256 fit")
	require.Contains(t, texts(steps, "shadow")[0], "batteryLevel=80")
	require.Empty(t, texts(steps, "failed"))
	require.Contains(t, jsonOf(t, console(t, dir, "GET", "/devices/demo_node1", "")), `"device_sdk_version":"JAVA_v1.2.1"`)
	rule.Proves(t, "DA-45")
}

// The same SDK with a wrong secret: it gives up at once on code 4, and the journal says why.
func TestHuaweiJavaDeviceRefused(t *testing.T) {
	cloud := real(t, withIoTDA())
	steps := <-javaDevice(t, cloud, "tcp://127.0.0.1:1883", "demo_node1", "87654321")
	require.NotContains(t, texts(steps, "connected"), "0")
	require.NotEmpty(t, await(t, cloud, fakecloud.Filter{Rule: "DA-2/password", Device: "demo_node1"})[0].Fix)
	rule.Proves(t, "DA-2/password")
}

// Huawei's SDKs for applications, signing with either kind of signature; a wrong secret key is refused.
func TestHuaweiApplications(t *testing.T) {
	cloud := real(t, withIoTDA(), fakecloud.WithWorld(signedWorld))
	certificate, _ := cloud.DemoCA()
	root := write(t, "root.pem", cloud.RootsPEM())
	env := map[string]string{"CA_FILE": root, "SSL_CERT_FILE": root, "AK": "TESTAK", "SK": "test-secret-key", "PROJECT_ID": iotdaProject,
		"ENDPOINT": iotdaEndpoint, "DEVICE_CA": write(t, "ca.pem", certificate)}
	for _, p := range applications(t) {
		for _, derived := range []string{"", "1"} {
			steps, code := p.run(t, with(env, map[string]string{"DERIVED": derived}))
			require.Zero(t, code, p.name)
			want := []string{"spaces", "product", "device", "listed", "message", "deleted"}
			for _, name := range want {
				require.Len(t, texts(steps, name), 1, "%s, derived %q: %s", p.name, derived, name)
			}
			require.Equal(t, []string{"1 INACTIVE"}, texts(steps, "listed"))
			rule.Proves(t, "DA-59")
		}
		steps, code := p.run(t, with(env, map[string]string{"SK": "another-key"}))
		require.Zero(t, code)
		require.Equal(t, "refused", steps[0].Step)
		require.Equal(t, "401 APIGW.0301", steps[0].Text)
		require.NotEmpty(t, await(t, cloud, fakecloud.Filter{Rule: "DA-59/signature"})[0].Fix)
	}
	rule.Proves(t, "DA-59/signature")
}

// Huawei's device SDK and Huawei's application SDKs meet: a command goes from one to the other and back.
func TestHuaweiApplicationCallsDevice(t *testing.T) {
	cloud := real(t, withIoTDA())
	root := write(t, "root.pem", cloud.RootsPEM())
	certificate, _ := cloud.DemoCA()
	done := javaDevice(t, cloud, "tcp://127.0.0.1:1883", "demo_node1", "12345678")
	await(t, cloud, fakecloud.Filter{Platform: "iotda", Kind: "property", Device: "demo_node1"})
	for _, p := range applications(t) {
		steps, code := p.run(t, map[string]string{"CA_FILE": root, "SSL_CERT_FILE": root, "AK": "any", "SK": "any", "PROJECT_ID": iotdaProject,
			"ENDPOINT": iotdaEndpoint, "DEVICE_CA": write(t, "ca.pem", certificate), "DEVICE_ID": "demo_node1"})
		require.Zero(t, code, p.name)
		require.Contains(t, texts(steps, "command")[0], "left", p.name)
	}
	dir := t.TempDir()
	writeTo(t, dir, "DigiCertGlobalRootCA.crt.pem", cloud.RootsPEM())
	console(t, dir, "POST", "/devices/demo_node1/commands", `{"service_id":"Battery","command_name":"stop"}`)
	steps := <-done
	require.GreaterOrEqual(t, len(texts(steps, "command")), 3)
	rule.Proves(t, "DA-23")
}
