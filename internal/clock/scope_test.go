package clock

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScopeEndsItsTimersTogether(t *testing.T) {
	t.Parallel()
	c := New()
	s, other := NewScope(c), NewScope(c)
	var called []string
	set := func(s *Scope, d time.Duration, name string) Timer {
		return s.AfterFunc(d, func() { called = append(called, name) })
	}
	set(s, time.Minute, "one")
	stopped := set(s, time.Minute, "two")
	require.True(t, stopped.Stop())
	require.False(t, stopped.Stop())
	set(other, time.Hour, "other")
	last := set(s, time.Hour, "three")
	require.NoError(t, c.Advance(time.Minute))
	require.Equal(t, []string{"one"}, called)
	s.Close()
	late := set(s, 0, "late")
	require.False(t, late.Stop())
	require.False(t, last.Stop())
	require.NoError(t, c.Advance(time.Hour))
	require.Equal(t, []string{"one", "other"}, called)
	require.Empty(t, c.due)
}
