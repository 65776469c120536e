package fakecloud

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/plane"
)

// A listing says of a snapshot what was answered when it was taken, also where the wall reading is not the file system's.
func TestSnapshotsAreListedAsTheyWereAnswered(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]Option{"memory": nil, "files": {WithDataDir(t.TempDir())}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Start(t, options...)
			c.clock.Skew(time.Hour)
			life := lifeControl{c}
			first, err := life.TakeSnapshot("a")
			require.NoError(t, err)
			file, err := life.SnapshotFile("a")
			require.NoError(t, err)
			second, err := life.PutSnapshotFile("b", file)
			require.NoError(t, err)
			listed, err := life.Snapshots()
			require.NoError(t, err)
			require.Equal(t, []plane.Snapshot{first, second}, listed)
		})
	}
}
