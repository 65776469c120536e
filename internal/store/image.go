package store

import (
	"fmt"
	"maps"
	"slices"
)

// Image is what a store holds, as its directory would keep it. It shares nothing with the store.
type Image struct {
	Tables map[string]map[string][]byte // by table and key
	Logs   map[string][][]byte          // by log, oldest record first
}

// Image returns what s holds: the tables at one moment, the logs shortly after it.
func (s *Store) Image() *Image {
	s.mu.Lock()
	tables, logs := slices.Clone(s.tables), slices.Clone(s.logs)
	for _, t := range tables {
		t.lock()
	}
	rows := make([]func() map[string][]byte, len(tables))
	for i, t := range tables {
		rows[i] = t.encoded()
	}
	for _, t := range tables {
		t.unlock()
	}
	s.mu.Unlock()
	image := &Image{Tables: map[string]map[string][]byte{}, Logs: map[string][][]byte{}}
	for i, t := range tables {
		image.Tables[t.called()] = rows[i]()
	}
	for _, l := range logs {
		l.wait()
		image.Logs[l.called()] = l.records()()
	}
	return image
}

// NewFrom returns a store in memory whose tables and logs, when they are added, hold what the image has
// of them. Err then tells what could not be read, and Unclaimed what nobody has asked for.
func NewFrom(image *Image) *Store {
	left := &Image{Tables: maps.Clone(image.Tables), Logs: maps.Clone(image.Logs)}
	if left.Tables == nil {
		left.Tables = map[string]map[string][]byte{}
	}
	if left.Logs == nil {
		left.Logs = map[string][][]byte{}
	}
	return &Store{image: left}
}

// Unclaimed names the tables and logs of the image that were not added, sorted.
func (s *Store) Unclaimed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.image == nil {
		return nil
	}
	var names []string
	for name := range s.image.Tables {
		names = append(names, "table "+name)
	}
	for name := range s.image.Logs {
		names = append(names, "log "+name)
	}
	slices.Sort(names)
	return names
}

// fromImage decodes a table's rows. The caller holds s.mu.
func (s *Store) fromImage(r *rows) {
	kept := s.image.Tables[r.name]
	delete(s.image.Tables, r.name)
	for k, b := range kept {
		value, err := r.codec.decode(b)
		if err != nil {
			s.errs = append(s.errs, fmt.Errorf("table %s, row %q cannot be read: %w", r.name, k, err))
			return
		}
		r.held[k] = value
	}
}

// takeImage holds a log's records, numbered from 1.
func (l *Log[V]) takeImage(image *Image) error {
	kept := image.Logs[l.spec.Name]
	delete(image.Logs, l.spec.Name)
	read := l.decoder()
	for i, b := range kept {
		if err := read(uint64(i+1), b); err != nil {
			return fmt.Errorf("log %s, record %d cannot be read: %w", l.spec.Name, i+1, err)
		}
	}
	l.dropped = 0
	return nil
}

// records encodes what the log holds.
func (l *Log[V]) records() func() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	values := make([]V, l.held.len())
	for i := range values {
		values[i] = l.held.at(i).value
	}
	codec := l.spec.Codec
	return func() [][]byte {
		all := make([][]byte, len(values))
		for i, v := range values {
			all[i] = codec.Encode(nil, v)
		}
		return all
	}
}
