package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
)

// Errors of Open.
var (
	// ErrInUse says that another process has the directory.
	ErrInUse = errors.New("in use by another process")
	// ErrFormat says that the directory was written by a version that keeps state in another way.
	ErrFormat = errors.New("state of another format")

	errDamaged = errors.New("damaged")
)

// Files of the directory beside the segments of logs.
const (
	stateFile = "state.db"
	ownerFile = "owner" // process id of whoever holds the lock
)

// Open opens the store in dir, which it makes (mode 0700, files 0600). A file that is damaged is moved
// aside under the name that the log's error line tells, and the store starts without it. Errors: ErrInUse,
// ErrFormat, or what the file system says; nothing was changed then. The owner calls Started before it acknowledges
// anything.
func Open(dir string, log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	path := filepath.Join(dir, stateFile)
	e, err := openBolt(path, log)
	if errors.Is(err, errDamaged) {
		aside, moveErr := moveAside(path)
		if moveErr != nil {
			return nil, fmt.Errorf("state: %s is damaged and cannot be moved aside: %w", path, errors.Join(err, moveErr))
		}
		log.Error("the state was damaged: it was moved aside and is made anew from the world", "path", path, "moved_to", aside, "cause", err)
		e, err = openBolt(path, log)
	}
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("state: %s is %w%s; stop it, or give this one a directory of its own", dir, ErrInUse, owner(dir))
	case errors.Is(err, ErrFormat):
		return nil, fmt.Errorf("state: %s: %w; use the version that wrote it, or another directory", path, err)
	case err != nil:
		return nil, fmt.Errorf("state: %s: %w", path, err)
	}
	if err := os.WriteFile(filepath.Join(dir, ownerFile), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("state: %w", err), e.close())
	}
	return &Store{engine: e}, nil
}

// owner names the process that has left its id in dir.
func owner(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, ownerFile))
	if err != nil {
		return ""
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}

// moveAside renames a damaged file to a name that tells when.
func moveAside(path string) (aside string, err error) {
	base := path + ".corrupt-" + time.Now().UTC().Format("20060102T150405Z")
	for aside, n := base, 2; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			return aside, os.Rename(path, aside)
		}
		aside = base + "-" + strconv.Itoa(n)
	}
}
