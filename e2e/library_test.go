package e2e

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// firmware is a test as a user of the library writes it.
//
//go:embed testdata/library/firmware_test.go.txt
var firmware string

// outside makes a module that is not ours and requires this one, with the versions that this one has.
func outside(t *testing.T) (dir string) {
	t.Helper()
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	dir = t.TempDir()
	own, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	_, requires, ok := strings.Cut(string(own), "\ngo ")
	require.True(t, ok)
	module := "module example.com/firmware\n\ngo " + requires +
		"\nrequire github.com/fakecloud/fakecloud v0.0.0\n\nreplace github.com/fakecloud/fakecloud => " + root + "\n"
	for name, content := range map[string]string{"go.mod": module, "go.sum": string(sums), "firmware_test.go": firmware} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

func goTool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod -trimpath", "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// The library serves a module that is not ours: a device is provisioned although DPS throttles it twice,
// and comes back after its token has run out. It brings along little.
func TestLibraryFromAnotherModule(t *testing.T) {
	t.Parallel()
	dir := outside(t)
	out := goTool(t, dir, "test", "-count=1", "-v", ".")
	for _, name := range []string{"TestDeviceSurvivesThrottlingAndExpiry", "TestAnHourInABubble", "TestCertificatesResetAndChildren", "TestManyInParallel", "TestRun"} {
		require.Contains(t, out, "--- PASS: "+name, out)
	}
	closure := goTool(t, dir, "list", "-deps", "github.com/fakecloud/fakecloud")
	for _, heavy := range []string{"github.com/spf13/cobra", "github.com/danielgtaylor/huma", "github.com/prometheus", "github.com/stretchr/testify"} {
		require.NotContains(t, closure, heavy)
	}
	require.NotContains(t, strings.Split(closure, "\n"), "testing")
}
