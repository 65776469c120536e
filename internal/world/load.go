package world

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Load reads world files and lays them over each other in order, all over the inline text (the value of
// FAKECLOUD_WORLD; "" for none), and that over the default world, unless the last `base:` given is none.
// file: keys resolve against their file's directory, those of the inline text against the working
// directory. The world is validated; the error is Problems over all files.
func Load(inline string, files ...string) (*World, error) {
	w := &World{}
	var problems Problems
	add := func(one *World, err error) {
		var found Problems
		if errors.As(err, &found) {
			problems = append(problems, found...)
		}
		w = Merge(w, one)
	}
	if inline != "" {
		add(parse(&reader{file: "FAKECLOUD_WORLD", files: true}, []byte(inline)))
	}
	for _, name := range files {
		add(ParseFile(name))
	}
	if w.Base != "none" {
		w = Merge(Default(), w)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	if err := Validate(w); err != nil {
		return nil, err
	}
	return w, nil
}

// ParseFile reads one world file with what it names by file:. It does not validate references.
func ParseFile(name string) (*World, error) {
	data, err := readWorldFile(name)
	if err != nil {
		return &World{}, Problems{{Position: Position{File: name}, Text: err.Error()}}
	}
	return parse(&reader{file: name, dir: filepath.Dir(name), files: true}, data)
}

func readWorldFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("does not exist")
	case errors.Is(err, fs.ErrPermission):
		return nil, errors.New("cannot be read: permission denied")
	case err != nil:
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("is a directory; name a YAML file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return data, nil
}
