package e2e

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// The vectors V2 to V6 of the fact sheet.
const (
	v2Key   = "d+XLGuS2T7b8v7TXsSf+PtIWVOUvarQCXwIBe1g9yNU="
	v3Token = "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2Fdevice-001&sig=%2BUMInG4dEKIdrF%2FV9%2F0%2FKk9gnlSf4YnvBeLW0PrFgGU%3D&se=4102444800&skn=registration"
	v4Token = "SharedAccessSignature sr=0ne00FAKE01%2Fregistrations%2Fdevice-001&sig=1%2F7JadeGBemKLfY73yLNP6VZhqgNmFAPIO6o0HpsoN8%3D&se=1577836800&skn=registration"
	v5Sig   = "WlpM10gU8RjKF57rf+LBwsGvwkMHyXjfxZSRqyofPEU="
	v6Sig   = "kDszwdcTR8wsAR434SImJ2bDuN+QD9czO5uXRBO677U="

	groupKeySecond = "ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAyLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg==" // of demo-symmetric

	meterKey      = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	meterSecond   = "bWV0ZXItMDEtc2Vjb25kYXJ5LWtleS1mb3ItdGVzdHM="
	strangersKey  = "c3RyYW5nZXIta2V5LXN0cmFuZ2VyLWtleS1zdHJhbmc="
	meterResource = "0ne00FAKE01%2Fregistrations%2FMeter-01"
)

// meter enrolls Meter-01 with two keys.
const meter = `
azure:
  dps:
    - name: fakecloud-dps
      enrollments:
        - registrationId: Meter-01
          deviceId: meter-in-the-cellar
          attestation: {symmetricKey: {primaryKey: ` + meterKey + `, secondaryKey: ` + meterSecond + `}}
`

func TestDPSVectors(t *testing.T) {
	t.Parallel()
	require.Equal(t, v2Key, hmacKey(t, groupKey, "device-001"))
	require.Equal(t, v3Token, registrationToken(t, v2Key, idScope, "device-001"))
	require.Equal(t, v5Sig, hmacKey(t, meterKey, meterResource+"\n4102444800"))
	require.Equal(t, v6Sig, hmacKey(t, meterKey, "0ne00FAKE01%2fregistrations%2fMeter-01\n4102444800"))
}

func TestDPSKeysAreAccepted(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(meter))
	v5 := url.QueryEscape(v5Sig)
	for name, row := range map[string]struct {
		id, token string
		proves    rule.ID
	}{
		"V3":                 {"device-001", v3Token, "DPS-16"},
		"V5":                 {"Meter-01", "SharedAccessSignature sr=" + meterResource + "&sig=" + v5 + "&se=4102444800&skn=registration", "DPS-17"},
		"V6":                 {"Meter-01", "SharedAccessSignature sr=0ne00FAKE01%2fregistrations%2fMeter-01&sig=" + url.QueryEscape(v6Sig) + "&se=4102444800&skn=registration", "DPS-17"},
		"unescaped resource": {"Meter-01", sasFor(t, meterKey, "0ne00FAKE01/registrations/Meter-01", farFuture, "&skn=registration"), "DPS-17"},
		"Java's empty skn":   {"Meter-01", "SharedAccessSignature sr=" + meterResource + "&sig=" + v5 + "&se=4102444800&skn=", "DPS-18"},
		"Node's order":       {"Meter-01", "SharedAccessSignature sr=" + meterResource + "&sig=" + v5 + "&skn=registration&se=4102444800", "DPS-18"},
		"any order":          {"Meter-01", "SharedAccessSignature skn=registration&se=4102444800&sig=" + v5 + "&sr=" + meterResource, "DPS-18"},
		"primary key":        {"Meter-01", registrationToken(t, meterKey, idScope, "Meter-01"), "DPS-20"},
		"secondary key":      {"Meter-01", registrationToken(t, meterSecond, idScope, "Meter-01"), "DPS-20"},
		"group's primary":    {"device-002", registrationToken(t, hmacKey(t, groupKey, "device-002"), idScope, "device-002"), "DPS-20"},
		"group's secondary":  {"device-003", registrationToken(t, hmacKey(t, groupKeySecond, "device-003"), idScope, "device-003"), "DPS-20"},
		"ID of upper case":   {"DEVICE-004", registrationToken(t, hmacKey(t, groupKey, "DEVICE-004"), idScope, "DEVICE-004"), "DPS-20"},
		"expires in an hour": {"Meter-01", sasFor(t, meterKey, meterResource, time.Now().Add(time.Hour).Unix(), "&skn=registration"), "DPS-16"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t, fakecloud.WithWorld(meter))
			wantAssigning(t, register(t, enrollee{id: row.id, token: &row.token}.open(t, cloud), ""))
			rule.Proves(t, row.proves)
		})
	}
	r := provision(t, cloud, enrollee{id: "device-001", token: ptr(v3Token)})
	require.NotNil(t, r.State.SymmetricKey)
	require.Nil(t, r.State.X509)
	require.Equal(t, "device-001", r.State.DeviceID)
}

