package hosts

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func sample(t *testing.T) *Table {
	t.Helper()
	table := New()
	require.NoError(t, table.Put(DPS, "fakecloud-dps", "global.azure-devices-provisioning.net", "fakecloud-dps.azure-devices-provisioning.net"))
	require.NoError(t, table.Put(DPS, "second-dps", "global.azure-devices-provisioning.net", "second-dps.azure-devices-provisioning.net"))
	require.NoError(t, table.Put(IoTHub, "fakecloud-hub.azure-devices.net", "fakecloud-hub.azure-devices.net"))
	require.NoError(t, table.Put(MindSphere, "eu1", "mindconnectmqtt.eu1.mindsphere.io", "gateway.eu1.mindsphere.io"))
	require.NoError(t, table.Put(IoTDA, "fakecloud", "fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com"))
	require.NoError(t, table.Put(Edge, "mygateway.contoso.com", "mygateway.contoso.com", "edge.localhost"))
	return table
}

func TestLookup(t *testing.T) {
	t.Parallel()
	table := sample(t)
	hub := Match{IoTHub, "fakecloud-hub.azure-devices.net", true}
	for name, want := range map[string]Match{
		"global.azure-devices-provisioning.net":                {DPS, "", true},
		"global.azure-devices-provisioning.cn":                 {DPS, "", true},
		"GLOBAL.Azure-Devices-Provisioning.NET.":               {DPS, "", true},
		"fakecloud-dps.azure-devices-provisioning.net":         {DPS, "fakecloud-dps", true},
		"second-dps.azure-devices-provisioning.cn":             {DPS, "second-dps", true},
		"other.azure-devices-provisioning.net":                 {DPS, "", false},
		"fakecloud-hub.azure-devices.net":                      hub,
		"fakecloud-hub.device.azure-devices.net":               hub,
		"fakecloud-hub.service.azure-devices.net":              hub,
		"fakecloud-hub.azure-devices.cn":                       hub,
		"fakecloud-hub.device.azure-devices.cn":                hub,
		"typo-hub.azure-devices.net":                           {IoTHub, "", false},
		"typo-hub.device.azure-devices.net":                    {IoTHub, "", false},
		"mindconnectmqtt.eu1.mindsphere.io":                    {MindSphere, "eu1", true},
		"gateway.eu1.mindsphere.io":                            {MindSphere, "eu1", true},
		"mindconnectmqtt.eu9.mindsphere.io":                    {MindSphere, "", false},
		"fakecloud.iot-mqtts.cn-north-4.myhuaweicloud.com":     {IoTDA, "fakecloud", true},
		"another.iot-mqtts.cn-north-4.myhuaweicloud.com":       {IoTDA, "", false},
		"x.st1.iotda-device.cn-north-4.myhuaweicloud.com":      {IoTDA, "", false},
		"iot-bs.cn-north-4.myhuaweicloud.com":                  {IoTDA, "", false},
		"iam.cn-north-4.myhuaweicloud.com":                     {IoTDA, "", false},
		"x.iotda.cn-north-4.myhuaweicloud.com":                 {IoTDA, "", false},
		"obs.cn-north-4.myhuaweicloud.com":                     {},
		"cn-north-4.myhuaweicloud.com":                         {},
		"management.azure.com":                                 {ARM, "", false},
		"mygateway.contoso.com":                                {Edge, "mygateway.contoso.com", true},
		"Edge.LocalHost":                                       {Edge, "mygateway.contoso.com", true},
		"localhost":                                            {},
		"":                                                     {},
		".":                                                    {},
		".azure-devices.net":                                   {},
		"azure-devices.net":                                    {},
		"notazure-devices.net":                                 {},
		"fakecloud-hub.azure-devices.net.evil.example":         {},
		"fakecloud-hub.azure-devices-provisioning.net.example": {},
	} {
		require.Equal(t, want, table.Lookup(name), "%q", name)
	}
}

