package store

import (
	"errors"
	"maps"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	s := New()
	table := NewTable(s, "t", maps.Clone[map[string]int])
	in := map[string]int{"a": 1}
	require.NoError(t, table.Create("k", in))
	require.ErrorIs(t, table.Create("k", in), ErrExists)
	in["a"] = 99
	out, ok := table.Get("k")
	require.True(t, ok)
	require.Equal(t, 1, out["a"], "a copy went in")
	out["a"] = 99
	out, _ = table.Get("k")
	require.Equal(t, 1, out["a"], "a copy came out")

	boom := errors.New("boom")
	_, err := table.Update("k", func(v map[string]int) (map[string]int, error) { v["a"] = 5; return v, boom })
	require.ErrorIs(t, err, boom)
	out, _ = table.Get("k")
	require.Equal(t, 1, out["a"], "a failed update changes nothing")
	_, err = table.Update("none", nil)
	require.ErrorIs(t, err, ErrNotFound)

	table.Put("j", nil)
	require.Len(t, table.List(""), 2)
	require.Len(t, table.List("k"), 1)
	require.True(t, table.Delete("j"))
	require.False(t, table.Delete("j"))
	s.Clear()
	require.Zero(t, table.Len())
}

func TestConcurrentUpdatesAreNotLost(t *testing.T) {
	table := NewTable[int](New(), "t", nil)
	table.Put("n", 0)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				_, err := table.Update("n", func(n int) (int, error) { return n + 1, nil })
				require.NoError(t, err)
				table.Put(strconv.Itoa(i), i)
			}
		})
	}
	wg.Wait()
	n, _ := table.Get("n")
	require.Equal(t, 800, n)
}
