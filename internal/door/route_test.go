package door

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/hosts"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// routingTable has all platforms; their claims are short forms of the real ones.
func routingTable(t *testing.T) *table {
	t.Helper()
	names := hosts.New()
	require.NoError(t, names.Put(hosts.DPS, "dps-a", dpsName, "dps-a.azure-devices-provisioning.net"))
	require.NoError(t, names.Put(hosts.DPS, "dps-b", dpsName, "dps-b.azure-devices-provisioning.net"))
	require.NoError(t, names.Put(hosts.IoTHub, "hub-a", "hub-a.azure-devices.net"))
	require.NoError(t, names.Put(hosts.IoTHub, "hub-b", "hub-b.azure-devices.net"))
	require.NoError(t, names.Put(hosts.MindSphere, "demo", "mindconnectmqtt.eu1.mindsphere.io"))
	require.NoError(t, names.Put(hosts.Edge, "gw", "mygateway.contoso.com"))
	mqtt := newCloud()
	has := func(s, sub string) bool { return strings.Contains(s, sub) }
	return &table{hosts: names, platforms: []Platform{
		{Name: hosts.DPS, MQTT: mqtt, Claim: func(h *Hello) Claim {
			for scope, endpoint := range map[string]string{"0neA/": "dps-a", "0neB/": "dps-b"} {
				if strings.HasPrefix(h.Username, scope) {
					return Claim{Endpoint: endpoint, OK: true}
				}
			}
			if has(h.Username, "/registrations/") {
				return Claim{OK: true} // its own refusal
			}
			return Claim{}
		}},
		{Name: hosts.IoTHub, MQTT: mqtt, HTTP: nil, Claim: func(h *Hello) Claim {
			for _, hub := range []string{"hub-a", "hub-b"} {
				if strings.HasPrefix(h.Username, hub+".azure-devices.net/") || strings.HasPrefix(h.Path, "/devices/"+hub) {
					return Claim{Endpoint: hub, OK: true}
				}
			}
			if strings.HasPrefix(h.Username, "127.0.0.1/") {
				if h.Endpoint != "" {
					return Claim{Endpoint: h.Endpoint, OK: true}
				}
				return Claim{Endpoint: "hub-a", OK: true}
			}
			if has(h.Username, "azure-devices") {
				return Claim{Near: "unknown hub"}
			}
			return Claim{}
		}},
		{Name: hosts.MindSphere, MQTT: mqtt, Claim: func(h *Hello) Claim {
			if h.Username == "_CertificateBearer" || len(h.Certificates) > 0 && h.Certificates[0].Issuer.CommonName == "tenant CA" {
				return Claim{Endpoint: "demo", OK: true}
			}
			return Claim{}
		}},
		{Name: hosts.Edge, MQTT: mqtt, Claim: func(h *Hello) Claim { return Claim{Endpoint: "gw", OK: h.Port == Edge} }},
		{Name: hosts.IoTDA, MQTT: mqtt, Plain: true, Claim: func(h *Hello) Claim {
			return Claim{Endpoint: "iotda", OK: strings.HasSuffix(h.ClientID, "_0_0_2026010100")}
		}},
	}}
}

