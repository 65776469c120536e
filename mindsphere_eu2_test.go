package fakecloud

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/mindsphere"
)

// A restart leaves a tenant's enrollment group as it was, and makes it anew where the process ended before it could.
func TestEnrollmentAfterARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	group := mindsphere.EnrollmentGroup("demo2")
	one := Start(t, WithDataDir(dir))
	before, ok := one.gen().cores.dps.Group("demo2-dps", group)
	require.True(t, ok)
	require.NoError(t, one.Close())

	two := Start(t, WithDataDir(dir))
	again, _ := two.gen().cores.dps.Group("demo2-dps", group)
	require.Equal(t, before.ETag, again.ETag)
	require.True(t, two.gen().cores.dps.DeleteGroup("demo2-dps", group))
	require.NoError(t, two.Close())

	three := Start(t, WithDataDir(dir))
	mended, ok := three.gen().cores.dps.Group("demo2-dps", group)
	require.True(t, ok)
	require.Equal(t, before.Attestation, mended.Attestation)
}
