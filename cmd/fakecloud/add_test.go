package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/world"
)

const testKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

var tomorrow = time.Now().Add(24 * time.Hour)

func TestAddHub(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	out, stderr, code := s.command("add", "hub", "plant-hub", "--link-to", "fakecloud-dps")
	require.Zero(t, code, stderr)
	hub := s.hub("plant-hub")
	require.Len(t, hub.Policies, 5)
	require.Contains(t, out, "HostName=plant-hub.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey="+hub.Policies[0].PrimaryKey+"\n")
	require.Equal(t, []string{"fakecloud-hub", "plant-hub"}, s.world.Azure.DPS[0].LinkedHubs)

	_, stderr, code = s.command("add", "hub", "Plant-Hub")
	require.Equal(t, 2, code)
	require.Equal(t, "fakecloud: the hub Plant-Hub exists already; add --replace to change it\n", stderr)
	_, stderr, code = s.command("add", "hub", "plant.azure-devices.net")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "write the name alone: plant\n")
	_, stderr, code = s.command("add", "hub", "x1", "--link-to", "nowhere")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, `no DPS instance "nowhere"; there are fakecloud-dps`)
}

func TestAddHubDevice(t *testing.T) {
	t.Parallel()
	cert := testCert(t, "Flexy", false, tomorrow)
	for _, c := range []struct {
		name   string
		args   []string
		check  func(t *testing.T, d world.Device)
		stdout []string
		stderr string
	}{
		{"fresh keys", nil, func(t *testing.T, d world.Device) {
			require.Equal(t, world.TypeSAS, d.Authentication.Type)
			require.Empty(t, world.CheckKey(d.Authentication.SymmetricKey.PrimaryKey))
		}, []string{"HostName=fakecloud-hub.azure-devices.net;DeviceId=d1;SharedAccessKey=", ";GatewayHostName=127.0.0.1\n",
			"mosquitto_pub -V mqttv311 -q 1 -h 127.0.0.1 -p 8883 --cafile ", "-P 'SharedAccessSignature sr=fakecloud-hub.azure-devices.net%2Fdevices%2Fd1&sig="}, ""},
		{"given key", []string{"--key", testKey, "--disabled"}, func(t *testing.T, d world.Device) {
			require.Equal(t, testKey, d.Authentication.SymmetricKey.PrimaryKey)
			require.Equal(t, "disabled", d.Status)
		}, []string{"SharedAccessKey=" + testKey + "\n"}, ""},
		{"certificate", []string{"--cert", cert}, func(t *testing.T, d world.Device) {
			require.Equal(t, world.TypeSelfSigned, d.Authentication.Type)
			data, err := os.ReadFile(cert)
			require.NoError(t, err)
			want, err := world.SHA256Thumbprint(data)
			require.NoError(t, err)
			require.Equal(t, want, d.Authentication.X509Thumbprint.PrimaryThumbprint)
		}, []string{";x509=true\n", "--cert '" + cert + "' --key '" + cert[:len(cert)-4] + ".key'"}, ""},
		{"thumbprint with colons", []string{"--thumbprint", "aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd"}, func(t *testing.T, d world.Device) {
			require.Equal(t, "AABBCCDDEEFF00112233445566778899AABBCCDD", d.Authentication.X509Thumbprint.PrimaryThumbprint)
		}, nil, "note: the thumbprint is registered without its separators, as AABBCCDDEEFF00112233445566778899AABBCCDD\n"},
		{"CA", []string{"--ca", "--hub", "fakecloud-hub.azure-devices.net"}, func(t *testing.T, d world.Device) {
			require.Equal(t, &world.Authentication{Type: world.TypeCA}, d.Authentication)
		}, []string{"fakecloud pki device d1 --ca demo-ca\n", "--cert d1_chain.pem --key d1.key"}, ""},
		{"module", []string{"--module", "m1", "--key", testKey, "--initial-twin", `{"tags":{"a":1}}`}, func(t *testing.T, d world.Device) {
			require.Equal(t, testKey, d.Modules[0].Authentication.SymmetricKey.PrimaryKey)
			require.NotEqual(t, testKey, d.Authentication.SymmetricKey.PrimaryKey)
			require.EqualValues(t, 1, d.InitialTwin.Tags["a"])
		}, []string{";ModuleId=m1;", "-i d1/m1 ", "/d1/m1/?api-version=2021-04-12", "-t devices/d1/modules/m1/messages/events/"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			out, stderr, code := s.command(append([]string{"add", "hub-device", "d1"}, c.args...)...)
			require.Zero(t, code, stderr)
			require.Equal(t, c.stderr, stderr)
			devices := s.hub("fakecloud-hub").Devices
			c.check(t, devices[len(devices)-1])
			for _, part := range c.stdout {
				require.Contains(t, out, part)
			}
		})
	}
}