func TestInstancesComeAndGo(t *testing.T) {
	t.Parallel()
	table := sample(t)
	table.Drop(DPS, "second-dps")
	require.Equal(t, Match{DPS, "fakecloud-dps", true}, table.Lookup("global.azure-devices-provisioning.net"),
		"the shared name leads to the only instance left")
	require.Equal(t, Match{DPS, "", false}, table.Lookup("second-dps.azure-devices-provisioning.net"))

	require.NoError(t, table.Put(IoTHub, "fakecloud-hub.azure-devices.net", "renamed.azure-devices.net"))
	require.False(t, table.Lookup("fakecloud-hub.azure-devices.net").Known)
	require.True(t, table.Lookup("renamed.azure-devices.net").Known)
	table.Drop(IoTHub, "never-there")
}

func TestAPutNameGoesBeforeADerivedOne(t *testing.T) {
	t.Parallel()
	table := New()
	require.NoError(t, table.Put(IoTHub, "global", "hub.azure-devices.net"))
	require.NoError(t, table.Put(IoTHub, "china", "hub.azure-devices.cn"))
	require.Equal(t, "global", table.Lookup("hub.azure-devices.net").Endpoint)
	require.Equal(t, "china", table.Lookup("hub.azure-devices.cn").Endpoint)
}

func TestANameHasOnePlatform(t *testing.T) {
	t.Parallel()
	table := sample(t)
	err := table.Put(MindSphere, "eu2", "Fakecloud-Hub.azure-devices.net")
	require.ErrorContains(t, err, `host name "fakecloud-hub.azure-devices.net" cannot belong to both`)
	require.Equal(t, IoTHub, table.Lookup("fakecloud-hub.azure-devices.net").Platform, "nothing has changed")
	require.ErrorContains(t, table.Put(Edge, "e", "."), "empty host name")
}

func TestNamesAndDomains(t *testing.T) {
	t.Parallel()
	table := sample(t)
	names := table.Names()
	require.IsIncreasing(t, names)
	for _, name := range names {
		require.True(t, table.Lookup(name).Known, name)
	}
	require.Contains(t, names, "fakecloud-hub.service.azure-devices.net")
	require.Contains(t, names, "edge.localhost")
	require.Equal(t, append(VendorDomains(), "edge.localhost", "mygateway.contoso.com"), table.Domains())
}

func TestNearest(t *testing.T) {
	t.Parallel()
	table := sample(t)
	for name, want := range map[string]string{
		"fakecloudhub.azure-devices.net":       "fakecloud-hub.azure-devices.net",
		"global.azure-device-provisioning.net": "global.azure-devices-provisioning.net",
		"mygateway":                            "mygateway.contoso.com",
		"mindconnectmqtt.eu1.mindsphere.com":   "mindconnectmqtt.eu1.mindsphere.io",
		"something-else-entirely.example":      "",
		"":                                     "",
		string(make([]byte, 300)):              "",
	} {
		require.Equal(t, want, table.Nearest(name), "%q", name)
	}
}

func TestReadersAndWriters(t *testing.T) {
	t.Parallel()
	table := sample(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				endpoint := fmt.Sprintf("hub-%d-%d", i, j)
				if err := table.Put(IoTHub, endpoint, endpoint+".azure-devices.net"); err != nil {
					t.Error(err)
				}
				table.Drop(IoTHub, endpoint)
			}
		})
		wg.Go(func() {
			for range 500 {
				if !table.Lookup("fakecloud-hub.azure-devices.net").Known {
					t.Error("a name vanished while others came and went")
				}
			}
		})
	}
	wg.Wait()
}

func FuzzLookup(f *testing.F) {
	f.Add("fakecloud-hub.azure-devices.net")
	f.Add("x.iotda.cn-north-4.myhuaweicloud.com.")
	f.Fuzz(func(t *testing.T, name string) {
		table := New()
		m := table.Lookup(name)
		if m.Known {
			t.Fatalf("an empty table knows %q", name)
		}
		for _, form := range Forms(name) {
			if got := table.Lookup(form).Platform; got != m.Platform {
				t.Fatalf("%q is %q, its form %q is %q", name, m.Platform, form, got)
			}
		}
	})
}
