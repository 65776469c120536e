package ids

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSameSeedSameIDs(t *testing.T) {
	a, b := New(7), New(7)
	require.Equal(t, a.GUID(), b.GUID())
	require.Equal(t, a.Hex(15), b.Hex(15))
	require.NotEqual(t, a.GUID(), New(8).GUID())
}

func TestShapes(t *testing.T) {
	s := New(1)
	require.Regexp(t, regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`), s.GUID())
	require.Len(t, s.Hex(15), 15)
	f := s.Float64()
	require.True(t, f >= 0 && f < 1)
}
