package pki

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"
)

// reader reads named PEM files.
type reader interface {
	// read returns a file; the error is fs.ErrNotExist when there is none.
	read(name string) ([]byte, error)
	// where names a file for a person.
	where(name string) string
}

// vault keeps named PEM files. A file is created once and never overwritten.
type vault interface {
	reader
	// create writes a file that does not exist yet; fs.ErrExist when it does.
	create(name string, data []byte, secret bool) error
	// remove takes a file away; one that is not there is no error.
	remove(name string) error
	// names lists the files, sorted.
	names() ([]string, error)
}

// memory is the vault of an ephemeral instance.
type memory struct {
	mu    sync.Mutex
	files map[string][]byte
}

func (m *memory) read(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return data, nil
}

func (m *memory) create(name string, data []byte, _ bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.files[name]; ok {
		return fs.ErrExist
	}
	m.files[name] = data
	return nil
}

func (m *memory) remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

func (m *memory) names() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, 0, len(m.files))
	for name := range m.files {
		names = append(names, name)
	}
	sort.Strings(names)
	return names, nil
}

func (m *memory) where(name string) string { return name }

// maxFile bounds what is read from the directory: a CA with a long chain is a few KiB.
const maxFile = 1 << 20

// folder is a vault on disk: the directory 0700, keys 0600, certificates 0644.
type folder string

// openFolder makes the directory where it is missing.
func openFolder(dir string) (folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("PKI directory %s cannot be made: %w (choose another with --data, or --ephemeral)", dir, err)
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return "", fmt.Errorf("PKI directory %s: %w", dir, err)
	case !info.IsDir():
		return "", fmt.Errorf("PKI directory %s is a file: move it away, or choose another directory with --data", dir)
	}
	return folder(dir), nil
}

func (f folder) where(name string) string { return filepath.Join(string(f), name) }

func (f folder) read(name string) ([]byte, error) {
	path := f.where(name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, readError(path, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is no PEM file (%s, %d bytes): move it away", path, info.Mode(), info.Size())
	}
	data, err := os.ReadFile(path) //nolint:gosec // a name of our own in the tester's directory
	if err != nil {
		return nil, readError(path, err)
	}
	return data, nil
}

func readError(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s cannot be read: %w (give it to the user that runs fakecloud, or choose another directory with --data)", path, cause(err))
	}
	return fmt.Errorf("%s cannot be read: %w", path, cause(err))
}

// cause takes the operation and path off an error that names the file already.
func cause(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

func (f folder) remove(name string) error {
	err := os.Remove(f.where(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// create writes data beside its place and links it there, so that a reader or a second process sees the
// whole file or none, and the first writer wins. It is not synced: state is durable against the death of
// the process, not of the machine, and a start must not wait for the disk.
func (f folder) create(name string, data []byte, secret bool) error {
	path := f.where(name)
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist // asked first, so that a complete directory may be read-only
	}
	mode := fs.FileMode(0o644)
	if secret {
		mode = 0o600
	}
	tmp, err := os.CreateTemp(string(f), ".new-*")
	if err != nil {
		return f.writeError(path, err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Close())
	if err != nil {
		return f.writeError(path, err)
	}
	err = os.Link(tmp.Name(), path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.createPlain(path, data, mode)
}

// createPlain serves file systems without hard links (FAT, some network shares): still exclusive, but not
// safe against a crash halfway, which the next start reports as a corrupt file.
func (f folder) createPlain(path string, data []byte, mode fs.FileMode) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // see read
	if errors.Is(err, fs.ErrExist) {
		return fs.ErrExist
	}
	if err != nil {
		return f.writeError(path, err)
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err != nil {
		return f.writeError(path, err)
	}
	return nil
}

func (f folder) writeError(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errReadOnly) {
		return fmt.Errorf("%s cannot be written: %w (make the directory writable, choose another with --data, or use --ephemeral)", path, cause(err))
	}
	return fmt.Errorf("%s cannot be written: %w", path, cause(err))
}

func (f folder) names() ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, readError(string(f), err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
