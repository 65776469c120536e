package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
)

// A segment is a file named after its log and its first record's number. It starts with segmentMagic, the
// last byte of which is the format, and holds records: length of the value, checksum of the value,
// checksum of those eight bytes (32 bits each, big-endian), value.
const (
	segmentMagic  = "fcloud\x00\x01"
	segmentSuffix = ".log"
	recordHeader  = 12
	maxRecord     = 16 << 20
)

// segments are the files of one log.
type segments struct {
	dir, name string
	size      int64 // a segment that has grown to this is followed by another one
	log       *slog.Logger
	state     *trouble
	closing   <-chan struct{}
	floor     atomic.Uint64 // records below are not wanted any more

	group *group
	// What follows belongs to whoever commits.
	file  *os.File  // the last of list; nil before the first record
	end   int64     // of file
	list  []segment // oldest first
	dirty bool
	down  bool // records stay in memory from now on
}

type segment struct {
	first uint64
	path  string
}

// openSegments finds a log's files.
func openSegments(dir, name string, size int64, closing <-chan struct{}, state *trouble, log *slog.Logger) (*segments, error) {
	s := &segments{dir: dir, name: name, size: size, closing: closing, state: state, log: log}
	s.group = newGroup(s.append)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		number, ours := strings.CutPrefix(e.Name(), name+"-")
		number, whole := strings.CutSuffix(number, segmentSuffix)
		if !ours || !whole {
			continue
		}
		if first, err := strconv.ParseUint(number, 10, 64); err == nil {
			s.list = append(s.list, segment{first, filepath.Join(dir, e.Name())})
		}
	}
	sort.Slice(s.list, func(i, j int) bool { return s.list[i].first < s.list[j].first })
	return s, nil
}

// load hands over the records of the last segment, which it leaves open for more, and returns the others.
func (s *segments) load(record func(number uint64, value []byte) error) (older []segment, err error) {
	if len(s.list) == 0 {
		return nil, nil
	}
	last := s.list[len(s.list)-1]
	if s.end, err = s.loadOne(last, record); err == nil {
		s.file, err = os.OpenFile(last.path, os.O_RDWR, 0o600)
	}
	return slices.Clone(s.list[:len(s.list)-1]), err
}

// loadOne reads a segment and returns where its whole records end. What follows them is either a record
// that was being written when the process was killed, and was never acknowledged: it is cut off. Or it is
// damage, or another format's: the file is moved aside, and what came before stands in its place.
func (s *segments) loadOne(seg segment, record func(uint64, []byte) error) (end int64, err error) {
	b, err := os.ReadFile(seg.path)
	if err != nil {
		return 0, fmt.Errorf("state: %w", err)
	}
	good, why := scan(b, seg.first, record)
	switch {
	case why == nil && good == 0: // killed while it was made
		return int64(len(segmentMagic)), os.WriteFile(seg.path, []byte(segmentMagic), 0o600)
	case why == nil && good == len(b):
		return int64(good), nil
	case why == nil:
		return int64(good), os.Truncate(seg.path, int64(good))
	}
	aside, err := moveAside(seg.path)
	if err != nil {
		return 0, err
	}
	what := "part of a log was damaged: the file was moved aside, the records before the damage are kept"
	if errors.Is(why, ErrFormat) {
		what = "part of a log is of another format: the file was moved aside; the version that wrote it reads it"
	}
	s.log.Error(what, "path", seg.path, "moved_to", aside, "cause", why)
	b = append([]byte(segmentMagic), b[min(good, len(segmentMagic)):good]...)
	return int64(len(b)), os.WriteFile(seg.path, b, 0o600)
}

