package store

import (
	"runtime"
	"sync"
)

// engine keeps changes beyond the life of the process. Memory stays the read side.
type engine interface {
	// rows hands over what was kept of a table when the engine was opened, once.
	rows(table string) map[string][]byte
	// submit queues a change behind those that were submitted before it. It does not block.
	submit(...change) *batch
	// segments opens the files of a log.
	segments(name string, size int64) (*segments, error)
	// background runs work on a goroutine that close waits for; stop is closed then.
	background(work func(stop <-chan struct{}))
	// unreadable reports a row that its table's codec does not understand. It stays where it is.
	unreadable(table, key string, err error)
	// trouble knows whether changes can be written.
	trouble() *trouble
	close() error
	String() string // the directory
}

// change is one step of a table.
type change struct {
	kind       kind
	table, key string
	value      []byte // not changed after it was submitted
}

type kind byte

const (
	put kind = iota
	remove
	drop     // every row of a table
	clearAll // every table's rows
)

// batch is what one transaction or write will commit.
type batch struct {
	changes []change // of tables
	bytes   []byte   // of a log: encoded records
	first   uint64   // number of the first of them
	done    chan struct{}
	by      *group
}

// group lets writers share a commit. Whoever settles while nothing is being committed commits on its own
// goroutine; what gathers meanwhile is committed behind it as one batch.
type group struct {
	commit func(*batch) // one call at a time

	mu    sync.Mutex // taken last
	idle  sync.Cond  // busy has become false
	next  *batch
	busy  bool
	spare []byte // for bytes
}

func newGroup(commit func(*batch)) *group {
	g := &group{commit: commit}
	g.idle.L = &g.mu
	return g
}

// add changes the batch that is to be committed next, and returns it.
func (g *group) add(change func(*batch)) *batch {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next == nil {
		g.next = &batch{done: make(chan struct{}), bytes: g.spare[:0], by: g}
		g.spare = nil
	}
	change(g.next)
	return g.next
}

// Pending is a change that readers see and that may not be committed yet; the zero value is.
type Pending struct{ batch *batch }

// Wait returns when the change is committed, and with it everything that was submitted before it.
func (p Pending) Wait() { p.batch.settle() }

// settle returns when b is committed; nil is.
func (b *batch) settle() {
	if b != nil {
		b.by.settle(b)
	}
}

// settle returns when b is committed.
func (g *group) settle(b *batch) {
	g.mu.Lock()
	if g.busy || g.next != b {
		g.mu.Unlock()
		<-b.done
		return
	}
	g.busy = true
	g.mu.Unlock()
	if g.lead() {
		go func() {
			for more := true; more; more = g.lead() {
				runtime.Gosched() // lets those who wait for the last batch add to the next
			}
		}()
	}
}

// lead commits the next batch and reports whether there is one more; else the group is idle again. Only
// the goroutine that has made it busy calls it.
func (g *group) lead() (more bool) {
	g.mu.Lock()
	b := g.next
	g.next = nil
	g.mu.Unlock()
	if b != nil {
		g.commit(b)
		close(b.done)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	const keep = 256 << 10
	if b != nil && g.spare == nil && cap(b.bytes) <= keep {
		g.spare = b.bytes
	}
	if g.next != nil {
		return true
	}
	g.busy = false
	g.idle.Broadcast()
	return false
}

// exclusive runs f while nothing is being committed. What gathers meanwhile waits.
func (g *group) exclusive(f func()) {
	g.mu.Lock()
	for g.busy {
		g.idle.Wait()
	}
	g.busy = true
	g.mu.Unlock()
	f()
	for g.lead() {
	}
}