func TestRoute(t *testing.T) {
	t.Parallel()
	tenant := []*x509.Certificate{{Issuer: pkix.Name{CommonName: "tenant CA"}}}
	web := func(name, path string) Hello { return Hello{Port: HTTPS, Name: name, Path: path} }
	for name, row := range map[string]struct {
		hello    Hello
		platform string
		endpoint string
		rule     rule.ID
	}{
		// The name fixes the platform, the user name the instance.
		"dps by global name":            {Hello{Port: MQTTS, Name: dpsName, Username: "0neA/registrations/d/"}, "dps", "dps-a", ""},
		"dps by the Chinese name":       {Hello{Port: MQTTS, Name: "global.azure-devices-provisioning.cn", Username: "0neB/x"}, "dps", "dps-b", ""},
		"dps, unknown scope":            {Hello{Port: MQTTS, Name: dpsName, Username: "0neX/registrations/d/"}, "dps", "", ""},
		"dps, own name of an instance":  {Hello{Port: MQTTS, Name: "dps-b.azure-devices-provisioning.net", Username: "?"}, "dps", "dps-b", ""},
		"dps name, hub's user name":     {Hello{Port: MQTTS, Name: dpsName, Username: "hub-a.azure-devices.net/d/"}, "dps", "", ""},
		"hub":                           {Hello{Port: MQTTS, Name: "hub-a.azure-devices.net", Username: "hub-a.azure-devices.net/d/"}, "iothub", "hub-a", ""},
		"hub, device form of the name":  {Hello{Port: MQTTS, Name: "hub-a.device.azure-devices.net", Username: "?"}, "iothub", "hub-a", ""},
		"hub, user name of another hub": {Hello{Port: MQTTS, Name: "hub-a.azure-devices.net", Username: "hub-b.azure-devices.net/d/"}, "iothub", "hub-b", ""},
		"hub, no user name":             {Hello{Port: MQTTS, Name: "hub-a.azure-devices.net"}, "iothub", "hub-a", ""},
		"hub, dps's user name":          {Hello{Port: MQTTS, Name: "hub-a.azure-devices.net", Username: "0neA/registrations/d/"}, "iothub", "hub-a", ""},
		"hub by name, loopback in user": {Hello{Port: MQTTS, Name: "hub-b.azure-devices.net", Username: "127.0.0.1/d/"}, "iothub", "hub-b", ""},
		"unknown hub name":              {Hello{Port: MQTTS, Name: "typo.azure-devices.net", Username: "typo.azure-devices.net/d/"}, "iothub", "", ""},
		"name in capitals":              {Hello{Port: MQTTS, Name: "HUB-A.Azure-Devices.NET"}, "iothub", "hub-a", ""},
		"mindsphere by name":            {Hello{Port: MQTTS, Name: "mindconnectmqtt.eu1.mindsphere.io"}, "mindsphere", "demo", ""},
		"mindsphere region unknown":     {Hello{Port: MQTTS, Name: "mindconnectmqtt.eu9.mindsphere.io"}, "mindsphere", "", ""},
		"edge by its name":              {Hello{Port: MQTTS, Name: "mygateway.contoso.com", Username: "hub-a.azure-devices.net/d/"}, "edge", "gw", ""},

		// Without a telling name each platform is asked.
		"no name, dps":                 {Hello{Port: MQTTS, Username: "0neA/registrations/d/"}, "dps", "dps-a", ""},
		"localhost, hub":               {Hello{Port: MQTTS, Name: "localhost", Username: "hub-b.azure-devices.net/d/"}, "iothub", "hub-b", ""},
		"container name, hub":          {Hello{Port: MQTTS, Name: "fakecloud", Username: "127.0.0.1/d/"}, "iothub", "hub-a", ""},
		"no name, dps refuses":         {Hello{Port: MQTTS, Username: "0neX/registrations/d/"}, "dps", "", ""},
		"no name, tenant certificate":  {Hello{Port: MQTTS, ClientID: "demo_agent", Certificates: tenant}, "mindsphere", "demo", ""},
		"no name, bearer":              {Hello{Port: MQTTS, Username: "_CertificateBearer"}, "mindsphere", "demo", ""},
		"no name, iotda over TLS":      {Hello{Port: MQTTS, ClientID: "p_n_0_0_2026010100"}, "iotda", "iotda", ""},
		"nobody claims":                {Hello{Port: MQTTS, ClientID: "x"}, "", "", "DOOR-1/nobody"},
		"nobody claims, no client id":  {Hello{Port: MQTTS}, "", "", "DOOR-1/nobody"},
		"nobody claims, a near miss":   {Hello{Port: MQTTS, Username: "hub-c.azure-devices.net/d/"}, "", "", "DOOR-1/nobody"},
		"a platform that is not there": {Hello{Port: MQTTS, Name: "management.azure.com"}, "", "", "DOOR-1/platform"},

		// ALPN, and the ports of their own.
		"alpn without name":          {Hello{Port: HTTPS, ALPN: amznALPN, ClientID: "demo_agent"}, "mindsphere", "", ""},
		"alpn, tenant certificate":   {Hello{Port: HTTPS, ALPN: amznALPN, Certificates: tenant}, "mindsphere", "demo", ""},
		"alpn, name of another":      {Hello{Port: HTTPS, ALPN: amznALPN, Name: "hub-a.azure-devices.net"}, "iothub", "hub-a", ""},
		"edge port, localhost":       {Hello{Port: Edge, Name: "localhost", Username: "hub-a.azure-devices.net/d/"}, "edge", "gw", ""},
		"edge port, no name":         {Hello{Port: Edge}, "edge", "gw", ""},
		"edge port, name of the hub": {Hello{Port: Edge, Name: "hub-a.azure-devices.net"}, "edge", "gw", ""},
		"plain, iotda":               {Hello{Port: MQTT, ClientID: "p_n_0_0_2026010100"}, "iotda", "iotda", ""},
		"plain, hub":                 {Hello{Port: MQTT, Username: "hub-a.azure-devices.net/d/"}, "", "", "DOOR-1/port"},
		"plain by proxy, hub's name": {Hello{Port: MQTT, Name: "hub-a.azure-devices.net"}, "", "", "DOOR-1/port"},
		"plain, nobody":              {Hello{Port: MQTT, ClientID: "x"}, "iotda", "", ""},
		"plain, nearly the hub":      {Hello{Port: MQTT, Username: "hub-c.azure-devices.net/d/"}, "", "", "DOOR-1/nobody"},

		// HTTPS.
		"web, platform without HTTPS": {web("hub-a.azure-devices.net", "/devices/d"), "", "", "DOOR-5/platform"},
		"web, path of one without":    {web("localhost", "/devices/hub-a"), "", "", "DOOR-5/platform"},
		"web, unknown host":           {web("example.com", "/"), "", "", "DOOR-5/host"},
		"web, absent platform":        {web("management.azure.com", "/"), "", "", "DOOR-5/platform"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := row.hello
			if h.Port != HTTPS || h.ALPN != "" {
				h.Level = 4
			}
			got := route(h, routingTable(t))
			if row.rule != "" {
				require.NotNil(t, got.refusal)
				require.Equal(t, row.rule, got.refusal.Rule)
				require.NotEmpty(t, got.refusal.Expected)
				return
			}
			require.Nil(t, got.refusal)
			require.Equal(t, row.platform, got.platform.Name)
			require.Equal(t, row.endpoint, got.endpoint)
		})
	}
}

func TestRouteReachesHTTP(t *testing.T) {
	t.Parallel()
	table := routingTable(t)
	cfg, _ := testConfig(t)
	table.platforms[1].HTTP = cfg.Platforms[1].HTTP
	for path, want := range map[string]string{"/devices/hub-b": "hub-b"} {
		require.Equal(t, want, route(Hello{Port: HTTPS, Path: path}, table).endpoint)
	}
	require.Equal(t, "hub-a", route(Hello{Port: HTTPS, Name: "hub-a.azure-devices.net", Path: "/"}, table).endpoint)
}

func TestNearMissesAreTold(t *testing.T) {
	t.Parallel()
	table := routingTable(t)
	r := route(Hello{Port: MQTTS, Level: 4, Name: "hub-a.azure-device.net", Username: "hub-c.azure-devices.net/d/"}, table).refusal
	require.Contains(t, r.Detail, "iothub: unknown hub")
	require.Contains(t, r.Detail, `"hub-a.azure-devices.net"`)
	require.Equal(t, 5, r.Code)
	long := route(Hello{Port: MQTTS, Level: 4, ClientID: strings.Repeat("x", 10_000) + "\xff"}, table).refusal
	require.Less(t, len(long.Seen), 500)
}
