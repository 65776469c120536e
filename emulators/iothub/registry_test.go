package iothub

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestPutDeviceValidates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	thumb := func(p string) Authentication {
		return Authentication{Type: AuthSelfSigned, Thumbprint: Thumbprints{Primary: p}}
	}
	keys := func(k string) Authentication {
		return Authentication{Type: AuthSAS, SymmetricKey: SymmetricKey{PrimaryKey: k}}
	}
	for _, c := range []struct {
		name   string
		device Device
		want   string // of the error; empty is accepted
	}{
		{name: "plain", device: Device{DeviceID: "a"}},
		{name: "all characters", device: Device{DeviceID: "aZ09-.+%_#*?!(),=@$':;"}},
		{name: "128", device: Device{DeviceID: strings.Repeat("x", 128)}},
		{name: "16-byte key", device: Device{DeviceID: "b", Authentication: keys("MDEyMzQ1Njc4OWFiY2RlZg==")}},
		{name: "SHA-256", device: Device{DeviceID: "c", Authentication: thumb(strings.Repeat("0f", 32))}},
		{name: "129", device: Device{DeviceID: strings.Repeat("x", 129)}, want: "1 to 128"},
		{name: "empty", device: Device{}, want: "device id"},
		{name: "slash", device: Device{DeviceID: "a/b"}, want: "device id"},
		{name: "NUL", device: Device{DeviceID: "a\x00b"}, want: "device id"},
		{name: "short key", device: Device{DeviceID: "d", Authentication: keys("MDEyMw==")}, want: "16 to 64"},
		{name: "key not base64", device: Device{DeviceID: "d", Authentication: keys("geheim!")}, want: "not base64"},
		{name: "spaces in thumbprint", device: Device{DeviceID: "d", Authentication: thumb(strings.Repeat("0f ", 20))}, want: "remove the spaces and colons"},
		{name: "short thumbprint", device: Device{DeviceID: "d", Authentication: thumb("0f")}, want: "40 (SHA-1) or 64 (SHA-256)"},
		{name: "no thumbprint", device: Device{DeviceID: "d", Authentication: Authentication{Type: AuthSelfSigned}}, want: "needs a thumbprint"},
		{name: "both", device: Device{DeviceID: "d", Authentication: Authentication{Type: AuthSAS, Thumbprint: Thumbprints{Primary: "x"}}}, want: "takes no thumbprint"},
		{name: "CA with key", device: Device{DeviceID: "d", Authentication: Authentication{Type: AuthCA, SymmetricKey: SymmetricKey{PrimaryKey: demoKey}}}, want: "neither"},
		{name: "type", device: Device{DeviceID: "d", Authentication: Authentication{Type: "x509"}}, want: "selfSigned"},
		{name: "status", device: Device{DeviceID: "d", Status: "off"}, want: "enabled and disabled"},
		{name: "reason", device: Device{DeviceID: "d", StatusReason: strings.Repeat("x", 129)}, want: "at most 128"},
		{name: "twin", device: Device{DeviceID: "d", InitialTwin: []byte("{")}, want: "not JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := w.PutDevice(contoso, c.device)
			if c.want == "" {
				require.NoError(t, err)
				require.NotEmpty(t, d.GenerationID)
				require.NotEmpty(t, d.ETag)
				return
			}
			require.ErrorIs(t, err, ErrInvalid)
			require.Contains(t, err.Error(), c.want)
			require.NotContains(t, err.Error(), "geheim")
		})
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, err := w.CreateDevice(contoso, Device{DeviceID: "new"})
	require.NoError(t, err)
	require.Equal(t, Enabled, d.Status)
	require.Equal(t, AuthSAS, d.Authentication.Type)
	require.Len(t, d.Authentication.SymmetricKey.PrimaryKey, 44)
	require.NotEqual(t, d.Authentication.SymmetricKey.PrimaryKey, d.Authentication.SymmetricKey.SecondaryKey)
	require.Equal(t, "***", d.Masked().Authentication.SymmetricKey.PrimaryKey)
	_, err = w.CreateDevice(contoso, Device{DeviceID: "new"})
	require.ErrorIs(t, err, ErrExists)

	_, err = w.UpdateDevice(contoso, d, "stale")
	require.ErrorIs(t, err, ErrPrecondition)
	changed, err := w.UpdateDevice(contoso, d, d.ETag)
	require.NoError(t, err)
	require.NotEqual(t, d.ETag, changed.ETag)
	again, err := w.PutDevice(contoso, Device{DeviceID: "new", InitialTwin: []byte(`{"tags":{}}`)})
	require.NoError(t, err)
	require.Equal(t, d.GenerationID, again.GenerationID, "a put keeps the identity")

	require.ErrorIs(t, w.DeleteDevice(contoso, "new", "stale"), ErrPrecondition)
	require.NoError(t, w.DeleteDevice(contoso, "new", again.ETag))
	require.ErrorIs(t, w.DeleteDevice(contoso, "new", ""), ErrNotFound)
	remade, err := w.CreateDevice(contoso, Device{DeviceID: "new"})
	require.NoError(t, err)
	require.NotEqual(t, d.GenerationID, remade.GenerationID)
	require.Nil(t, remade.InitialTwin)

	require.Len(t, w.Devices(contoso), 2)
	require.Len(t, w.Modules(contoso, "dev-01"), 1)
	_, err = w.PutModule(contoso, Module{DeviceID: "nobody", ModuleID: "m"})
	require.ErrorIs(t, err, ErrNotFound)
	m, err := w.GetModule(contoso, "dev-01", "mod-a")
	require.NoError(t, err)
	kept, err := w.PutModule(contoso, m)
	require.NoError(t, err)
	require.Equal(t, m.GenerationID, kept.GenerationID)
	require.ErrorIs(t, w.DeleteModule(contoso, "dev-01", "mod-a", "stale"), ErrPrecondition)
	require.NoError(t, w.DeleteModule(contoso, "dev-01", "mod-a", "*"))
	require.ErrorIs(t, w.DeleteModule(contoso, "dev-01", "mod-a", ""), ErrNotFound)

	_, err = w.PutDevice("nowhere", Device{DeviceID: "x"})
	require.ErrorIs(t, err, ErrNotFound)
	require.NoError(t, w.DeleteHub(contoso))
	require.Empty(t, w.Hubs())
	require.Empty(t, w.Devices(contoso))
	require.Zero(t, w.devices.Len())
}

