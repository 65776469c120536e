//go:build unix

package cli

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var commandLine = regexp.MustCompile(`(?m)^  ([a-z-]+) +\S`)

// Every command, however deep, says what it does, with an example that names it.
func TestHelp(t *testing.T) {
	t.Parallel()
	seen := 0
	var visit func(path []string)
	visit = func(path []string) {
		seen++
		cmd := exec.Command(binary, append(append([]string(nil), path...), "--help")...)
		cmd.Env, cmd.Dir = clean(), t.TempDir()
		text, err := cmd.Output()
		name := strings.Join(append([]string{"fakecloud"}, path...), " ")
		require.NoError(t, err, name)
		_, rest, found := strings.Cut(string(text), "\nExamples:\n")
		require.True(t, found, "%s --help has no example", name)
		examples, _, _ := strings.Cut(rest, "\n\n")
		require.Contains(t, examples, name)
		_, list, found := strings.Cut(string(text), "\nAvailable Commands:\n")
		if !found {
			return
		}
		list, _, _ = strings.Cut(list, "\n\n")
		for _, m := range commandLine.FindAllStringSubmatch(list, -1) {
			if m[1] != "help" && m[1] != "completion" { // cobra's own
				visit(append(append([]string(nil), path...), m[1]))
			}
		}
	}
	visit(nil)
	require.Greater(t, seen, 25)
}