func TestAddRefusals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	request := filepath.Join(dir, "csr.pem")
	require.NoError(t, os.WriteFile(request, []byte("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"), 0o600))
	leaf := testCert(t, "leaf", false, tomorrow)
	old := testCert(t, "old", true, time.Now().Add(-time.Minute))
	s := newStage(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"hub-device", "demo-sas"}, "the device demo-sas of hub fakecloud-hub exists already; add --replace to change it"},
		{[]string{"hub-device", "a b"}, "must be made of letters, digits and"},
		{[]string{"hub-device", "d", "--hub", "fakecloud-hob"}, `no hub "fakecloud-hob"; there are fakecloud-hub`},
		{[]string{"hub-device", "d", "--key", "c2hvcnQ="}, "--key is base64 of 5 bytes; a key has 16 to 64"},
		{[]string{"hub-device", "d", "--key", testKey, "--ca"}, "--ca and --key exclude each other"},
		{[]string{"hub-device", "d", "--thumbprint", "12:34"}, `--thumbprint must be 40 (SHA-1) or 64 (SHA-256) hexadecimal digits, not "1234" (4 characters)`},
		{[]string{"hub-device", "d", "--cert", filepath.Join(dir, "none")}, "does not exist"},
		{[]string{"hub-device", "d", "--cert", request}, "is a signing request (CSR), not a certificate; sign it first"},
		{[]string{"hub-device", "d", "--initial-twin", `{"tag":{}}`}, "--initial-twin:1:2: tag: unknown key; did you mean tags?"},
		{[]string{"hub-device", "d", "--initial-twin", filepath.Join(dir, "none")}, "neither JSON nor a file that can be read"},
		{[]string{"hub-device"}, "add hub-device wants ID; see fakecloud add hub-device --help"},
		{[]string{"enrollment", "meter", "--dps", "0ne00FAKE99"}, `no DPS instance "0ne00FAKE99"; there are fakecloud-dps`},
		{[]string{"enrollment", "meter."}, "end with a letter, a digit or -"},
		{[]string{"enrollment", "meter", "--hub", "elsewhere"}, `"elsewhere" is not a linked hub of this instance`},
		{[]string{"group", "g"}, "say how members prove who they are: --ca NAME, --cert FILE, --symmetric or --key BASE64"},
		{[]string{"group", "demo-x509", "--symmetric"}, "the group demo-x509 of fakecloud-dps exists already"},
		{[]string{"group", "g", "--ca", "demo-cb"}, `no certificate "demo-cb" in this instance's certificates; did you mean demo-ca?`},
		{[]string{"ca", leaf}, "say where to with --to dps/NAME, hub/NAME, mindsphere/TENANT or iotda/INSTANCE; there are dps/fakecloud-dps"},
		{[]string{"ca", leaf, "--to", "dps/fakecloud-dps"}, "is no CA certificate (basicConstraints CA:FALSE or missing)"},
		{[]string{"ca", old, "--to", "dps/fakecloud-dps"}, "expired at "},
		{[]string{"ca", old, "--to", "mindsphere/demo"}, "expired at "},
		{[]string{"ca", "demo-ca", "--to", "iotda/demo"}, `no IoTDA instance "demo"; there are fakecloud`},
		{[]string{"ca", "demo-ca", "--to", "iotda/fakecloud"}, "the certificate demo-ca of iotda/fakecloud exists already"},
		{[]string{"ca", "demo-ca", "--to", "edge/x"}, `no gateway "x"; there are mygateway.contoso.com`},
		{[]string{"product", "demo"}, "the product demo of fakecloud exists already; add --replace to change it"},
		{[]string{"product", "p", "--property", "Battery:int"}, "write SERVICE.NAME:TYPE[:RANGE[:UNIT]]"},
		{[]string{"product", "p", "--property", "S.n:int:5"}, "the range of a number is MIN..MAX"},
		{[]string{"product", "p", "--property", "S.n:int:9..1"}, "the range 9..1 holds no number"},
		{[]string{"product", "p", "--property", "S.n:boolean:0..1"}, "a boolean has no range"},
		{[]string{"product", "p", "--property", "S.n:float:0..1"}, "must be one of int, long, decimal"},
		{[]string{"product", "p", "--property", "S.n:string:long"}, "string has a greatest length"},
		{[]string{"product", "p", "--property", "S.n:integer"}, "must be one of int, long, decimal"},
		{[]string{"product", "p", "--command", "stop"}, "write SERVICE.NAME, such as Pump.stop"},
		{[]string{"product", "p", "--model", leaf}, "holds no service_capabilities"},
		{[]string{"iotda-device", "node1"}, "the device demo_node1 of fakecloud exists already"},
		{[]string{"iotda-device", "n", "--product", "dmo"}, `no product "dmo"; there are demo`},
		{[]string{"iotda-device", "n", "--secret", "short"}, "must be 8 to 32 letters, digits, _ and -"},
		{[]string{"iotda-device", "n", "--gateway", "gone"}, `no device "gone" in this instance's devices`},
		{[]string{"iotda-device", "n", "--x509", "--secret", "12345678"}, "exclude each other"},
		{[]string{"iotda-device", "n", "--fingerprint", "12:34"}, "must be 40 (SHA-1) or 64 (SHA-256) hexadecimal digits"},
		{[]string{"iotda-device", "a b"}, "made of letters, digits, _ and -"},
		{[]string{"ca", "demo-ca", "--to", "hub/fakecloud-hub"}, "the certificate demo-ca of hub/fakecloud-hub exists already"},
		{[]string{"tenant", "demo"}, "the tenant demo exists already; add --replace to change it"},
		{[]string{"tenant", "x", "--region", "us1"}, "--region"},
		{[]string{"tenant", "x", "--ca", leaf}, "is no CA certificate (basicConstraints CA:FALSE or missing)"},
		{[]string{"tenant", "x", "--hub", "fakecloud-hub"}, "--id-scope and --hub go with --region eu2"},
		{[]string{"tenant", "x", "--region", "eu2", "--id-scope", "0ne00FAKE09"}, "no DPS instance of azure.dps has the ID scope 0ne00FAKE09"},
		{[]string{"tenant", "x", "--region", "eu2", "--id-scope", "0ne00FAKE02", "--hub", "fakecloud-hub"}, "is not a linked hub of the DPS instance demo2-dps"},
		{[]string{"tenant", "x", "--region", "private"}, "is a private cloud and needs host"},
		{[]string{"tenant", "a_b"}, "must be a name of letters, digits and hyphens"},
	} {
		_, stderr, code := s.command(append([]string{"add"}, c.args...)...)
		require.Equal(t, 2, code, c.args)
		require.Contains(t, stderr, c.says)
	}
	require.Equal(t, string(world.Format(world.Default())), string(world.Format(s.world)), "nothing was added")
}

