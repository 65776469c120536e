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
		left := 5
		require.True(t, insist(closing, log, "state.db", func() error {
			if left--; left > 0 {
				return errors.New("no space left on device")
			}
			return nil
		}))
		require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("cannot be written")), "said once")
		require.Contains(t, out.String(), "again")

		go close(closing)
		require.False(t, insist(closing, log, "state.db", func() error { return errors.New("no space left on device") }))
	})
}
