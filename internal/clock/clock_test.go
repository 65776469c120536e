package clock

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAdvanceRunsDueTimersInOrder(t *testing.T) {
	c := New()
	c.Freeze()
	var got []string
	c.AfterFunc(2*time.Second, func() { got = append(got, "b") })
	c.AfterFunc(time.Second, func() {
		got = append(got, "a")
		c.AfterFunc(500*time.Millisecond, func() { got = append(got, "a2") })
	})
	c.AfterFunc(time.Minute, func() { got = append(got, "late") })
	start := c.Now()
	require.NoError(t, c.Advance(5*time.Second))
	require.Equal(t, []string{"a", "a2", "b"}, got)
	require.Equal(t, 5*time.Second, c.Now().Sub(start))
}

func TestAdvanceRefusesBackwards(t *testing.T) {
	require.ErrorIs(t, New().Advance(-time.Second), ErrBackwards)
}

// Whoever freezes twice, or resumes what runs, changes nothing, and no reading ever goes back.
func TestFreezeAndResumeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		start := c.Now()
		c.Resume()
		<-time.After(time.Second)
		require.Equal(t, time.Second, c.Now().Sub(start), "it was running")
		for range 2 {
			c.Freeze()
			<-time.After(time.Minute)
			require.Equal(t, time.Second, c.Now().Sub(start))
		}
		require.ErrorIs(t, c.Advance(-time.Second), ErrBackwards)
		require.NoError(t, c.Advance(0))
		require.Equal(t, time.Second, c.Now().Sub(start))
		for range 2 {
			c.Resume()
			require.False(t, c.Frozen())
		}
		<-time.After(time.Second)
		require.Equal(t, 2*time.Second, c.Now().Sub(start))
	})
}

func TestStoppedTimerDoesNotRun(t *testing.T) {
	c := New()
	c.Freeze()
	timer := c.AfterFunc(time.Second, func() { t.Error("ran") })
	require.True(t, timer.Stop())
	require.False(t, timer.Stop())
	require.NoError(t, c.Advance(time.Hour))
}

func TestRealTimeFiresTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		fired := make(chan time.Time, 1)
		c.AfterFunc(3*time.Second, func() { fired <- c.Now() })
		start := c.Now()
		require.Equal(t, 3*time.Second, (<-fired).Sub(start))
	})
}

func TestFreezeHoldsTimersAndResumeContinues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		fired := make(chan struct{})
		c.AfterFunc(time.Second, func() { close(fired) })
		c.Freeze()
		at := c.Now()
		<-time.After(time.Minute)
		require.Equal(t, at, c.Now())
		select {
		case <-fired:
			t.Fatal("a frozen clock fired a timer")
		default:
		}
		c.Resume()
		<-fired
		require.Equal(t, time.Second, c.Now().Sub(at))
	})
}

func TestSkewMovesOnlyTheWall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		now, wall := c.Now(), c.Wall()
		c.Skew(-10 * time.Minute)
		require.Equal(t, now, c.Now())
		require.Equal(t, -10*time.Minute, c.Wall().Sub(wall))
		require.NoError(t, c.Advance(time.Hour))
		require.Equal(t, -10*time.Minute, c.Wall().Sub(wall))
	})
}
