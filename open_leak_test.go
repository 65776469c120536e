package fakecloud

import (
	"log/slog"
	"net"
	"runtime"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// handler stands for the instance: who is still there after a failed start holds on to its logger.
type handler struct{ slog.Handler }

// A start that fails leaves nothing behind, no goroutine and no timer: whoever tries again has one instance.
func TestFailedStartLeavesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	before := goleak.IgnoreCurrent()
	log := &handler{slog.DiscardHandler}
	left := weak.Make(log)
	_, err = New(t.Context(), WithServerKey("ecdsa"), WithLogger(slog.New(log)), WithPorts(Ports{MQTTS: taken.Addr().(*net.TCPAddr).Port}))
	require.ErrorContains(t, err, "is taken")
	goleak.VerifyNone(t, before)
	log = nil
	for range 3 { // what pools hold goes with the second
		runtime.GC()
	}
	require.Nil(t, left.Value())
}
