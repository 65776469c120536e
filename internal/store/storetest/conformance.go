package storetest

import (
	"errors"
	"maps"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/store"
)

// Run checks the stores that open returns, each of them empty.
func Run(t *testing.T, open func(t *testing.T) *store.Store) {
	for name, test := range map[string]func(*testing.T, *store.Store){
		"copies": testCopies, "rows": testRows, "clear": testClear, "concurrent updates": testConcurrentUpdates,
		"log": testLog, "log limits": testLogLimits, "concurrent appends": testConcurrentAppends, "touch": testTouch,
		"after close": testAfterClose,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func testCopies(t *testing.T, s *store.Store) {
	table := store.NewTable(s, "t", maps.Clone[map[string]int])
	in := map[string]int{"a": 1}
	require.NoError(t, table.Create("k", in))
	require.ErrorIs(t, table.Create("k", in), store.ErrExists)
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
	require.ErrorIs(t, err, store.ErrNotFound)
}

func testRows(t *testing.T, s *store.Store) {
	table := store.NewTable[int](s, "t", nil)
	table.Put("b", 2)
	table.Put("a", 1)
	table.Put("", 0)
	require.Equal(t, []int{0, 1, 2}, table.List(""))
	require.Equal(t, []int{2}, table.List("b"))
	require.ElementsMatch(t, []string{"", "a", "b"}, table.Keys(""))
	require.True(t, table.Delete("b"))
	require.False(t, table.Delete("b"))
	require.Equal(t, 2, table.Len())
}

func testTouch(t *testing.T, s *store.Store) {
	table := store.NewTable[int](s, "t", nil)
	table.Put("n", 1)
	n, err := table.Touch("n", func(n int) (int, error) { return n + 1, nil })
	require.NoError(t, err)
	require.Equal(t, 2, n)
	n, _ = table.Get("n")
	require.Equal(t, 2, n)
}

func testClear(t *testing.T, s *store.Store) {
	one, two := store.NewTable[int](s, "one", nil), store.NewTable[int](s, "two", nil)
	log := newLog(s, 10)
	one.Put("a", 1)
	two.Put("b", 2)
	log.Append("x")
	s.Clear()
	require.Zero(t, one.Len()+two.Len()+log.Len())
	one.Put("a", 5)
	require.EqualValues(t, 2, log.Append("y"), "numbers go on")
	require.Equal(t, 1, one.Len())
}

func testConcurrentUpdates(t *testing.T, s *store.Store) {
	table := store.NewTable[int](s, "t", nil)
	table.Put("n", 0)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				if _, err := table.Update("n", func(n int) (int, error) { return n + 1, nil }); err != nil {
					t.Error(err)
				}
				table.Put(strconv.Itoa(i), i)
			}
		})
	}
	wg.Wait()
	n, _ := table.Get("n")
	require.Equal(t, 800, n)
	require.Equal(t, 9, table.Len())
}

func newLog(s *store.Store, count int) *store.Log[string] {
	return store.NewLog(s, store.LogSpec[string]{Name: "log", Count: count, Bytes: 1 << 20, Cost: func(v *string) int { return len(*v) }})
}

func testLog(t *testing.T, s *store.Store) {
	log := newLog(s, 100)
	for i := range 5 {
		require.EqualValues(t, i+1, log.Append(strconv.Itoa(i)))
	}
	values, next := log.Read(0, nil, 0)
	require.Equal(t, []string{"0", "1", "2", "3", "4"}, values)
	require.EqualValues(t, 5, next)
	values, next = log.Read(2, nil, 2)
	require.Equal(t, []string{"2", "3"}, values)
	require.EqualValues(t, 4, next)
	values, next = log.Read(0, func(v *string) bool { return *v == "3" }, 0)
	require.Equal(t, []string{"3"}, values)
	require.EqualValues(t, 5, next)
	values, next = log.Read(99, nil, 0)
	require.Empty(t, values)
	require.EqualValues(t, 99, next)
}

func testLogLimits(t *testing.T, s *store.Store) {
	log := newLog(s, 3)
	for i := range 1000 {
		log.Append(strconv.Itoa(i))
	}
	values, _ := log.Read(0, nil, 0)
	require.Equal(t, []string{"997", "998", "999"}, values)
	require.EqualValues(t, 997, log.Dropped())
	require.EqualValues(t, 1000, log.Last())
	log.Append(string(make([]byte, 1<<20-4)))
	require.Equal(t, 2, log.Len(), "by bytes")
}

func testConcurrentAppends(t *testing.T, s *store.Store) {
	log := newLog(s, 10_000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				log.Append("x")
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1600, log.Len())
	require.EqualValues(t, 1600, log.Last())
}

func testAfterClose(t *testing.T, s *store.Store) {
	table, log := store.NewTable[int](s, "t", nil), newLog(s, 10)
	require.NoError(t, s.Close())
	table.Put("a", 1)
	log.Append("x")
	s.Clear()
	require.Zero(t, table.Len())
	require.NoError(t, s.Close())
}
