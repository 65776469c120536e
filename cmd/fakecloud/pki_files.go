package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// outFile is a file to be written.
type outFile struct {
	name   string
	data   []byte
	about  string
	secret bool // 0600
}

// writeFiles writes all files to dir, or none where one is there already and force is off.
func writeFiles(dir string, force bool, files ...outFile) error {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return fmt.Errorf("--out %s: %w", dir, err)
		}
	}
	for _, f := range files {
		_, err := os.Lstat(filepath.Join(dir, f.name))
		switch {
		case err == nil && !force:
			return fmt.Errorf("%s is there already: --force replaces it", filepath.Join(dir, f.name))
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	for _, f := range files {
		if err := writeFile(filepath.Join(dir, f.name), f); err != nil {
			return err
		}
	}
	return nil
}

// writeFile replaces a file as a whole: an old key is never left with new modes or half of its text.
func writeFile(path string, f outFile) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".pki-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already when all went well
	mode := fs.FileMode(0o644)
	if f.secret {
		mode = 0o600
	}
	_, err = tmp.Write(f.data)
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}

// fileName makes a file name from a common name, which may hold slashes, colons and blanks.
func fileName(commonName string) string {
	name := strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') || strings.ContainsRune("-_.", r) {
			return r
		}
		return '_'
	}, commonName)
	if name = strings.TrimLeft(name, ".-"); name == "" {
		return "device"
	}
	return name
}
