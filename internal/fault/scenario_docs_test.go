package fault

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table of docs/scenarios.md anew")

// The marks around what this test writes.
const (
	docsFile  = "../../docs/scenarios.md"
	docsBegin = "<!-- written by go test ./internal/fault -run Documented -update -->\n"
	docsEnd   = "<!-- end -->\n"
)

// docsTable is the list as docs/scenarios.md has it.
func docsTable() string {
	var b strings.Builder
	b.WriteString("| id | platforms | what happens | what a correct client does |\n|---|---|---|---|\n")
	for _, s := range Scenarios() {
		fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s |\n", ScenarioPrefix, s.Name, strings.Join(s.Platforms, ", "), s.Happens, s.Correct)
	}
	b.WriteString("\nWith the simulated devices:\n\n```sh\n")
	for _, s := range Scenarios() {
		b.WriteString(s.Try + "\n")
	}
	return b.String() + "```\n"
}

func TestScenariosAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(docsFile)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(text), docsBegin)
	require.True(t, ok, "%s has the mark", docsFile)
	table, tail, ok := strings.Cut(rest, docsEnd)
	require.True(t, ok, "%s has the end mark", docsFile)
	if *update {
		require.NoError(t, os.WriteFile(docsFile, []byte(head+docsBegin+docsTable()+docsEnd+tail), 0o644))
		return
	}
	require.Equal(t, docsTable(), table, "run go test ./internal/fault -run Documented -update")
	require.Contains(t, head, ScenarioKey)
	require.Contains(t, head, ScenarioSecret)
}