// A wrong credential passes CONNECT and SUBSCRIBE; the register is refused, and the connection stands.
func TestDPSKeysAreRefused(t *testing.T) {
	t.Parallel()
	yesterday := time.Now().Add(-24 * time.Hour).Unix()
	for name, row := range map[string]struct {
		id, scope, token string
		code             int
		rule             rule.ID
	}{
		"V4, expired":            {"device-001", "", v4Token, 401000, "DPS-16/expired"},
		"expired yesterday":      {"Meter-01", "", sasFor(t, meterKey, meterResource, yesterday, "&skn=registration"), 401000, "DPS-16/expired"},
		"a stranger's key":       {"Meter-01", "", registrationToken(t, strangersKey, idScope, "Meter-01"), 401000, "DPS-15/signature"},
		"group, stranger's key":  {"device-001", "", registrationToken(t, strangersKey, idScope, "device-001"), 401000, "DPS-15/signature"},
		"another device's key":   {"device-002", "", registrationToken(t, v2Key, idScope, "device-002"), 401000, "DPS-15/signature"},
		"key derived lower case": {"DEVICE-001", "", registrationToken(t, v2Key, idScope, "DEVICE-001"), 401000, "DPS-15/signature"},
		"no token":               {"Meter-01", "", "secret", 401000, "DPS-15/token"},
		"no token, group":        {"device-001", "", "secret", 401000, "DPS-15/token"},
		"another resource":       {"Meter-01", "", registrationToken(t, meterKey, idScope, "Meter-02"), 401000, "DPS-15/resource"},
		"a hub's token":          {"Meter-01", "", sasFor(t, meterKey, "fakecloud-hub.azure-devices.net%2Fdevices%2FMeter-01", farFuture, ""), 401000, "DPS-15/resource"},
		"the group's own key":    {"device-001", "", registrationToken(t, groupKey, idScope, "device-001"), 401000, "DPS-19/group-key"},
		"unknown ID scope":       {"Meter-01", "0ne00FAKE0X", registrationToken(t, meterKey, "0ne00FAKE0X", "Meter-01"), 401000, "DPS-26/scope"},
		"no enrollment":          {"nobody", "0ne00FAKE02", registrationToken(t, meterKey, "0ne00FAKE02", "nobody"), 404201, "DPS-26/enrollment"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := fakecloud.Start(t, fakecloud.WithWorld(meter))
			c := enrollee{id: row.id, scope: row.scope, token: &row.token}.open(t, cloud)
			p := register(t, c, "")
			wantError(t, p, row.code, ".+")
			if row.code == 401000 {
				wantError(t, p, row.code, "Unauthorized")
			}
			e := refused(t, cloud, row.rule)
			require.Equal(t, row.code/1000, *e.Code)
			require.NotContains(t, e.Seen+e.Expected+e.Detail, "sig=%", "signatures are masked")
			wantAlive(t, c)
			require.Empty(t, cloud.Events(fakecloud.Filter{Kind: "provisioned"}))
		})
	}
}

func TestDPSAttestationOfTheOtherKind(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithWorld(meter))
	// A key enrollment, a certificate of demo-ca: the individual enrollment decides, not the group.
	c := enrolled(t, cloud, "Meter-01").open(t, cloud)
	wantError(t, register(t, c, ""), 401000, "Unauthorized")
	refused(t, cloud, "DPS-15/attestation")

	// A certificate enrollment, a token.
	cloud = fakecloud.Start(t)
	patch(t, cloud, "azure: {dps: [{name: fakecloud-dps, enrollments: [{registrationId: own-1, attestation: {x509: {primary: {pem: "+
		issueBy(t, "own-1", nil, false, nil).yaml()+"}}}}]}]}")
	token := registrationToken(t, meterKey, idScope, "own-1")
	c = enrollee{id: "own-1", token: &token}.open(t, cloud)
	wantError(t, register(t, c, ""), 401002, "Invalid certificate\\.")
	refused(t, cloud, "DPS-15/attestation")
}
