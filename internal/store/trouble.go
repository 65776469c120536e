package store

import (
	"log/slog"
	"sync"
	"sync/atomic"
)

// trouble knows whether what is submitted can be written, and tells once when that changes: several files may be
// on one full disk.
type trouble struct {
	log *slog.Logger
	now atomic.Pointer[error] // what was wrong first; nil while all is well

	mu      sync.Mutex
	started bool                // a write that fails is repeated; before, the start fails
	failing map[string]struct{} // paths
	told    func(error)         // nil tells nobody but the log
}

func newTrouble(log *slog.Logger) *trouble {
	return &trouble{log: log, failing: map[string]struct{}{}}
}

// begins says that a file cannot be written, and reports whether to try again.
func (t *trouble) begins(path string, err error) (again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failing[path] = struct{}{}
	if len(t.failing) > 1 {
		return t.started
	}
	t.now.Store(&err)
	if !t.started {
		return false
	}
	t.log.Error("state cannot be written; nothing is acknowledged until it can", "path", path, "cause", err)
	if t.told != nil {
		t.told(err)
	}
	return true
}

// givenUp reports whether a write has failed before the start was through: what comes behind it is not written either,
// so that the directory holds a beginning of what was submitted, as after a kill.
func (t *trouble) givenUp() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.started && t.now.Load() != nil
}

// start says that the start is through, unless a write has failed, which it returns.
func (t *trouble) start() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.err(); err != nil {
		return err
	}
	t.started = true
	return nil
}

// ends says that a file can be written again.
func (t *trouble) ends(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.failing, path)
	if len(t.failing) > 0 {
		return
	}
	t.now.Store(nil)
	t.log.Info("state can be written again", "path", path)
	if t.told != nil {
		t.told(nil)
	}
}

func (t *trouble) err() error {
	if err := t.now.Load(); err != nil {
		return *err
	}
	return nil
}

// Trouble returns why nothing can be written now, nil while all is well. Whoever changes a table or a log
// meanwhile waits until it can be, once the owner has Started.
func (s *Store) Trouble() error {
	if s.engine == nil {
		return nil
	}
	return s.engine.trouble().err()
}

// Started says that the store's owner has started. Until then nobody waits for room on a full disk: a change that cannot
// be written is given up with all that come behind it, and Started returns why. The owner then closes the store.
func (s *Store) Started() error {
	if s.engine == nil {
		return nil
	}
	return s.engine.trouble().start()
}

// OnTrouble has f called when nothing can be written any more, with the reason, and with nil when everything can
// again. f must not change the store.
func (s *Store) OnTrouble(f func(error)) {
	if s.engine == nil {
		return
	}
	t := s.engine.trouble()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told = f
}
