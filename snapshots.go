package fakecloud

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/fakecloud/fakecloud/internal/plane"
)

// Snapshots by name lie in the data directory, or in memory where there is none.
const (
	snapshotsDir   = "snapshots"
	snapshotSuffix = ".fcsnap"
	mostInMemory   = 16
)

// snapshots are those of an instance without a data directory.
type snapshots struct {
	mu    sync.Mutex
	files map[string]memorySnapshot
}

type memorySnapshot struct {
	file []byte
	made time.Time
}

var snapshotName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func checkSnapshotName(name string) error {
	if !snapshotName.MatchString(name) {
		return fmt.Errorf("%w: a name has 1 to 64 letters, digits, dots, hyphens and underscores and begins with a letter or digit", plane.ErrSnapshot)
	}
	return nil
}

func (c *Cloud) snapshotPath(name string) string {
	return filepath.Join(c.config.DataDir, snapshotsDir, name+snapshotSuffix)
}

// Snapshots implements plane.Life.
func (l lifeControl) Snapshots() ([]plane.Snapshot, error) {
	c := l.cloud
	all := []plane.Snapshot{}
	if c.config.DataDir == "" {
		c.snapshots.mu.Lock()
		defer c.snapshots.mu.Unlock()
		for name, s := range c.snapshots.files {
			all = append(all, plane.Snapshot{Name: name, Bytes: len(s.file), Made: s.made})
		}
		sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
		return all, nil
	}
	entries, err := os.ReadDir(filepath.Join(c.config.DataDir, snapshotsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		name, ours := strings.CutSuffix(e.Name(), snapshotSuffix)
		info, err := e.Info()
		if ours && err == nil && checkSnapshotName(name) == nil {
			all = append(all, plane.Snapshot{Name: name, Bytes: int(info.Size()), Made: info.ModTime().UTC()})
		}
	}
	return all, nil
}

// TakeSnapshot implements plane.Life.
func (l lifeControl) TakeSnapshot(name string) (plane.Snapshot, error) {
	if err := checkSnapshotName(name); err != nil {
		return plane.Snapshot{}, err
	}
	file, err := l.cloud.Snapshot()
	if err != nil {
		return plane.Snapshot{}, err
	}
	return l.keep(name, file)
}

// keep writes a file beside its place and moves it there, so that a reader sees the old or the new one.
func (l lifeControl) keep(name string, file []byte) (kept plane.Snapshot, err error) {
	c := l.cloud
	kept = plane.Snapshot{Name: name, Bytes: len(file), Made: c.clock.Wall().UTC()}
	if c.config.DataDir == "" {
		c.snapshots.mu.Lock()
		defer c.snapshots.mu.Unlock()
		if _, again := c.snapshots.files[name]; !again && len(c.snapshots.files) >= mostInMemory {
			return kept, fmt.Errorf("%w: an instance without a data directory keeps %d, delete one first", plane.ErrSnapshot, mostInMemory)
		}
		if c.snapshots.files == nil {
			c.snapshots.files = map[string]memorySnapshot{}
		}
		c.snapshots.files[name] = memorySnapshot{file, kept.Made}
		return kept, nil
	}
	path := c.snapshotPath(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return kept, fmt.Errorf("snapshot %s is not kept: %w", name, err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return kept, fmt.Errorf("snapshot %s is not kept: %w", name, err)
	}
	_, err = temporary.Write(file)
	if err = errors.Join(err, temporary.Close()); err == nil {
		kept.Made, err = stampFile(temporary.Name(), kept.Made)
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name()) // half a file is of no use
		return kept, fmt.Errorf("snapshot %s is not kept: %w", name, err)
	}
	return kept, nil
}

// stampFile gives a file a time of modification and returns it as the file system keeps it, which may be coarser: a listing
// tells when a snapshot was made from there.
func stampFile(path string, at time.Time) (time.Time, error) {
	if err := os.Chtimes(path, at, at); err != nil {
		return at, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return at, err
	}
	return info.ModTime().UTC(), nil
}

// SnapshotFile implements plane.Life.
func (l lifeControl) SnapshotFile(name string) ([]byte, error) {
	if err := checkSnapshotName(name); err != nil {
		return nil, err
	}
	c := l.cloud
	if c.config.DataDir == "" {
		c.snapshots.mu.Lock()
		defer c.snapshots.mu.Unlock()
		s, ok := c.snapshots.files[name]
		if !ok {
			return nil, plane.ErrNoSnapshot
		}
		return s.file, nil
	}
	path := c.snapshotPath(name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, plane.ErrNoSnapshot
	case err != nil:
		return nil, err
	case info.Size() > maxSnapshot:
		return nil, badSnapshot("it has %d bytes, at most %d are taken", info.Size(), maxSnapshot)
	}
	return os.ReadFile(path)
}

// RestoreSnapshot implements plane.Life.
func (l lifeControl) RestoreSnapshot(name string) error {
	file, err := l.SnapshotFile(name)
	if err != nil {
		return err
	}
	return l.cloud.Restore(file)
}

// PutSnapshotFile implements plane.Life.
func (l lifeControl) PutSnapshotFile(name string, file []byte) (plane.Snapshot, error) {
	if err := checkSnapshotName(name); err != nil {
		return plane.Snapshot{}, err
	}
	if _, err := readSnapshot(file); err != nil {
		return plane.Snapshot{}, err
	}
	return l.keep(name, slices.Clone(file))
}

// DeleteSnapshot implements plane.Life.
func (l lifeControl) DeleteSnapshot(name string) error {
	if err := checkSnapshotName(name); err != nil {
		return err
	}
	c := l.cloud
	if c.config.DataDir == "" {
		c.snapshots.mu.Lock()
		defer c.snapshots.mu.Unlock()
		if _, ok := c.snapshots.files[name]; !ok {
			return plane.ErrNoSnapshot
		}
		delete(c.snapshots.files, name)
		return nil
	}
	err := os.Remove(c.snapshotPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return plane.ErrNoSnapshot
	}
	return err
}
