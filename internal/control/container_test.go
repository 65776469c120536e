package control

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/plane"
)

func TestContainer(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	in.plane.Container = func(hub, container string) (string, error) {
		if hub != "h" {
			return "", plane.ErrNoHub
		}
		return "https://h/" + container + "?sig=x", nil
	}
	require.JSONEq(t, `{"uri":"https://h/exports?sig=x"}`, in.get(t, "/api/v1/iothub/h/containers/exports").body)
	require.Equal(t, 404, in.get(t, "/api/v1/iothub/other/containers/exports").status)
	require.Equal(t, 422, in.get(t, "/api/v1/iothub/h/containers/a_b").status)
}
