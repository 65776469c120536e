package azure

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseConnectionString(t *testing.T) {
	t.Parallel()
	cases := map[string]ConnectionString{
		"HostName=contoso.azure-devices.net;DeviceId=dev-01;SharedAccessKey=" + demoKey: {
			HostName: hubHost, DeviceID: "dev-01", Key: demoKey,
		},
		" hostname=contoso.azure-devices.net;DEVICEID=dev-01;ModuleId=m;GatewayHostName=127.0.0.1;SharedAccessKey=" + demoKey + "; \n": {
			HostName: hubHost, DeviceID: "dev-01", ModuleID: "m", GatewayHost: "127.0.0.1", Key: demoKey,
		},
		"HostName=contoso.azure-devices.net;DeviceId=a=b;x509=True": {HostName: hubHost, DeviceID: "a=b", X509: true},
		"HostName=contoso.azure-devices.net;DeviceId=dev-01;SharedAccessSignature=SharedAccessSignature sr=a&sig=AA%3D%3D&se=1": {
			HostName: hubHost, DeviceID: "dev-01", Token: "SharedAccessSignature sr=a&sig=AA%3D%3D&se=1",
		},
	}
	for text, want := range cases {
		got, err := ParseConnectionString(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
		_, err = got.HubConfig()
		require.NoError(t, err)
	}
}

func TestParseConnectionStringRefuses(t *testing.T) {
	t.Parallel()
	const host, device, key = "HostName=h.azure-devices.net;", "DeviceId=d;", "SharedAccessKey=" + demoKey + ";"
	cases := map[string]string{
		"":                               "HostName is missing",
		device + key:                     "HostName is missing",
		host + key:                       "DeviceId is missing",
		host + device:                    "no credential",
		host + device + "x509=false":     "no credential",
		host + device + key + "x509=yes": `x509 is "yes"`,
		host + device + key + "x509=1":   "more than one of",
		host + device + "SharedAccessKey=secret!;": "SharedAccessKey: the symmetric key is not base64",
		host + device + key + host:                 "HostName appears twice",
		host + "DeviceId=;" + key:                  "DeviceId is empty",
		host + device + key + "Colour=red":         `unknown part "Colour"`,
		host + device + key + "secret":             "part 4 has no '='",
		"HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=" + demoKey: "service connection string",
	}
	for text, want := range cases {
		_, err := ParseConnectionString(text)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "secret!")
		require.NotContains(t, err.Error(), demoKey)
	}
}

func TestKeysAndTokens(t *testing.T) {
	t.Parallel()
	// Vectors V1 (of Learn) and V2, with the id in another case, from section 3.4 of the sheet.
	for _, v := range [][3]string{
		{"8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==", "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6", "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc="},
		{"ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAxLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg==", "DEVICE-001", "2nXaIuEYZFbBouUAgagPLCmxI8hxAV7mY+/hIL5F98k="},
	} {
		got, err := DeriveDeviceKey(v[0], v[1])
		require.NoError(t, err)
		require.Equal(t, v[2], got)
	}
	for _, bad := range []string{"", "no base64!"} {
		_, err := DeriveDeviceKey(bad, "d")
		require.Error(t, err)
		_, err = SymmetricKey(bad)
		require.Error(t, err)
		if bad != "" {
			require.NotContains(t, err.Error(), bad)
		}
	}
	_, err := DeriveDeviceKey(demoKey, "")
	require.ErrorContains(t, err, "registration ID")
	_, err = Token("SharedAccessKey=abc")
	require.ErrorContains(t, err, "not a SharedAccessSignature")
}

func FuzzParseConnectionString(f *testing.F) {
	f.Add("HostName=contoso.azure-devices.net;DeviceId=dev-01;SharedAccessKey=" + demoKey)
	f.Add("HostName=h;DeviceId=d;x509=true;GatewayHostName=127.0.0.1;ModuleId=m")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseConnectionString(text)
		if err == nil && (s.HostName == "" || s.DeviceID == "") {
			t.Fatalf("accepted without host or device: %q", text)
		}
		if err != nil && strings.TrimSpace(err.Error()) == "" {
			t.Fatal("empty error")
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	f.Add("$dps/registrations/res/202/?$rid=1&retry-after=3", []byte(assigning))
	f.Add("$dps/registrations/res/200/?$rid=1", []byte(assigned))
	f.Add("$dps/registrations/res/429/?$rid=a-b&retry-after=99999999999", []byte("{"))
	f.Fuzz(func(t *testing.T, topic string, body []byte) {
		a, err := parseAnswer(topic, body)
		if err != nil {
			return
		}
		if a.retryAfter < 0 || a.retryAfter > maxRetryAfter {
			t.Fatalf("retry-after out of bounds: %s", a.retryAfter)
		}
		p := &provisioning{}
		done, _, err := p.judge(a)
		if done != nil && (err != nil || done.Hub == "") {
			t.Fatalf("assignment %+v with error %v", done, err)
		}
	})
}
