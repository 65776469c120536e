package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// How long and how often.
const (
	lockPatience = 300 * time.Millisecond // for a process that is just ending
	retryEvery   = 250 * time.Millisecond // after a write that failed: a full disk may get room
	syncEvery    = 3 * time.Second
)

// format is the version of what the directory holds.
const format = "1"

// Buckets: one for the file itself, one for each table, and in each row a checksum before the value.
var metaBucket, formatKey = []byte("fakecloud"), []byte("format")

const tablePrefix = "table/"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// boltEngine keeps tables in a bbolt file.
type boltEngine struct {
	dir   string
	db    *bbolt.DB
	log   *slog.Logger
	group *group
	state *trouble
	dirty bool // not synced yet; belongs to whoever commits
	down  bool // changes stay in memory from now on; as dirty

	mu     sync.Mutex // guards kept and opened
	kept   map[string]map[string][]byte
	opened []*segments

	closing chan struct{}
	ended   sync.WaitGroup
	once    sync.Once
	closed  error
}

// openBolt opens or makes the file. errDamaged says that it cannot be trusted.
func openBolt(path string, log *slog.Logger) (e *boltEngine, err error) {
	var file *os.File
	options := &bbolt.Options{
		Timeout: lockPatience, NoSync: true, NoGrowSync: true, FreelistType: bbolt.FreelistMapType, NoStatistics: true,
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	}
	// bbolt panics over pages that make no sense, and reading a file that was cut short faults.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
		if err != nil && file != nil {
			file.Close() // and with it the lock
		}
	}()
	db, err := bbolt.Open(path, 0o600, options)
	var system *fs.PathError
	var number syscall.Errno
	switch {
	case errors.Is(err, bolterrors.ErrTimeout), errors.As(err, &system), errors.As(err, &number):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	e = &boltEngine{dir: filepath.Dir(path), db: db, log: log, state: newTrouble(log), closing: make(chan struct{})}
	e.group = newGroup(e.commit)
	if err := e.load(); err != nil {
		return nil, err // closing could write to what is damaged: the file is let go as it is
	}
	e.ended.Go(e.tick)
	return e, nil
}

// load checks the format and reads every row.
func (e *boltEngine) load() error {
	e.kept = map[string]map[string][]byte{}
	return e.db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return err
		}
		if have := meta.Get(formatKey); have != nil && string(have) != format {
			return fmt.Errorf("%w: it has format %.20q, this version reads %q", ErrFormat, have, format)
		}
		if err := meta.Put(formatKey, []byte(format)); err != nil { // a write proves the free list
			return err
		}
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			table, ok := strings.CutPrefix(string(name), tablePrefix)
			if !ok {
				return nil
			}
			rows := map[string][]byte{}
			e.kept[table] = rows
			return b.ForEach(func(k, v []byte) error {
				if len(v) < 4 || crc32.Checksum(v[4:], castagnoli) != binary.BigEndian.Uint32(v) {
					return fmt.Errorf("%w: table %s, row %q: wrong checksum", errDamaged, table, k)
				}
				rows[string(k[1:])] = append([]byte(nil), v[4:]...)
				return nil
			})
		})
	})
}

func (e *boltEngine) trouble() *trouble { return e.state }

// String returns the directory.
func (e *boltEngine) String() string { return e.dir }

func (e *boltEngine) rows(table string) map[string][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	rows := e.kept[table]
	delete(e.kept, table)
	return rows
}

func (e *boltEngine) unreadable(table, key string, err error) {
	e.log.Error("a row of the state cannot be read and is left out", "path", e.db.Path(), "table", table, "key", key, "cause", err)
}

func (e *boltEngine) submit(c ...change) *batch {
	return e.group.add(func(b *batch) { b.changes = append(b.changes, c...) })
}

func (e *boltEngine) commit(b *batch) {
	if e.down {
		return
	}
	e.dirty = insist(e.closing, e.state, e.db.Path(), func() error {
		return e.db.Update(func(tx *bbolt.Tx) error { return apply(tx, b.changes) })
	}) || e.dirty
}

