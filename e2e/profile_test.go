package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud"
)

// Strict has the limits of the clouds on from the start, hostile its faults, also after a reset; a name
// that is none is refused.
func TestProfilesShapeTheWorld(t *testing.T) {
	t.Parallel()
	cloud := fakecloud.Start(t, fakecloud.WithProfile("strict"))
	text, err := cloud.Plane().World.Current()
	require.NoError(t, err)
	require.Contains(t, string(text), "throttle: S1")
	require.Contains(t, string(text), "pollLimit: true")

	hostile := fakecloud.Start(t, fakecloud.WithProfile("hostile"), fakecloud.WithSeed(3))
	faults := hostile.Faults()
	require.NotEmpty(t, faults)
	hostile.ClearFaults()
	require.NoError(t, hostile.Reset())
	require.Equal(t, faults, hostile.Faults())

	_, err = fakecloud.New(t.Context(), fakecloud.WithProfile("hostil"))
	require.ErrorContains(t, err, `profile "hostil": it is one of default, ci, strict, hostile, classroom; did you mean hostile?`)
}