func TestAddEnrollment(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	out, stderr, code := s.command("add", "enrollment", "meter-1", "--device-id", "m1", "--hub", "fakecloud-hub", "--key", testKey)
	require.Zero(t, code, stderr)
	e := s.world.Azure.DPS[0].Enrollments[0]
	require.Equal(t, "m1", e.DeviceID)
	require.Equal(t, []string{"fakecloud-hub"}, e.IoTHubs)
	require.Equal(t, testKey, e.Attestation.SymmetricKey.PrimaryKey)
	require.Contains(t, out, "ID scope        0ne00FAKE01\n")
	require.Contains(t, out, "device key      "+testKey+"\n")
	require.Contains(t, out, "  fakecloud device azure --host 127.0.0.1 --port 8883 --ca ")
	require.Contains(t, out, " --id-scope 0ne00FAKE01 --id meter-1 --key "+testKey+"\n")

	_, stderr, code = s.command("add", "enrollment", "meter-2", "--cert", testCert(t, "other", false, tomorrow))
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, `note: the certificate's common name is "other"; DPS wants the registration id "meter-2" there`)
	require.NotNil(t, s.world.Azure.DPS[0].Enrollments[1].Attestation.X509.Primary)

	_, _, code = s.command("add", "enrollment", "METER-1", "--replace", "--disabled")
	require.Zero(t, code)
	require.Len(t, s.world.Azure.DPS[0].Enrollments, 2)
	require.Equal(t, "disabled", s.world.Azure.DPS[0].Enrollments[0].ProvisioningStatus)
}

