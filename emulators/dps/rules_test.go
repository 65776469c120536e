package dps_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// Every cause that the code cites is declared, and every declared cause is cited somewhere.
func TestCausesAreDeclaredAndCited(t *testing.T) {
	t.Parallel()
	table := rule.NewTable(dps.Rules)
	cited := map[rule.ID]bool{}
	for _, pattern := range []string{"*.go", "mqtt/*.go", "rest/*.go", "arm/*.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, id := range regexp.MustCompile(`"(DPS-\d+/[a-z0-9-]+)"`).FindAllStringSubmatch(string(text), -1) {
				cited[rule.ID(id[1])] = true
			}
		}
	}
	for id := range cited {
		_, _, ok := table.Cause(id)
		require.True(t, ok, "%s is cited, but not declared", id)
	}
	for _, r := range table.All() {
		for _, c := range r.Causes {
			require.True(t, cited[r.ID+rule.ID("/"+c.ID)], "%s/%s is declared, but never cited", r.ID, c.ID)
			require.NotEmpty(t, c.Why)
			require.NotEmpty(t, c.Fix)
		}
	}
}
