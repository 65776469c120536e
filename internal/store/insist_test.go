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
