package azure

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
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
