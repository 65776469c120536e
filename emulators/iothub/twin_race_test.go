package iothub

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Both sides patch a twin at once: every change that was accepted is there, each counts once in the versions,
// and whoever goes by etags overwrites nobody.
func TestConcurrentTwinPatchesLoseNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		backs, fronts := rapid.IntRange(1, 4).Draw(rt, "back ends"), rapid.IntRange(1, 4).Draw(rt, "device's requests")
		each := rapid.IntRange(1, 8).Draw(rt, "patches each")
		w := newWorld(t)
		session, _ := w.open(t, "", current)
		before, err := w.GetTwin(contoso, "dev-01", "")
		require.NoError(rt, err)
		var all sync.WaitGroup
		fail := make(chan error, 64)
		note := func(err error) {
			if err != nil {
				select {
				case fail <- err:
				default:
				}
			}
		}
		for n := range backs {
			all.Go(func() { // plain patches of a key of its own
				for i := range each {
					_, err := w.ChangeTwin(contoso, "dev-01", "", TwinPatch{Desired: map[string]any{fmt.Sprintf("k%d", n): json.Number(fmt.Sprint(i))}}, "")
					note(err)
				}
			})
			all.Go(func() { // a counter, by compare and swap
				for range each {
					note(w.countUp())
				}
			})
		}
		for n := range fronts {
			all.Go(func() {
				for i := range each {
					if _, r := session.Report(fmt.Appendf(nil, `{"r%d":%d}`, n, i), ""); r != nil {
						note(r)
					}
				}
			})
		}
		all.Wait()
		close(fail)
		for err := range fail {
			rt.Fatalf("a patch was refused: %v", err)
		}
		after, err := w.GetTwin(contoso, "dev-01", "")
		require.NoError(rt, err)
		for n := range backs {
			require.Equal(rt, fmt.Sprint(each-1), fmt.Sprint(after.Desired.Values[fmt.Sprintf("k%d", n)]))
		}
		for n := range fronts {
			require.Equal(rt, fmt.Sprint(each-1), fmt.Sprint(after.Reported.Values[fmt.Sprintf("r%d", n)]))
		}
		require.Equal(rt, fmt.Sprint(backs*each), fmt.Sprint(after.Tags["count"]), "no increment was lost")
		require.EqualValues(rt, backs*each, after.Desired.Version-before.Desired.Version)
		require.EqualValues(rt, fronts*each, after.Reported.Version-before.Reported.Version)
		require.EqualValues(rt, (2*backs+fronts)*each, after.Version-before.Version)
	})
}

// countUp adds one to a tag, and begins again where the twin has changed since it was read.
func (w *world) countUp() error {
	for {
		t, err := w.GetTwin(contoso, "dev-01", "")
		if err != nil {
			return err
		}
		n := 0
		if text, ok := t.Tags["count"]; ok {
			if _, err := fmt.Sscan(fmt.Sprint(text), &n); err != nil {
				return err
			}
		}
		_, err = w.ChangeTwin(contoso, "dev-01", "", TwinPatch{Tags: map[string]any{"count": json.Number(fmt.Sprint(n + 1))}}, t.ETag())
		if !errors.Is(err, ErrPrecondition) {
			return err
		}
	}
}
