package rule

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// noted is a TB that keeps what it is told.
type noted struct {
	TB
	errors []string
}

func (n *noted) Helper() {}

func (n *noted) Errorf(format string, args ...any) {
	n.errors = append(n.errors, fmt.Sprintf(format, args...))
}

func TestCheckCited(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code := filepath.Join(dir, "*.go")
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("hub.go", `refuse("HUB-1/a"); refuse("HUB-2/x"); refuse("DPS-9/other")`)
	write("hub_test.go", `refuse("HUB-1/b"); refuse("HUB-7/nowhere")`)
	rules := []Rule{{ID: "HUB-1", Title: "t", Source: "s", Grade: Documented, Causes: []Cause{{ID: "a", Why: "w"}, {ID: "b", Why: "w", Fix: "f"}}}}

	n := &noted{}
	CheckCited(n, rules, code)
	require.ElementsMatch(t, []string{
		"HUB-2/x is cited, but not declared",
		"HUB-1/a does not say why, or how to mend it",
		"HUB-1/b is declared, but never cited",
	}, n.errors)

	write("more.go", `refuse("HUB-1/b")`)
	rules[0].Causes[0].Fix = "f"
	rules = append(rules, Rule{ID: "HUB-2", Title: "t", Source: "s", Grade: Documented, Causes: []Cause{{ID: "x", Why: "w", Fix: "f"}}})
	n = &noted{}
	CheckCited(n, rules, code)
	require.Empty(t, n.errors)
	CheckCited(n, rules, filepath.Join(dir, "*.rs"))
	require.Len(t, n.errors, 4, "no code, and three causes that nothing cites")
}
