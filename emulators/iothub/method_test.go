package iothub

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hasty is a client that moves the clock on as soon as a call reaches it, and never answers.
type hasty struct {
	*line
	move func()
}

func (h *hasty) Call(string, string, []byte) bool {
	h.move()
	return true
}

// HUB-48: a call's time runs before the device can have it, so moving the clock as soon as it does ends the call.
func TestResponseTimeBeginsWithTheCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // or a call that waits for more would wait for ever
	defer cancel()
	client := &hasty{line: newLine(), move: func() { require.NoError(t, w.clock.Advance(5*time.Second)) }}
	w.Open(w.device(t), Origin{}, client).MethodsReady()
	_, err := w.InvokeMethod(ctx, contoso, "dev-01", "", MethodCall{Name: "reboot", ResponseTimeout: 5 * time.Second})
	require.EqualValues(t, "HUB-48/timeout", refusalOf(t, err).Rule)
}