// insist repeats a write until it works: nobody is told that something is kept that is not. It gives up,
// and reports so, when the store closes, and at the first failure before the owner has started.
func insist(closing <-chan struct{}, state *trouble, path string, write func() error) bool {
	if state.givenUp() {
		return false
	}
	for failed := false; ; failed = true {
		err := write()
		if err == nil {
			if failed {
				state.ends(path)
			}
			return true
		}
		if !failed && !state.begins(path, err) {
			return false
		}
		select {
		case <-closing:
			return false
		case <-time.After(retryEvery):
		}
	}
}

func apply(tx *bbolt.Tx, changes []change) error {
	var table string
	var bucket *bbolt.Bucket // of table, nil where it has to be looked up
	for _, c := range changes {
		if c.kind == clearAll {
			bucket = nil
			if err := dropTables(tx); err != nil {
				return err
			}
			continue
		}
		if c.kind == drop {
			bucket = nil
			if err := tx.DeleteBucket([]byte(tablePrefix + c.table)); err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
				return err
			}
			continue
		}
		if bucket == nil || table != c.table {
			var err error
			if bucket, err = tx.CreateBucketIfNotExists([]byte(tablePrefix + c.table)); err != nil {
				return err
			}
			table = c.table
		}
		if err := applyRow(bucket, c); err != nil {
			return fmt.Errorf("table %s: %w", c.table, err)
		}
	}
	return nil
}

func applyRow(b *bbolt.Bucket, c change) error {
	key := append([]byte{'k'}, c.key...) // bbolt takes no empty key
	if c.kind == remove {
		return b.Delete(key)
	}
	v := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(c.value)), crc32.Checksum(c.value, castagnoli))
	return b.Put(key, append(v, c.value...))
}

func dropTables(tx *bbolt.Tx) error {
	var names [][]byte
	err := tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		if strings.HasPrefix(string(name), tablePrefix) {
			names = append(names, append([]byte(nil), name...))
		}
		return nil
	})
	for _, name := range names {
		err = errors.Join(err, tx.DeleteBucket(name))
	}
	return err
}

func (e *boltEngine) segments(name string, size int64) (*segments, error) {
	s, err := openSegments(e.dir, name, size, e.closing, e.state, e.log)
	if err == nil {
		e.mu.Lock()
		e.opened = append(e.opened, s)
		e.mu.Unlock()
	}
	return s, err
}

func (e *boltEngine) background(work func(stop <-chan struct{})) {
	e.ended.Go(func() { work(e.closing) })
}

// tick commits what nobody waits for, and syncs.
func (e *boltEngine) tick() {
	t := time.NewTicker(syncEvery)
	defer t.Stop()
	for {
		select {
		case <-e.closing:
			return
		case <-t.C:
			if err := e.sync(); err != nil {
				e.log.Warn("state is not synced to the disk", "path", e.dir, "cause", err)
			}
		}
	}
}

func (e *boltEngine) sync() error {
	var dirty bool
	e.group.exclusive(func() { dirty, e.dirty = e.dirty, false })
	var errs []error
	if dirty {
		errs = append(errs, e.db.Sync())
	}
	e.mu.Lock()
	opened := slices.Clone(e.opened)
	e.mu.Unlock()
	for _, s := range opened {
		errs = append(errs, s.sync())
	}
	return errors.Join(errs...)
}

func (e *boltEngine) close() error {
	e.once.Do(func() {
		close(e.closing)
		e.ended.Wait()
		errs := []error{e.sync()}
		e.group.exclusive(func() { e.down = true })
		for _, s := range e.opened {
			errs = append(errs, s.close())
		}
		_ = os.Remove(filepath.Join(e.dir, ownerFile)) // no harm if it stays
		e.closed = errors.Join(append(errs, e.db.Sync(), e.db.Close())...)
	})
	return e.closed
}
