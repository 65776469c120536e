package store_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) *store.Store { return store.New() })
}

func TestDirectory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store { return open(t, filepath.Join(t.TempDir(), "state"), nil) })
}

func open(t *testing.T, dir string, log *bytes.Buffer) *store.Store {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	if log != nil {
		logger = slog.New(slog.NewTextHandler(log, nil))
	}
	s, err := store.Open(dir, logger)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

type row struct {
	Name string
	List []int
}

func lines(s *store.Store) *store.Log[string] {
	return store.NewLog(s, store.LogSpec[string]{Name: "lines", Count: 100_000, Bytes: 1 << 20, Cost: func(v *string) int { return len(*v) }})
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := open(t, dir, nil)
	table, log := store.NewTable[row](s, "rows", nil), lines(s)
	table.Put("a", row{"first", []int{1}})
	table.Put("gone", row{})
	require.True(t, table.Delete("gone"))
	_, err := table.Update("a", func(r row) (row, error) { r.List = append(r.List, 2); return r, nil })
	require.NoError(t, err)
	log.Append("x")
	log.Append("y")
	_, err = table.Touch("a", func(r row) (row, error) { r.Name = "touched"; return r, nil })
	require.NoError(t, err)
	require.NoError(t, s.Close())

	s = open(t, dir, nil)
	table, log = store.NewTable[row](s, "rows", nil), lines(s)
	require.Equal(t, []row{{"touched", []int{1, 2}}}, table.List(""))
	values, _ := log.Read(0, nil, 0)
	require.Equal(t, []string{"x", "y"}, values)
	require.EqualValues(t, 3, log.Append("z"))
	s.Clear()
	require.NoError(t, s.Close())

	s = open(t, dir, nil)
	require.Zero(t, store.NewTable[row](s, "rows", nil).Len())
	log = lines(s)
	require.Zero(t, log.Len())
	require.EqualValues(t, 4, log.Append("after a reset and a restart the numbers go on"))
	require.NoError(t, s.Err())
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "state")
	s := open(t, dir, nil)
	lines(s).Append("x")
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, f := range files {
		info, err := f.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), f.Name())
	}
}

func TestSecondProcessIsToldWhoHasTheDirectory(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, nil)
	_, err := store.Open(dir, nil)
	require.ErrorIs(t, err, store.ErrInUse)
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
}

func TestOtherFormat(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	require.NoError(t, s.Close())
	path := filepath.Join(dir, "state.db")
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("fakecloud")).Put([]byte("format"), []byte("2"))
	}))
	require.NoError(t, db.Close())
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = store.Open(dir, nil)
	require.ErrorIs(t, err, store.ErrFormat)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, `it has format "2", this version reads "1"; use the version that wrote it, or another directory`)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after, "the file is as it was")
}

func TestRowThatDoesNotDecodeIsReported(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	store.NewTable[string](s, "rows", nil).Put("k", "text")
	require.NoError(t, s.Close())
	s = open(t, dir, nil)
	store.NewTable[int](s, "rows", nil)
	require.ErrorContains(t, s.Err(), `table rows, row "k"`)
}

// Most rows of a large table are decoded when somebody asks for them.
func TestLargeTable(t *testing.T) {
	t.Parallel()
	const n = 500
	dir := t.TempDir()
	s := open(t, dir, nil)
	table := store.NewTable[row](s, "rows", nil)
	for i := range n {
		table.Put(strconv.Itoa(i), row{Name: strconv.Itoa(i)})
	}
	require.NoError(t, s.Close())

	s = open(t, dir, nil)
	table = store.NewTable[row](s, "rows", nil)
	require.Equal(t, n, table.Len())
	require.Len(t, table.Keys(""), n)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range 300 {
				if r, ok := table.Get(strconv.Itoa(i)); !ok || r.Name != strconv.Itoa(i) {
					t.Error(i, r, ok)
				}
			}
		})
	}
	group.Wait()
	for i := 300; i < n; i += 4 {
		k := strconv.Itoa(i)
		require.ErrorIs(t, table.Create(k, row{}), store.ErrExists)
		_, err := table.Update(strconv.Itoa(i+1), func(r row) (row, error) { r.List = []int{i}; return r, nil })
		require.NoError(t, err)
		require.True(t, table.Delete(strconv.Itoa(i+2)))
		require.False(t, table.Delete(strconv.Itoa(i+2)))
		table.Put(strconv.Itoa(i+3), row{Name: "new"})
	}
	require.Equal(t, n-50, table.Len())
	require.Len(t, table.List(""), n-50)
	before := table.List("")
	require.NoError(t, s.Close())

	s = open(t, dir, nil)
	table = store.NewTable[row](s, "rows", nil)
	require.Equal(t, before, table.List(""))
	s.Clear()
	require.Zero(t, table.Len())
	require.Empty(t, table.List(""))
}

func TestOldSegmentsGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	log := lines(s)
	text := strings.Repeat("x", 1000)
	for range 5000 { // 5 MB into 1 MiB
		log.Append(text)
	}
	files, err := filepath.Glob(filepath.Join(dir, "lines-*.log"))
	require.NoError(t, err)
	require.Less(t, len(files), 20)
	held, _ := log.Read(0, nil, 0)
	require.NoError(t, s.Close())
	log = lines(open(t, dir, nil))
	require.EqualValues(t, 5001, log.Append("while the older ones are being read"))
	again, next := log.Read(0, nil, 0)
	require.InDelta(t, len(held), len(again), 1)
	require.Equal(t, text, again[0])
	require.Equal(t, "while the older ones are being read", again[len(again)-1])
	require.EqualValues(t, 5001, next)
	for range 2000 { // what was read drops as well
		log.Append(text)
	}
	files, err = filepath.Glob(filepath.Join(dir, "lines-*.log"))
	require.NoError(t, err)
	require.Less(t, len(files), 20)
	log.Clear()
	require.Zero(t, log.Len())
	files, err = filepath.Glob(filepath.Join(dir, "lines-*.log"))
	require.NoError(t, err)
	require.Len(t, files, 1)
}

func TestCloseDoesNotWaitForHistory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	log := lines(s)
	for range 1000 {
		log.Append(strings.Repeat("x", 1000))
	}
	require.NoError(t, s.Close())
	for range 5 {
		s = open(t, dir, nil)
		log = lines(s)
		log.Append("x")
		require.NoError(t, s.Close())
	}
	require.Equal(t, 1005, lines(open(t, dir, nil)).Len())
}

func BenchmarkPut(b *testing.B) {
	s, err := store.Open(b.TempDir(), nil)
	require.NoError(b, err)
	defer s.Close()
	table := store.NewTable[row](s, "rows", nil)
	v := row{Name: strings.Repeat("x", 400)}
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	b.Run("alone", func(b *testing.B) {
		for i := range b.N {
			table.Put(keys[i%len(keys)], v)
		}
	})
	b.Run("together", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(p *testing.PB) {
			for i := 0; p.Next(); i++ {
				table.Put(keys[i*31%len(keys)], v)
			}
		})
	})
	log := lines(s)
	b.Run("append", func(b *testing.B) {
		for range b.N {
			log.Append(v.Name)
		}
	})
}
