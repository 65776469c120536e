package dps

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/store/storetest"
)

func TestRowsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	s := store.New()
	New(Config{Clock: clock.New(), IDs: ids.New(1), Store: s})
	storetest.RoundTrip(t, s)
}

// A process killed between the two rows of an instance leaves one.
func TestHalfAnInstanceIsMended(t *testing.T) {
	t.Parallel()
	state := store.New()
	config := Config{Clock: clock.New(), IDs: ids.New(1), Store: state}
	one := New(config)
	require.NoError(t, one.PutInstance(Instance{Name: "contoso-dps", IDScope: "0ne00000001"}))
	one.scopes.Delete("0ne00000001")
	one.scopes.Put("0ne00000002", "gone")
	one.recover()
	_, ok := one.InstanceOf("0ne00000001")
	require.True(t, ok)
	require.Equal(t, 1, one.scopes.Len())
}
