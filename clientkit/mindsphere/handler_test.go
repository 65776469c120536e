package mindsphere

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// A handler that is missing is told at once, not by a panic with the first command.
func TestNilHandlerIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, p, _ := up(t)
		require.EqualError(t, a.OnCommand(t.Context(), nil), "mindsphere: the handler of commands is nil")
		synctest.Wait()
		require.Empty(t, p.Packets)
	})
}
