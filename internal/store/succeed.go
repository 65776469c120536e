package store

import "sort"

// Part returns an empty store on the directory of s, whose tables and logs a Successor replaces without
// touching those of s. The names of all are still unique within the directory. It needs no Close.
func (s *Store) Part() *Store { return &Store{engine: s.engine} }

// anyLog is a Log whatever its values are.
type anyLog interface {
	Clear()
	called() string
	probe() Probe
	wait()
	records() func() [][]byte
	// detach lets go of the files, and returns them with the number of the last record.
	detach() (files *segments, last uint64)
	// attach numbers the records after last, and keeps them in the files, if any, in place of what is there.
	attach(files *segments, last uint64)
}

// Succeed makes s, a store in memory, keep what it holds in the directory of old in place of what old holds
// there: the tables as one commit, then the logs, whose numbers go on from old's. From then on old is a
// store in memory, for those who still hold it. Nobody else may use s yet. Where old has no directory,
// only the numbers of logs go on.
func (s *Store) Succeed(old *Store) {
	old.mu.Lock()
	defer old.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.succeedTables(old)
	before := map[string]anyLog{}
	for _, l := range old.logs {
		l.wait()
		before[l.called()] = l
	}
	for _, l := range s.logs {
		if b := before[l.called()]; b != nil {
			l.attach(b.detach())
			delete(before, l.called())
		}
	}
	for _, l := range before {
		l.Clear()
		l.detach()
	}
	s.engine, old.engine = old.engine, nil
}

func (s *Store) succeedTables(old *Store) {
	e := old.engine
	if e == nil {
		return
	}
	var changes []change
	for _, t := range old.tables {
		changes = append(changes, change{kind: drop, table: t.called()})
	}
	for _, t := range s.tables {
		t.lock()
		rows := t.encoded()()
		keys := make([]string, 0, len(rows))
		for k := range rows {
			keys = append(keys, k)
		}
		sort.Strings(keys) // what comes in order costs the tree on the disk the least
		for _, k := range keys {
			changes = append(changes, change{kind: put, table: t.called(), key: k, value: rows[k]})
		}
	}
	for _, t := range old.tables {
		t.lock()
	}
	b := e.submit(changes...) // behind all that old has submitted, and before what s will
	for _, t := range old.tables {
		t.keepWith(nil)
		t.unlock()
	}
	for _, t := range s.tables {
		t.keepWith(e)
		t.unlock()
	}
	b.settle()
}

func (l *Log[V]) called() string { return l.spec.Name }
func (l *Log[V]) wait()          { <-l.loaded }

func (l *Log[V]) detach() (files *segments, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	files, l.files = l.files, nil
	return files, l.last
}

func (l *Log[V]) attach(files *segments, last uint64) {
	l.mu.Lock()
	held := l.held
	l.held, l.bytes, l.last = ring[entry[V]]{}, 0, last
	for i := range held.len() {
		v := held.at(i).value
		if l.spec.Number != nil {
			l.spec.Number(&v, l.last+1)
		}
		l.hold(l.last+1, v)
	}
	l.files = files
	l.mu.Unlock()
	if files == nil {
		return
	}
	files.clear(func() uint64 {
		files.discard()
		return last + 1
	})
	var b *batch
	for i := range l.held.len() {
		e := l.held.at(i)
		b = files.add(e.number, func(dst []byte) []byte { return l.spec.Codec.Encode(dst, e.value) })
	}
	b.settle()
}
