package near

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestEdits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"abc", "abc", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"devcie-1", "device-1", 1},
		{"ab", "ba", 1}, {"abcdef", "badcfe", 3}, {"demo-sas", "demo_sas", 1}, {"hub", "fakecloud-hub", 10}, {"ca", "abc", 3},
	} {
		require.Equal(t, c.want, Edits(c.a, c.b, math.MaxInt), "%s %s", c.a, c.b)
		require.Equal(t, c.want, Edits(c.b, c.a, math.MaxInt), "%s %s", c.b, c.a)
	}
}

// A limit changes nothing but that it is never exceeded.
func TestEditsLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching("[abc]{0,9}")
		a, b, limit := word.Draw(t, "a"), word.Draw(t, "b"), rapid.IntRange(0, 10).Draw(t, "limit")
		require.Equal(t, min(Edits(a, b, math.MaxInt), limit), Edits(a, b, limit))
	})
}

func TestName(t *testing.T) {
	t.Parallel()
	names := []string{"demo-sas", "demo-leaf", "Flexy205"}
	require.Equal(t, "demo-sas", Name("demo-sos", names, 3))
	require.Equal(t, "Flexy205", Name("FLEXY206", names, 2))
	require.Equal(t, "demo-leaf", Name("dmeo-leaf", names, 2))
	require.Empty(t, Name("demo-sos", names, 1))
	require.Empty(t, Name("x", nil, math.MaxInt))
	many := append(slices.Repeat([]string{"a"}, Most), "b")
	require.Equal(t, "a", Name("b", many, math.MaxInt), "what is behind Most is not looked at")
}
