package session

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// limited is a connection that keeps the time limit of its writes.
type limited struct {
	net.Conn
	limit, during time.Time
}

func (l *limited) SetWriteDeadline(t time.Time) error {
	l.limit = t
	return nil
}

func (l *limited) Write(p []byte) (int, error) {
	l.during = l.limit
	return len(p), nil
}

// A packet has a time limit while it is written, and leaves none behind that could end the next one.
func TestTheLimitOfAWriteEndsWithIt(t *testing.T) {
	t.Parallel()
	l := &limited{}
	_, err := (&conn{Conn: l}).Write([]byte("x"))
	require.NoError(t, err)
	require.False(t, l.during.IsZero(), "while it is written")
	require.True(t, l.limit.IsZero(), "afterwards")
}
