package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/rule"
)

func TestMeasure(t *testing.T) {
	t.Parallel()
	table := rule.NewTable([]rule.Rule{
		{ID: "HUB-1", Title: "accepted", Source: "s", Grade: rule.Documented},
		{ID: "HUB-16", Title: "refused", Source: "s", Grade: rule.Documented, Causes: []rule.Cause{{ID: "cn", Why: "other name"}, {ID: "ca", Why: "other CA"}}},
	})
	for _, tt := range []struct{ proofs, want string }{
		{"", "rules: 331 in the sheets, 2 enforced, 0 proven\ncauses: 2 declared, 0 proven\n" +
			"not proven: HUB-1  accepted\nnot proven: HUB-16  refused\nnot proven: HUB-16/cn  other name\nnot proven: HUB-16/ca  other CA\n"},
		{"HUB-1\tT\nHUB-16/cn\tT\nHUB-16/cn\tU\n", "rules: 331 in the sheets, 2 enforced, 2 proven\ncauses: 2 declared, 1 proven\nnot proven: HUB-16/ca  other CA\n"},
		{"HUB-1\tT\nHUB-16/cn\tT\nHUB-16/ca\tT\n", "rules: 331 in the sheets, 2 enforced, 2 proven\ncauses: 2 declared, 2 proven\n"},
		{"HUB-1\tT\nHUB-16/cn\tT\nHUB-16/ca\tT\nHUB-16/x\tT\nDA-1\tT\nDA-1/y\tT\nXX-1\tT\n", "rules: 331 in the sheets, 2 enforced, 2 proven\ncauses: 2 declared, 2 proven\n" +
			"1 further rows are proven in packages that are not part of an instance yet\n" +
			"proof of what is not enforced: HUB-16/x (T)\nproof of what is not enforced: XX-1 (T)\n"},
	} {
		r, err := measure(table, strings.NewReader(tt.proofs))
		require.NoError(t, err)
		require.Equal(t, tt.want, r.String())
		require.Equal(t, strings.Count(tt.want, "\n") == 2, r.complete())
	}
	_, err := measure(table, strings.NewReader("HUB-1\n"))
	require.ErrorContains(t, err, "line 1")
}
