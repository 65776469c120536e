package adopt

import (
	"crypto/x509"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/world"
)

const (
	gatewayHost = "mygateway.contoso.com"
	childUser   = "h.azure-devices.net/leaf/?api-version=2021-04-12"
)

// plantWorld has an IoTDA instance with devices of either kind, and a gateway with its hub.
func plantWorld(ca *x509.Certificate) *world.World {
	w := &world.World{}
	w.IoTDA.Instances = []world.IoTDAInstance{{Name: "fakecloud",
		Products:     []world.Product{{ProductID: "demo"}, {ProductID: "demo_big"}},
		Certificates: []world.IoTDACertificate{{CACertificate: world.CACertificate{Name: "plant", PEM: pemOf(ca), Verified: &no}}},
		Devices: []world.IoTDADevice{{DeviceID: "demo_pump", ProductID: "demo", Secret: "12345678"},
			{DeviceID: "demo_x509", ProductID: "demo", AuthType: authCertificates, Fingerprint: strings.Repeat("a", 64)},
			{DeviceID: "odd", ProductID: "demo", NodeID: "n1", Secret: "12345678", Frozen: &yes}}}}
	edge := &world.Capabilities{IoTEdge: &yes}
	w.Azure.Hubs = []world.Hub{{Name: "h", Devices: []world.Device{{DeviceID: "mygateway", Capabilities: edge}, {DeviceID: "leaf", Status: "disabled"}}}}
	w.Edge.Gateways = []world.EdgeGateway{{HostName: gatewayHost, Hub: "h"}}
	return w
}

func TestPlanIoTDAAndEdge(t *testing.T) {
	t.Parallel()
	ca := issue(t, "plant", nil)
	leaf := issue(t, "pump", ca)
	alone, chain := []*x509.Certificate{leaf.certificate}, []*x509.Certificate{leaf.certificate, ca.certificate}
	print := thumbprintOf(leaf.certificate)
	w := plantWorld(ca.certificate)
	for name, c := range map[string]struct {
		rule         rule.ID
		device       string
		certificates []*x509.Certificate
		want         []string // parts of the YAML
		not          string
	}{
		"unknown device":            {"DA-9/unknown", "demo_new", alone, []string{"deviceId: demo_new", "productId: demo\n", "nodeId: new", "authType: CERTIFICATES", print}, "products:"},
		"longest product":           {"DA-9/unknown", "demo_big_7", alone, []string{"productId: demo_big\n", `nodeId: "7"`}, "products:"},
		"unknown product":           {"DA-9/unknown", "valve_1", alone, []string{"products:\n        - productId: valve\n", "deviceId: valve_1", `nodeId: "1"`}, ""},
		"id without product":        {"DA-9/unknown", "pump", alone, []string{"deviceId: pump", "productId: demo\n", "nodeId: pump"}, "products:"},
		"another certificate":       {"DA-15/fingerprint", "demo_x509", alone, []string{"deviceId: demo_x509", print}, ""},
		"learned certificate":       {"DA-16/learned", "demo_x509", alone, []string{print}, ""},
		"certificate, not a secret": {"DA-17/no-password", "demo_pump", alone, []string{"authType: CERTIFICATES", print}, ""},
		"unverified CA":             {"DA-15/unverified", "demo_x509", alone, []string{"name: plant\n          verified: true"}, ""},
		"unknown CA":                {"DA-15/chain", "demo_x509", chain, []string{"name: adopted-demo_x509", "verified: true", "BEGIN CERTIFICATE"}, "devices:"},
		"frozen":                    {"DA-11/frozen", "odd", nil, []string{"deviceId: odd", "frozen: false"}, ""},
		"TLS only":                  {"DA-11/plain", "demo_pump", nil, []string{"secureAccess: false"}, ""},

		"child unknown":            {"EDGE-11/unknown", "leaf9", alone, []string{"name: h\n", "deviceId: leaf9", "parent: mygateway", "type: selfSigned"}, ""},
		"child without parent":     {"EDGE-11/parent", "leaf", nil, []string{"deviceId: leaf", "parent: mygateway"}, "authentication:"},
		"child that left":          {"EDGE-11/removed", "leaf", nil, []string{"parent: mygateway"}, ""},
		"child known to the hub":   {"EDGE-11/cached", "leaf", nil, []string{"parent: mygateway"}, ""},
		"child disabled":           {"EDGE-11/disabled", "leaf", nil, []string{"status: enabled"}, "parent:"},
		"child's thumbprint":       {"EDGE-12/thumbprint", "leaf", alone, []string{"type: selfSigned"}, ""},
		"child with a certificate": {"EDGE-16/type", "leaf", alone, []string{"type: selfSigned"}, ""},
		"child's CA":               {"EDGE-13/chain", "leaf", chain, []string{"hostname: " + gatewayHost, "trustBundle:", "name: adopted-leaf"}, "hubs:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change, err := Plan(w, deviceAttempt(c.rule, c.device, c.certificates))
			require.NoError(t, err)
			text := string(world.Format(change))
			for _, part := range c.want {
				require.Contains(t, text, part)
			}
			if c.not != "" {
				require.NotContains(t, text, c.not)
			}
			require.NoError(t, world.Validate(world.Merge(w, change)))
		})
	}
}

