package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// tally counts what the load does: each kind's successes and failures, which faults cause.
type tally struct {
	mu      sync.Mutex
	done    map[string]int
	failed  map[string]int
	failure map[string]error // the last of each kind
}

func (y *tally) expect(kind string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.done == nil {
		y.done, y.failed, y.failure = map[string]int{}, map[string]int{}, map[string]error{}
	}
	y.done[kind] += 0
}

func (y *tally) note(kind string, err error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if err == nil {
		y.done[kind]++
		return
	}
	y.failed[kind]++
	y.failure[kind] = err
}

// idle are the kinds that have not succeeded once.
func (y *tally) idle() (kinds []string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for kind, n := range y.done {
		if n == 0 {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func (y *tally) complete() bool { return len(y.idle()) == 0 }

// String has successes and failures by kind.
func (y *tally) String() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	var words []string
	for _, kind := range slices.Sorted(maps.Keys(y.done)) {
		word := fmt.Sprintf("%s %d", kind, y.done[kind])
		if n := y.failed[kind]; n > 0 {
			word += fmt.Sprintf(" (-%d)", n)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

func (y *tally) failures() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return fmt.Sprint(y.failure)
}