// scan reads records as long as they are whole. It returns where they end, and what is wrong with what
// follows unless that is a record that just stops.
func scan(b []byte, number uint64, record func(uint64, []byte) error) (good int, why error) {
	const formatAt = len(segmentMagic) - 1
	switch n := min(len(b), len(segmentMagic)); {
	case string(b[:min(n, formatAt)]) != segmentMagic[:min(n, formatAt)]:
		return 0, errors.New("not a segment of a log: it begins otherwise")
	case n < len(segmentMagic):
		return 0, nil
	case b[formatAt] != segmentMagic[formatAt]:
		return 0, fmt.Errorf("%w: it has format %d, this version reads %d", ErrFormat, b[formatAt], segmentMagic[formatAt])
	}
	good = len(segmentMagic)
	for ; len(b)-good >= recordHeader; number++ {
		head := b[good : good+recordHeader]
		n := int(binary.BigEndian.Uint32(head))
		if crc32.Checksum(head[:8], castagnoli) != binary.BigEndian.Uint32(head[8:]) || n > maxRecord {
			return good, fmt.Errorf("byte %d: no record starts here", good)
		}
		if len(b)-good-recordHeader < n {
			break
		}
		value := b[good+recordHeader : good+recordHeader+n]
		if crc32.Checksum(value, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
			return good, fmt.Errorf("byte %d: wrong checksum", good)
		}
		if err := record(number, value); err != nil {
			return good, fmt.Errorf("byte %d: %w", good, err)
		}
		good += recordHeader + n
	}
	return good, nil
}

// add encodes a record into the next batch. Calls come in the order of numbers.
func (s *segments) add(number uint64, encode func(dst []byte) []byte) *batch {
	return s.group.add(func(b *batch) {
		start := len(b.bytes)
		if start == 0 {
			b.first = number
		}
		var room [recordHeader]byte
		b.bytes = encode(append(b.bytes, room[:]...))
		head, value := b.bytes[start:start+recordHeader], b.bytes[start+recordHeader:]
		binary.BigEndian.PutUint32(head, uint32(len(value)))
		binary.BigEndian.PutUint32(head[4:], crc32.Checksum(value, castagnoli))
		binary.BigEndian.PutUint32(head[8:], crc32.Checksum(head[:8], castagnoli))
	})
}

// append writes a batch behind what is there.
func (s *segments) append(b *batch) {
	if s.down || len(b.bytes) == 0 {
		return
	}
	if insist(s.closing, s.state, s.path(b.first), func() error {
		if s.file == nil || s.end >= s.size {
			if err := s.rotate(b.first); err != nil {
				return err
			}
		}
		_, err := s.file.WriteAt(b.bytes, s.end) // again at the same place after a failure
		return err
	}) {
		s.end += int64(len(b.bytes))
		s.dirty = true
	}
}

func (s *segments) path(first uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s-%020d%s", s.name, first, segmentSuffix))
}

// rotate starts a segment and removes those that only hold what is not wanted any more.
func (s *segments) rotate(first uint64) error {
	file, err := os.OpenFile(s.path(first), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(file, segmentMagic); err != nil {
		return errors.Join(err, file.Close())
	}
	if s.file != nil {
		err = s.file.Close()
	}
	s.file, s.end = file, int64(len(segmentMagic))
	s.list = slices.DeleteFunc(s.list, func(old segment) bool { return old.first == first }) // one without records
	s.list = append(s.list, segment{first, file.Name()})
	floor := s.floor.Load()
	for len(s.list) > 1 && s.list[1].first <= floor {
		err = errors.Join(err, os.Remove(s.list[0].path))
		s.list = s.list[1:]
	}
	if err != nil {
		s.log.Warn("an old part of a log stays on the disk", "path", s.dir, "cause", err)
	}
	return nil
}

// clear forgets every record, those that wait to be written too. empty is called in between and returns
// the number of the next record, which an empty segment keeps.
func (s *segments) clear(empty func() (next uint64)) {
	s.group.exclusive(func() {
		next := empty()
		s.floor.Store(next)
		if s.down || s.file == nil && len(s.list) == 0 {
			return
		}
		insist(s.closing, s.state, s.path(next), func() error { return s.rotate(next) })
	})
}

// discard drops the records that wait to be written.
func (s *segments) discard() {
	s.group.add(func(b *batch) { b.bytes = b.bytes[:0] })
}

func (s *segments) sync() error {
	var dirty *os.File
	s.group.exclusive(func() {
		if s.dirty {
			s.dirty, dirty = false, s.file
		}
	})
	if dirty == nil {
		return nil
	}
	if err := dirty.Sync(); !errors.Is(err, os.ErrClosed) { // a segment that was full meanwhile
		return err
	}
	return nil
}

func (s *segments) close() (err error) {
	err = s.sync()
	s.group.exclusive(func() {
		s.down = true
		if s.file != nil {
			err = errors.Join(err, s.file.Close())
		}
	})
	return err
}