func TestAddGroupAndCA(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ca := testCert(t, "Plant CA", true, tomorrow)
	out, stderr, code := s.command("add", "ca", ca, "--to", "dps/fakecloud-dps", "--unverified")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "unverified: devices that lead to it are refused")
	certificates := s.world.Azure.DPS[0].Certificates
	require.Equal(t, "my-Plant-CA", certificates[1].Name)
	require.False(t, certificates[1].IsVerified())
	out, _, code = s.command("add", "ca", ca, "--to", "dps/fakecloud-dps", "--replace")
	require.Zero(t, code)
	require.Contains(t, out, "next: fakecloud add group my-devices --ca my-Plant-CA --dps fakecloud-dps\n")
	require.True(t, s.world.Azure.DPS[0].Certificates[1].IsVerified())

	out, stderr, code = s.command("add", "group", "plant", "--ca", "my-Plant-CA")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "--cert device-001_chain.pem --key-file device-001.key")
	_, stderr, code = s.command("add", "group", "line", "--cert", ca)
	require.Zero(t, code, stderr)

	const groupKey = "ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAxLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg=="
	out, stderr, code = s.command("add", "group", "keys", "--key", groupKey)
	require.Zero(t, code, stderr)
	// The group key of demo-symmetric, and what openssl and Python derive from it for device-001.
	require.Contains(t, out, "device key      d+XLGuS2T7b8v7TXsSf+PtIWVOUvarQCXwIBe1g9yNU=\n")

	s.world.PKI.CAs = []world.CA{{Name: "made"}}
	out, stderr, code = s.command("add", "group", "made-devices", "--ca", "made", "--dps", "0ne00FAKE01")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "fakecloud pki device device-001 --ca made\n")
	require.Equal(t, "made", s.world.Azure.DPS[0].Certificates[2].CA, "uploaded along the way")
}

func TestAddPrintNeedsNoInstance(t *testing.T) {
	t.Parallel()
	out, stderr, code := command(t, "", "add", "hub-device", "d1", "--key", testKey, "--print")
	require.Zero(t, code, stderr)
	w, err := world.Parse("printed", []byte(out))
	require.NoError(t, err)
	require.Equal(t, "d1", w.Azure.Hubs[0].Devices[0].DeviceID)
}

func TestAddTenant(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ca := testCert(t, "Camexia CA", true, tomorrow)
	out, stderr, code := s.command("add", "tenant", "camexia", "--ca", ca, "--provisioning", "20s", "--event-type", "A", "--event-type", "B")
	require.Zero(t, code, stderr)
	camexia := s.tenant(t, "camexia")
	require.Equal(t, []any{"eu1", 20 * time.Second, []string{"A", "B"}, "my-Camexia-CA"},
		[]any{camexia.Region, camexia.Provisioning.D(), camexia.EventTypes, camexia.Certificates[0].Name})
	require.Contains(t, out, "-i camexia_pump-7 -q 1 -t tc/camexia/camexia_pump-7/o/agm_v3/t")
	require.Contains(t, out, "fakecloud explain camexia_pump-7")

	out, stderr, code = s.command("add", "ca", "demo-ca", "--to", "mindsphere/camexia", "--unverified")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "unverified")
	_, stderr, code = s.command("add", "ca", ca, "--to", "mindsphere/camexia", "--name", "third")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "has 3 certificates; a tenant has at most 2")

	out, stderr, code = s.command("add", "tenant", "Camexia2", "--region", "eu2")
	require.Zero(t, code, stderr)
	two := s.tenant(t, "Camexia2")
	require.Equal(t, "conn-camexia2-iothub", two.Hub)
	require.Regexp(t, `^0ne[A-Z2-7]{8}$`, two.IDScope)
	require.Equal(t, "demo-ca", two.Certificates[0].CA)
	require.Len(t, s.hub("conn-camexia2-iothub").Policies, 5)
	require.Contains(t, out, "user name "+two.IDScope+"/registrations/Camexia2_pump-7/api-version=2019-03-31")

	_, stderr, code = s.command("add", "tenant", "camexia3", "--region", "eu2", "--id-scope", "0ne00FAKE02")
	require.Zero(t, code, stderr)
	require.Equal(t, []string{"conn-demo2-iothub", "conn-camexia3-iothub"}, s.world.Azure.DPS[1].LinkedHubs)
	require.Equal(t, "conn-camexia3-iothub", s.tenant(t, "camexia3").Hub)

	out, stderr, code = s.command("add", "tenant", "site", "--region", "private", "--host", "mqtt.site.test")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "_CertificateBearer")
}

func (s *stage) tenant(t *testing.T, name string) world.Tenant {
	t.Helper()
	for _, w := range s.world.MindSphere.Tenants {
		if w.Name == name {
			return w
		}
	}
	t.Fatalf("no tenant %q", name)
	return world.Tenant{}
}
