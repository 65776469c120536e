package rule

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTableOrdersByPrefixAndNumber(t *testing.T) {
	r := func(id ID) Rule { return Rule{ID: id, Title: "t", Source: "s", Grade: Documented} }
	table := NewTable([]Rule{r("HUB-10"), r("HUB-2")}, []Rule{r("DPS-3")})
	var got []ID
	for _, r := range table.All() {
		got = append(got, r.ID)
	}
	require.Equal(t, []ID{"DPS-3", "HUB-2", "HUB-10"}, got)
}

func TestTableRefusesBadRules(t *testing.T) {
	good := Rule{ID: "HUB-1", Title: "t", Source: "s", Grade: Documented}
	require.Panics(t, func() { NewTable([]Rule{good, good}) })
	require.Panics(t, func() { NewTable([]Rule{{ID: "HUB-1"}}) })
	assumed := good
	assumed.Grade = Assumed
	require.Panics(t, func() { NewTable([]Rule{assumed}) })
}

func TestCauseLookup(t *testing.T) {
	table := NewTable([]Rule{{ID: "HUB-16", Title: "t", Source: "s", Grade: Documented,
		Causes: []Cause{{ID: "cn", Why: "w", Fix: "f"}}}})
	_, cause, ok := table.Cause("HUB-16/cn")
	require.True(t, ok)
	require.Equal(t, "f", cause.Fix)
	_, _, ok = table.Cause("HUB-16/other")
	require.False(t, ok)
	require.Equal(t, ID("HUB-16"), ID("HUB-16/cn").Row())
}

func TestProvesWritesOnlyForPassingTests(t *testing.T) {
	file := filepath.Join(t.TempDir(), "proofs")
	t.Setenv(ProofsFile, file)
	t.Run("passes", func(t *testing.T) { Proves(t, "HUB-1", "HUB-5/signature") })
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "HUB-1\tTestProvesWritesOnlyForPassingTests/passes\nHUB-5/signature\tTestProvesWritesOnlyForPassingTests/passes\n", string(got))
}
