//go:build vendor

package sdk

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// block is a fenced shell block of README.md: "sh" runs in the reader's second terminal, "sh serve" in the
// first one. "sh test" is what CI runs before anything else; scripts/container.sh runs "sh docker".
var block = regexp.MustCompile("(?ms)^```sh( \\w+)?\n(.*?)^```$")

// Every command of the README runs as printed, in order, in one shell.
func TestReadme(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	var script strings.Builder
	// Jobs have process groups of their own (set -m), so that what "go run" has started ends with it.
	script.WriteString("set -em\ntrap 'kill -- -$serve; wait $serve || true' EXIT\n")
	kinds := map[string]int{}
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		kind := strings.TrimSpace(m[1])
		kinds[kind]++
		switch kind {
		case "":
			script.WriteString(m[2])
		case "serve":
			script.WriteString("{ " + strings.TrimSpace(m[2]) + "; } >serve.log 2>&1 &\nserve=$!\n" +
				"for i in $(seq 300); do grep -q '^fakecloud ready' serve.log && break; sleep 0.2; done\ngrep '^fakecloud ready' serve.log\n")
		case "test", "docker":
		default:
			t.Fatalf("README.md has a block %q that nothing runs", kind)
		}
	}
	require.Equal(t, 1, kinds["serve"])
	require.Equal(t, 1, kinds["test"])
	require.Equal(t, 1, kinds["docker"])
	require.GreaterOrEqual(t, kinds[""], 6)

	dir := readmeCopy(t, root)
	t.Setenv("PATH", filepath.Dir(python())+string(os.PathListSeparator)+os.Getenv("PATH"))
	_, code := shell(t, dir, script.String())
	require.Zero(t, code)
}

// readmeCopy is a folder in which the README's relative paths lead to the checkout, but for what its
// commands write.
func readmeCopy(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	for _, e := range entries {
		if name := e.Name(); name != "build" && name != "fakecloud-data" {
			require.NoError(t, os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)))
		}
	}
	return dir
}