// deviceAttempt is a refused device of IoTDA, or a refused child of the gateway, by the rule's row.
func deviceAttempt(id rule.ID, device string, certificates []*x509.Certificate) Attempt {
	if strings.HasPrefix(string(id), "EDGE-") {
		return Attempt{Rule: id, Platform: "edge", Endpoint: gatewayHost, ClientID: device, Certificates: certificates,
			Username: strings.Replace(childUser, "leaf", device, 1)}
	}
	return Attempt{Rule: id, Platform: "iotda", Endpoint: "fakecloud", ClientID: device + "_0_0_2026010100", Username: device, Certificates: certificates}
}

func TestPlanRefusesIoTDAAndEdge(t *testing.T) {
	t.Parallel()
	leaf := issue(t, "pump", issue(t, "plant", nil))
	alone := []*x509.Certificate{leaf.certificate}
	w := plantWorld(issue(t, "other", nil).certificate)
	for name, c := range map[string]struct {
		rule         rule.ID
		device       string
		certificates []*x509.Certificate
		says         string
	}{
		"unknown device with a secret":  {"DA-9/unknown", "demo_new", nil, "fakecloud add iotda-device new --product demo --secret SECRET"},
		"unknown product with a secret": {"DA-9/unknown", "valve_1", nil, "fakecloud add iotda-device 1 --product valve --secret SECRET (after fakecloud add product valve)"},
		"wrong secret":                  {"DA-2/password", "demo_pump", nil, "fakecloud add iotda-device pump --replace --product demo --secret SECRET"},
		"wrong secret, id of its own":   {"DA-2/password", "odd", nil, "fakecloud add iotda-device n1 --replace --product demo --id odd --secret SECRET"},
		"swapped":                       {"DA-2/swapped", "demo_pump", nil, "DA-2/swapped is the client's to mend"},
		"CA that was not sent":          {"DA-15/chain", "demo_x509", alone, "(CN=plant): fakecloud add ca FILE --to iotda/fakecloud"},
		"somebody else's CA":            {"DA-15/unverified", "demo_x509", alone, "DA-15/unverified"},

		"child with a token":       {"EDGE-11/unknown", "leaf9", nil, "fakecloud add edge-child leaf9 --gateway " + gatewayHost + " --key BASE64"},
		"child's wrong key":        {"EDGE-7/signature", "leaf", nil, "fakecloud add edge-child leaf --gateway " + gatewayHost + " --replace --key BASE64"},
		"child's other kind":       {"EDGE-16/type", "leaf", nil, "--replace --key BASE64"},
		"child's CA, not sent":     {"EDGE-13/chain", "leaf", alone, "trustBundle of gateway " + gatewayHost},
		"child of an absent hub":   {"EDGE-33/unknown", "leaf", nil, "fakecloud edge upstream up"},
		"child without a password": {"EDGE-16/none", "leaf", nil, "EDGE-16/none is the client's"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Plan(w, deviceAttempt(c.rule, c.device, c.certificates))
			require.ErrorIs(t, err, ErrNotAdoptable)
			require.ErrorContains(t, err, c.says)
		})
	}
}
