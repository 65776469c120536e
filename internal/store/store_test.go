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

// filled makes a directory with some hundred rows and records.
func filled(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, dir, nil)
	table, log := store.NewTable[row](s, "rows", nil), lines(s)
	for i := range 300 {
		table.Put(strconv.Itoa(i), row{Name: strings.Repeat("x", 100)})
		log.Append("record " + strconv.Itoa(i))
	}
	require.NoError(t, s.Close())
	return dir
}

func TestDamagedStateIsMovedAside(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty pages":   func(b []byte) []byte { return make([]byte, len(b)) },
		"no database":   func([]byte) []byte { return []byte("hello\n") },
		"cut in half":   func(b []byte) []byte { return b[:len(b)/2] },
		"cut to a page": func(b []byte) []byte { return b[:4096] },
		"flipped bits": func(b []byte) []byte {
			i := bytes.LastIndex(b, []byte("xxxxxxxx"))
			for ; i > 0; i = bytes.LastIndex(b[:i], []byte("xxxxxxxx")) {
				b[i] ^= 1
			}
			return b
		},
		"garbage after the meta pages": func(b []byte) []byte {
			for i := 2 * 4096; i < len(b); i++ {
				b[i] = byte(i * 7)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filled(t)
			path := filepath.Join(dir, "state.db")
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			b = damage(b)
			require.NoError(t, os.WriteFile(path, b, 0o600))
			var log bytes.Buffer
			s := open(t, dir, &log)
			table := store.NewTable[row](s, "rows", nil)
			require.Zero(t, table.Len())
			table.Put("new", row{})
			require.Contains(t, log.String(), "path="+path)
			aside, err := filepath.Glob(path + ".corrupt-*")
			require.NoError(t, err)
			require.Len(t, aside, 1)
			require.Contains(t, log.String(), "moved_to="+aside[0])
			kept, err := os.ReadFile(aside[0])
			require.NoError(t, err)
			require.Equal(t, b, kept, "as it was found")
		})
	}
}

func segmentOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "lines-*.log"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	return files[0]
}

// A kill in the middle of a write leaves the beginning of a record.
func TestRecordCutShortIsDropped(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	path := segmentOf(t, dir)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for cut := 1; cut < 30; cut += 4 {
		require.NoError(t, os.WriteFile(path, whole[:len(whole)-cut], 0o600))
		var out bytes.Buffer
		s := open(t, dir, &out)
		log := lines(s)
		next := log.Last()
		require.Contains(t, []uint64{298, 299}, next)
		require.EqualValues(t, next, log.Len())
		log.Append("next")
		require.NoError(t, s.Close())
		require.Empty(t, out.String(), "nothing was lost that had been promised")
		s = open(t, dir, nil)
		values, _ := lines(s).Read(next, nil, 0)
		require.Equal(t, []string{"next"}, values)
		require.NoError(t, s.Close())
	}
}

func TestDamagedSegmentIsMovedAside(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte){
		"value":  func(b []byte) { b[bytes.Index(b, []byte("record 200"))] ^= 1 },
		"length": func(b []byte) { b[bytes.Index(b, []byte(`"record 200`))-12] ^= 1 },
		"magic":  func(b []byte) { b[0] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filled(t)
			path := segmentOf(t, dir)
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			damage(b)
			require.NoError(t, os.WriteFile(path, b, 0o600))
			var out bytes.Buffer
			s := open(t, dir, &out)
			log := lines(s)
			require.NoError(t, s.Err())
			if name == "magic" {
				require.Zero(t, log.Len())
			} else {
				require.Equal(t, 200, log.Len())
			}
			require.Contains(t, out.String(), "path="+path)
			aside, err := filepath.Glob(path + ".corrupt-*")
			require.NoError(t, err)
			require.Len(t, aside, 1)
			kept, err := os.ReadFile(aside[0])
			require.NoError(t, err)
			require.Equal(t, b, kept, "as it was found")
			log.Append("goes on")
			n := log.Len()
			require.NoError(t, s.Close())
			require.Equal(t, n, lines(open(t, dir, nil)).Len())
		})
	}
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
