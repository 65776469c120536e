package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// releaseProgramPages gives the program's own read-only pages back to the page cache. Starting runs through
// much that idling never touches again (YAML, key generation, certificates), and the kernel counts each page
// of it as resident for as long as nobody is short of memory. What is needed again is mapped again, page by
// page, without a read from disk.
func releaseProgramPages() {
	program, err := os.Executable()
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		from, to, ok := readOnlyMapping(lines.Text(), program)
		if ok {
			// Failing costs memory only. Writable mappings are left alone: theirs are not the file's pages any more.
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED)
		}
	}
}

// readOnlyMapping reads a line of /proc/self/maps ("from-to perms offset device inode path"); ok is whether it
// is a mapping of the program that nothing can have written to.
func readOnlyMapping(line, program string) (from, to uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) != 6 || fields[5] != program || fields[1] != "r-xp" && fields[1] != "r--p" {
		return 0, 0, false
	}
	first, last, dash := strings.Cut(fields[0], "-")
	a, errA := strconv.ParseUint(first, 16, 64)
	b, errB := strconv.ParseUint(last, 16, 64)
	return uintptr(a), uintptr(b), dash && errA == nil && errB == nil && a < b
}
