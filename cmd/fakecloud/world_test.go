package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/world"
)

func TestWorldPrints(t *testing.T) {
	t.Parallel()
	out, _, code := command(t, "", "world", "default")
	require.Zero(t, code)
	require.Equal(t, string(world.DefaultText()), out)
	out, _, code = command(t, "", "world", "schema")
	require.Zero(t, code)
	require.True(t, json.Valid([]byte(out)))

	out, _, code = command(t, "", "world", "example")
	require.Zero(t, code)
	name := filepath.Join(t.TempDir(), "world.yaml")
	require.NoError(t, os.WriteFile(name, []byte(out), 0o600))
	out, stderr, code := command(t, "", "world", "check", name)
	require.Zero(t, code, stderr)
	require.Regexp(t, `^ok: \d DPS instances, 1 enrollment, \d groups, \d hubs, 5 devices, 1 module, \d MindSphere tenants, \d IoTDA instances, \d products, \d IoTDA devices, 1 Edge gateway, 1 CA, 1 fault\n$`, out)
}

func TestWorldCheckNamesFileLineAndKey(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "world.yaml")
	require.NoError(t, os.WriteFile(name, []byte("azure:\n  hubs:\n    - name: h1\n      disableDeviceSas: true\n"), 0o600))
	out, stderr, code := command(t, "", "world", "check", name)
	require.Equal(t, 2, code)
	require.Empty(t, out)
	require.Equal(t, "fakecloud: "+name+":4:7: azure.hubs[h1].disableDeviceSas: unknown key; did you mean disableDeviceSAS?\n", stderr)
}

func TestWorldShowAndPatch(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	dir := filepath.Dir(testCertNamed(t, "ca.pem"))
	name := filepath.Join(dir, "more.yaml")
	require.NoError(t, os.WriteFile(name, []byte("azure: {hubs: [{name: fakecloud-hub, certificates: [{name: plant, file: ca.pem}]}]}"), 0o600))
	out, stderr, code := s.command("world", "patch", name)
	require.Zero(t, code, stderr)
	require.Equal(t, "patched: 1 hub\n", out)
	require.Contains(t, s.hub("fakecloud-hub").Certificates[1].PEM, "BEGIN CERTIFICATE", "the file's content was sent")

	out, _, code = command(t, "azure: {hubs: [{name: second-hub}]}", "--admin", s.url, "world", "patch", "-")
	require.Zero(t, code)
	require.Equal(t, "patched: 1 hub\n", out)
	out, _, code = command(t, "mindsphere: {tenants: [{name: plant7}]}\niotda: {instances: [{name: fakecloud, products: [{productId: p1, name: p1}]}]}", "--admin", s.url, "world", "patch", "-")
	require.Zero(t, code)
	require.Equal(t, "patched: 1 MindSphere tenant, 1 IoTDA instance, 1 product\n", out)
	out, _, code = s.command("world", "show")
	require.Zero(t, code)
	require.Equal(t, string(world.Format(s.world)), out)

	_, stderr, code = command(t, "azure: {hubs: [{name: x, devises: []}]}", "--admin", s.url, "world", "patch", "-")
	require.Equal(t, 2, code)
	require.Equal(t, "fakecloud: standard input:1:26: azure.hubs[x].devises: unknown key; did you mean devices?\n", stderr)
	_, stderr, code = command(t, "azure: {dps: [{name: d, idScope: 0ne00000009, linkedHubs: [gone]}]}", "--admin", s.url, "world", "patch", "-")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, `no hub "gone" in azure.hubs`)
}

func testCertNamed(t *testing.T, name string) string {
	t.Helper()
	from := testCert(t, "named", true, tomorrow)
	to := filepath.Join(filepath.Dir(from), name)
	require.NoError(t, os.Rename(from, to))
	return to
}
