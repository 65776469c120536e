package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/store"
)

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

// A later version's log is not damaged: the line says which version reads it.
func TestSegmentOfAnotherFormatIsNamed(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	path := segmentOf(t, dir)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[len("fcloud\x00")] = 2
	require.NoError(t, os.WriteFile(path, b, 0o600))
	var out bytes.Buffer
	log := lines(open(t, dir, &out))
	require.Zero(t, log.Len())
	require.Contains(t, out.String(), "is of another format: the file was moved aside; the version that wrote it reads it")
	require.Contains(t, out.String(), "it has format 2, this version reads 1")
	require.NotContains(t, out.String(), "damaged")
	aside, err := filepath.Glob(path + ".corrupt-*")
	require.NoError(t, err)
	require.Len(t, aside, 1)
	kept, err := os.ReadFile(aside[0])
	require.NoError(t, err)
	require.Equal(t, b, kept, "as it was found")
}
