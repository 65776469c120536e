package store_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/store"
)

func TestSuccessorTakesTheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	whole := open(t, dir, nil)
	own := store.NewTable[string](whole, "own", nil)
	own.Put("k", "stays")
	old := whole.Part()
	oldRows, oldGone, oldLog := store.NewTable[row](old, "rows", nil), store.NewTable[int](old, "gone", nil), lines(old)
	oldRows.Put("a", row{Name: "old"})
	oldGone.Put("a", 1)
	oldLog.Append("one", "two")

	next := store.New()
	rows, log := store.NewTable[row](next, "rows", nil), lines(next)
	rows.Put("b", row{Name: "new"})
	log.Append("three")
	next.Succeed(old)
	oldRows.Put("late", row{})
	oldLog.Append("late")
	oldGone.Put("late", 1)
	require.EqualValues(t, 4, log.Append("four"), "numbers go on")
	rows.Put("c", row{Name: "later"})
	require.NoError(t, whole.Close())

	again := open(t, dir, nil)
	require.Equal(t, []string{"stays"}, store.NewTable[string](again, "own", nil).List(""))
	require.Equal(t, []row{{Name: "new"}, {Name: "later"}}, store.NewTable[row](again, "rows", nil).List(""))
	require.Zero(t, store.NewTable[int](again, "gone", nil).Len())
	kept := lines(again)
	records, last := kept.Read(0, nil, 0)
	require.Equal(t, []string{"three", "four"}, records)
	require.EqualValues(t, 4, last)
	records, _ = kept.Read(3, nil, 0)
	require.Equal(t, []string{"four"}, records)
}

func TestImage(t *testing.T) {
	s := store.New()
	store.NewTable[row](s, "rows", nil).Put("a", row{"first", []int{1}})
	lines(s).Append("one", "two")
	image := s.Image()

	copied := store.NewFrom(image)
	require.Equal(t, []string{"log lines", "table rows"}, copied.Unclaimed())
	rows, log := store.NewTable[row](copied, "rows", nil), lines(copied)
	require.NoError(t, copied.Err())
	require.Empty(t, copied.Unclaimed())
	require.Equal(t, []row{{"first", []int{1}}}, rows.List(""))
	copied.Succeed(s)
	records, last := log.Read(0, nil, 0)
	require.Equal(t, []string{"one", "two"}, records)
	require.EqualValues(t, 4, last)

	image.Tables["rows"]["b"] = []byte("no JSON")
	image.Logs["lines"][1] = []byte("{")
	broken := store.NewFrom(image)
	store.NewTable[row](broken, "rows", nil)
	lines(broken)
	require.ErrorContains(t, broken.Err(), `table rows, row "b" cannot be read`)
	require.ErrorContains(t, broken.Err(), "log lines, record 2 cannot be read")
}
