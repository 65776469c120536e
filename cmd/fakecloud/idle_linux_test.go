package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadOnlyMapping(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"00400000-00cf0000 r-xp 00000000 fe:00 1234                       /usr/bin/fakecloud": true,
		"00cf0000-01660000 r--p 008f0000 fe:00 1234                       /usr/bin/fakecloud": true,
		"01660000-016d8000 rw-p 01260000 fe:00 1234                       /usr/bin/fakecloud": false,
		"7f0000000000-7f0000021000 r--p 00000000 fe:00 99                 /lib/other.so":      false,
		"c000000000-c000400000 rw-p 00000000 00:00 0":                                         false,
		"not a mapping": false,
	} {
		from, to, ok := readOnlyMapping(line, "/usr/bin/fakecloud")
		require.Equal(t, want, ok, line)
		if ok {
			require.Less(t, from, to)
		}
	}
	releaseProgramPages() // this test goes on to run from the same pages
}
