//go:build unix

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// binary is fakecloud, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fakecloud-cli")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Other users run the binary as well (see TestDataDirectoryOfAnotherUser).
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // holds nothing but the binary
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "fakecloud")
	build := exec.Command("go", "build", "-o", binary, "../../cmd/fakecloud")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "fakecloud cannot be built:", err)
		return 1
	}
	return m.Run()
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                "testdata",
		RequireUniqueNames: true,
		Setup:              setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":    serve,
			"shutdown": shutdown,
			"exits":    exits,
			"http":     call,
			"capture":  capture,
			"mode":     mode,
			"taken":    taken,
			"device":   device,
		},
	})
}

// setup takes every setting of whoever runs the tests out of the environment.
func setup(env *testscript.Env) error {
	var kept []string
	for _, v := range env.Vars {
		if !strings.HasPrefix(v, "FAKECLOUD_") && !strings.HasPrefix(v, "PATH=") {
			kept = append(kept, v)
		}
	}
	lesson, err := filepath.Abs("../../scripts/curl-lesson.sh")
	if err != nil {
		return err
	}
	page, err := filepath.Abs("../../docs/faults.md")
	if err != nil {
		return err
	}
	env.Vars = append(kept, "PATH="+filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"), "NO_COLOR=1", "LESSON="+lesson, "FAULTS_PAGE="+page)
	env.Values[instancesKey{}] = instances{}
	return nil
}
