package store

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestFullDiskIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		closing := make(chan struct{})
		state := newTrouble(log)
		require.NoError(t, state.start())
		var told []error
		state.told = func(err error) { told = append(told, err) }
		full := errors.New("no space left on device")
		state.begins("telemetry.log", full)
		left := 5
		require.True(t, insist(closing, state, "state.db", func() error {
			if left--; left > 0 {
				require.ErrorIs(t, state.err(), full)
				return full
			}
			return nil
		}))
		require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("cannot be written")), "said once")
		require.NotContains(t, out.String(), "again", "one file of two")
		require.Error(t, state.err())
		state.ends("telemetry.log")
		require.Contains(t, out.String(), "again")
		require.NoError(t, state.err())
		require.Equal(t, []error{full, nil}, told)

		go close(closing)
		require.False(t, insist(closing, state, "state.db", func() error { return errors.New("no space left on device") }))
	})
}

// At the start nobody waits for room: the start fails, says why, and can be stopped. What is behind the change that
// could not be written is not written either.
func TestFullDiskEndsAStart(t *testing.T) {
	var out bytes.Buffer
	state := newTrouble(slog.New(slog.NewTextHandler(&out, nil)))
	state.told = func(error) { t.Error("there is nobody to tell yet") }
	full := errors.New("no space left on device")
	closing := make(chan struct{})
	require.True(t, insist(closing, state, "state.db", func() error { return nil }))
	require.False(t, insist(closing, state, "state.db", func() error { return full }))
	require.False(t, insist(closing, state, "telemetry.log", func() error {
		t.Error("written behind what is not there")
		return nil
	}))
	require.ErrorIs(t, state.start(), full)
	require.False(t, insist(closing, state, "state.db", func() error { return nil }), "a start that has failed stays so")
	require.Empty(t, out.String(), "the start's error says it")
}
