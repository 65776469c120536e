package world

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDefaultWorldIsValid(t *testing.T) {
	t.Parallel()
	w, err := Parse("default", DefaultText())
	require.NoError(t, err)
	require.NoError(t, Validate(w))
	require.Equal(t, "0ne00FAKE01", w.Azure.DPS[0].IDScope)
	require.Len(t, w.Azure.Hubs[0].Policies, 5)
	require.Equal(t, TypeSAS, w.Azure.Hubs[0].Devices[0].Authentication.Type)
	t.Logf("%s", Format(w))
}
