package store

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzScan(f *testing.F) {
	dir := f.TempDir()
	s, err := openSegments(dir, "log", 1<<20, make(chan struct{}), newTrouble(slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler))
	require.NoError(f, err)
	records := s.add(1, func(dst []byte) []byte { return append(dst, "one"...) })
	s.add(2, func(dst []byte) []byte { return dst })
	f.Add(append([]byte(segmentMagic), records.bytes...))
	f.Fuzz(func(t *testing.T, b []byte) {
		number := uint64(1)
		good, why := scan(b, number, func(n uint64, _ []byte) error {
			require.Equal(t, number, n)
			number++
			return nil
		})
		require.LessOrEqual(t, good, len(b))
		again, whole := scan(b[:good], 1, func(uint64, []byte) error { return nil })
		require.Equal(t, good, again)
		require.NoError(t, whole, "what is good stays good: %v", why)
	})
}
