package azure

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/clientkit/internal/kittest"
)

// A handler that is missing is told at once, not by a panic with the first message; nothing is subscribed to, and
// the place stays free.
func TestNilHandlerIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, p := connected(t)
		require.EqualError(t, h.OnMessage(t.Context(), nil), "azure: cloud-to-device messages: the handler is nil")
		require.EqualError(t, h.OnDesired(t.Context(), nil), "azure: desired properties: the handler is nil")
		require.EqualError(t, h.HandleMethod(t.Context(), "reboot", nil), "azure: direct method reboot: the handler is nil")
		require.EqualError(t, h.HandleMethod(t.Context(), "", nil), "azure: direct method: no name")
		synctest.Wait()
		require.Empty(t, p.Packets)
	})
}

// A handler that could not be set in time takes nothing from those before it: their subscription is renewed. Where
// both the subscription and the end of the context are there select chooses by chance, hence the many calls.
func TestFailedHandlerLeavesTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := kittest.NewCloud(t, hubHost)
		h, p := up(t, c, hubConfig(c))
		answer := func(context.Context, MethodCall) (int, json.RawMessage) { return 200, nil }
		set := wait(none(func() error { return h.HandleMethod(t.Context(), "reboot", answer) }))
		p.Grant("$iothub/methods/POST/#")
		require.NoError(t, (<-set).err)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		failed := 0
		for range 100 {
			if err := h.HandleMethod(ended, "late", answer); err != nil {
				require.ErrorIs(t, err, context.Canceled)
				failed++
			}
		}
		require.Positive(t, failed)
		p.Drop()
		p, _ = c.Accept(kittest.Accepted)
		p.Grant("$iothub/methods/POST/#")
		p.Send(publication("$iothub/methods/POST/reboot/?$rid=1", "", ""))
		topic, _ := p.Take()
		require.Equal(t, "$iothub/methods/res/200/?$rid=1", topic)
	})
}
