package rule

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSheetHasEveryRow(t *testing.T) {
	counts, last := map[string]int{}, map[string]int{}
	for _, row := range Sheet() {
		prefix, n := split(row.ID)
		counts[prefix]++
		require.Equal(t, last[prefix]+1, n, "rows of %s are numbered without a gap", prefix)
		last[prefix] = n
		require.NotEmpty(t, row.Title, row.ID)
	}
	require.Equal(t, map[string]int{"DPS": 46, "HUB": 71, "SVC": 40, "AMQP": 40, "MS": 32, "EDGE": 42, "DA": 60}, counts)
	require.Len(t, Sheet(), 331)
}

func TestRowsJoinsTableAndSheet(t *testing.T) {
	table := NewTable([]Rule{
		{ID: "HUB-16", Title: "ours", Source: "s", Grade: Documented, Causes: []Cause{{ID: "cn", Why: "w", Fix: "f"}}},
		{ID: "TLS-1", Title: "door", Source: "s", Grade: Measured},
	})
	rows := Rows(table)
	require.Len(t, rows, 332)
	row, ok := FindRow(table, "hub-16/cn")
	require.True(t, ok)
	require.True(t, row.Enforced)
	require.Equal(t, "ours", row.Title)
	row, ok = FindRow(table, "HUB-17")
	require.True(t, ok)
	require.False(t, row.Enforced)
	_, ok = FindRow(table, "HUB-999")
	require.False(t, ok)
}