func TestHubs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, bad := range []Hub{{}, {Name: "a.b"}, {Name: "ok", Host: "not a host"}, {Name: "ok", Switches: Switches{DisabledCode: 4}},
		{Name: "ok", CAs: []CA{{Name: "x"}}}, {Name: "ok", Policies: []Policy{{Name: "p"}}},
		{Name: "ok", Policies: []Policy{{Name: "p", Rights: DeviceConnect, PrimaryKey: "x"}}}} {
		_, err := w.PutHub(bad)
		require.ErrorIs(t, err, ErrInvalid, "%+v", bad)
	}
	h, err := w.PutHub(Hub{Host: "Hub1.fakecloud.test"})
	require.NoError(t, err)
	require.Equal(t, "hub1", h.Name)
	require.Equal(t, []string{"hub1.fakecloud.test"}, h.Names())
	require.Len(t, h.Policies, 5)
	require.Equal(t, "RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect", h.Policies[0].Rights.String())
	require.Equal(t, []string{"contoso.azure-devices.net", "contoso.device.azure-devices.net", "contoso.service.azure-devices.net",
		"contoso.azure-devices.cn", "contoso.device.azure-devices.cn", "contoso.service.azure-devices.cn"}, w.Hubs()[0].Names())
	require.Equal(t, contoso, w.Hubs()[0].Host, "the first stays the default")

	root := issue(t, nil, "Root", asCA)
	require.NoError(t, w.PutCA(contoso, CA{Name: "root", Certificate: root.cert}))
	require.NoError(t, w.PutCA(contoso, CA{Name: "root", Certificate: root.cert, Verified: true}))
	h, err = w.GetHub("contoso.service.azure-devices.cn")
	require.NoError(t, err)
	require.Len(t, h.CAs, 1)
	require.True(t, h.CAs[0].Verified)
	require.NoError(t, w.DeleteCA(contoso, "root"))
	require.ErrorIs(t, w.DeleteCA(contoso, "root"), ErrNotFound)

	r, err := ParseRights("serviceconnect, DeviceConnect")
	require.NoError(t, err)
	require.Equal(t, ServiceConnect|DeviceConnect, r)
	_, err = ParseRights("Everything")
	require.ErrorIs(t, err, ErrInvalid)
}

func TestClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"fabrikam", "third"} {
		_, err := w.PutHub(Hub{Name: name})
		require.NoError(t, err)
	}
	for _, hub := range []string{"fabrikam", "third"} {
		_, err := w.PutDevice(hub+globalSuffix, Device{DeviceID: "far"})
		require.NoError(t, err)
	}
	_, err := w.PutDevice("fabrikam.azure-devices.net", Device{DeviceID: "Dev#9"})
	require.NoError(t, err)
	_, err = w.PutDevice("third.azure-devices.net", Device{DeviceID: "dev-01"})
	require.NoError(t, err)
	require.NoError(t, w.Assign("third.azure-devices.net", "dev-01"))
	for _, c := range []struct{ username, clientID, endpoint, near string }{
		{"contoso.azure-devices.net/dev-01/?api-version=2021-04-12", "dev-01", contoso, ""},
		{"CONTOSO.device.azure-devices.cn/dev-01", "dev-01", contoso, ""},
		{"fabrikam.azure-devices.net/x", "x", "fabrikam.azure-devices.net", ""},
		{"unknown.azure-devices.net/x", "x", "unknown.azure-devices.net", ""},
		{"contoso.azure-devices.net", "x", contoso, ""},
		{"127.0.0.1/far/?api-version=2021-04-12", "far", "fabrikam.azure-devices.net", ""},
		{"127.0.0.1/dev-01/?api-version=2021-04-12", "dev-01", "third.azure-devices.net", ""},
		{"LOCALHOST/Dev%239/?api-version=2021-04-12", "Dev#9", "fabrikam.azure-devices.net", ""},
		{"localhost/nobody/?api-version=2021-04-12", "nobody", contoso, ""},
		{"contoso/dev-01/?api-version=2021-04-12", "dev-01", "", "contoso.azure-devices.net/dev-01/?api-version=2021-04-12"},
		{"192.168.1.9/far/?api-version=2021-04-12", "far", "", "fabrikam.azure-devices.net/far/?api-version=2021-04-12"},
		{"", "far", "", "fabrikam.azure-devices.net/far/?api-version=2021-04-12"},
		{"0ne00FAKE01/registrations/x/api-version=2019-03-31", "x", "", ""},
		{"user", "client", "", ""},
	} {
		endpoint, ok, near := w.Claim(c.username, c.clientID, "127.0.0.1", "localhost")
		require.Equal(t, c.endpoint, endpoint, c.username)
		require.Equal(t, c.endpoint != "", ok, c.username)
		require.Equal(t, c.near, near, c.username)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"Flexy205", "dev-01", "dev-02", "pump"}
	for seen, want := range map[string]string{"flexy205": "Flexy205", "Flexy250": "Flexy205", "dev-1": "dev-01",
		"pumpe": "pump", "zzz": "", "": "", " pump": "pump", strings.Repeat("x", 1000): ""} {
		got, _ := nearest(seen, known)
		require.Equal(t, want, got, seen)
	}
}

func TestConcurrentPutsKeepOneIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, err := w.PutDevice(contoso, Device{DeviceID: "same", StatusReason: strconv.Itoa(i)})
			require.NoError(t, err)
			require.NoError(t, w.SetStatus(contoso, "dev-01", Enabled, ""))
		})
	}
	wg.Wait()
	d, err := w.GetDevice(contoso, "same")
	require.NoError(t, err)
	require.Equal(t, "same", d.DeviceID)
}

// The sheet's rows that are enforced are all declared, well-formed and explained.
func TestRules(t *testing.T) {
	t.Parallel()
	table := rule.NewTable(Rules)
	for _, r := range table.All() {
		for _, c := range r.Causes {
			require.NotEmpty(t, c.Why, "%s/%s", r.ID, c.ID)
			require.NotEmpty(t, c.Fix, "%s/%s", r.ID, c.ID)
		}
	}
	for n := 1; n <= 58; n++ {
		if n == 20 {
			continue // WebSocket
		}
		_, ok := table.Get(rule.ID("HUB-" + strconv.Itoa(n)))
		require.True(t, ok, n)
	}
}
