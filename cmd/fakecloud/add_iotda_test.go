package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/world"
)

func TestAddProduct(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	out, stderr, code := s.command("add", "product", "pump", "--property", "Pump.speed:decimal:0..3000:rpm", "--property", "Pump.mode:enum:on,off",
		"--property", "Info.label:string:16", "--property", "Info.on:boolean", "--command", "Pump.stop")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "next: fakecloud add iotda-device node1 --product pump\n")
	products := s.world.IoTDA.Instances[0].Products
	p := products[len(products)-1]
	require.Equal(t, "pump", p.ProductID)
	require.Len(t, p.Services, 2)
	require.Equal(t, world.ModelProperty{Name: "speed", Method: "RW", ModelValue: world.ModelValue{DataType: "decimal", Min: "0", Max: "3000", Unit: "rpm"}}, p.Services[0].Properties[0])
	require.Equal(t, []string{"on", "off"}, p.Services[0].Properties[1].Enum)
	require.Equal(t, "stop", p.Services[0].Commands[0].Name)
	require.Equal(t, 16, *p.Services[1].Properties[0].MaxLength)
}

func TestAddProductOfTheVendorsModel(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	file := filepath.Join(t.TempDir(), "product.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"name":"x","service_capabilities":[{"service_id":"S","properties":[{"property_name":"a","data_type":"int","min":"1","max":"2","step":0.5,"required":true}],
		"commands":[{"command_name":"c","paras":[{"para_name":"p","data_type":"string","max_length":3}],"responses":[{"response_name":"r","paras":[]}]}],"events":[{"event_type":"e"}]}]}`), 0o600))
	_, stderr, code := s.command("add", "product", "meter", "--id", "m1", "--model", file)
	require.Zero(t, code, stderr)
	products := s.world.IoTDA.Instances[0].Products
	p := products[len(products)-1]
	require.Equal(t, "m1", p.ProductID)
	require.Equal(t, "0.5", p.Services[0].Properties[0].Step)
	require.Equal(t, "p", p.Services[0].Commands[0].Paras[0].Name)
	require.Equal(t, "r", p.Services[0].Commands[0].Responses[0].Name)
	require.Equal(t, "e", p.Services[0].Events[0].Type)
}

func TestAddIoTDADevice(t *testing.T) {
	t.Parallel()
	cert := testCert(t, "node", false, tomorrow)
	for _, c := range []struct {
		name   string
		args   []string
		check  func(t *testing.T, d world.IoTDADevice)
		stdout []string
	}{
		{"fresh secret", nil, func(t *testing.T, d world.IoTDADevice) { require.Len(t, d.Secret, 32) },
			[]string{"host        fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com (or 127.0.0.1)\nclient id   demo_n2_0_0_", "username    demo_n2\nsecret      ",
				" -k 120 -i demo_n2_0_0_", `'$oc/devices/demo_n2/sys/properties/report'`, `'{"services":[{"properties":{"dailyActivityTime":0},"service_id":"Connectivity"}]}'`}},
		{"given secret", []string{"--secret", "mySecret_0123", "--secure"}, func(t *testing.T, d world.IoTDADevice) {
			require.Equal(t, "mySecret_0123", d.Secret)
			require.True(t, *d.SecureAccess)
		}, []string{"secret      mySecret_0123\npassword    "}},
		{"certificate", []string{"--cert", cert}, func(t *testing.T, d world.IoTDADevice) {
			require.Equal(t, "CERTIFICATES", d.AuthType)
			require.Len(t, d.Fingerprint, 64)
		}, []string{"--cert '" + cert + "' --key '"}},
		{"first certificate", []string{"--x509"}, func(t *testing.T, d world.IoTDADevice) { require.Equal(t, "CERTIFICATES", d.AuthType) },
			[]string{"fakecloud pki device demo_n2 --ca demo-ca", "--cert demo_n2_chain.pem --key demo_n2.key"}},
		{"child", []string{"--gateway", "demo_node1"}, func(t *testing.T, d world.IoTDADevice) { require.Equal(t, "demo_node1", d.GatewayID) },
			[]string{"$oc/devices/demo_node1/sys/gateway/sub_devices/properties/report"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			out, stderr, code := s.command(append([]string{"add", "iotda-device", "n2"}, c.args...)...)
			require.Zero(t, code, stderr)
			devices := s.world.IoTDA.Instances[0].Devices
			d := devices[len(devices)-1]
			require.Equal(t, "demo_n2", d.DeviceID)
			c.check(t, d)
			for _, part := range c.stdout {
				require.Contains(t, out, part)
			}
		})
	}
}

func TestAddIoTDACA(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ca := testCert(t, "plant", true, tomorrow)
	out, stderr, code := s.command("add", "ca", ca, "--to", "iotda/fakecloud", "--name", "plant")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "next: fakecloud add iotda-device my-node --x509 --instance fakecloud")
	certificates := s.world.IoTDA.Instances[0].Certificates
	require.Equal(t, "plant", certificates[len(certificates)-1].Name)
}

func TestEnvHuawei(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	out, stderr, code := s.command("env", "--for", "huawei")
	require.Zero(t, code, stderr)
	for _, line := range []string{
		"export HUAWEICLOUD_SDK_PROJECT_ID=fa4ec10d0000000000000000000000f1", "export HUAWEICLOUD_SDK_REGION_IOTDA_CN_NORTH_4=https://127.0.0.1:",
		"export IOTDA_SERVER_URI=ssl://127.0.0.1:8883", "export IOTDA_DEVICE_ID=demo_node1", "export IOTDA_DEVICE_SECRET=12345678", "export IOTDA_CLIENT_ID=demo_node1_0_0_",
	} {
		require.Contains(t, out, line)
	}
	out, _, code = s.command("env", "--for", "iotda", "--vendor-names")
	require.Zero(t, code)
	require.Contains(t, out, "=https://fakecloud.iotda.cn-north-4.myhuaweicloud.com\n")
	require.Contains(t, out, "ssl://fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com:8883\n")
	_, stderr, code = s.command("env", "--for", "huawei", "--device", "gone")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "the IoTDA instance fakecloud has no such device")
	require.NotEmpty(t, strings.TrimSpace(stderr))
}
