package control

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReset(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	calls := func() []string { return in.plane.Life.(*life).calls }
	require.JSONEq(t, `{"devices":0}`, in.do(t, "POST", "/api/v1/reset", "").body)
	require.JSONEq(t, `{"devices":7}`, in.do(t, "POST", "/api/v1/reset", `{"device":"job42-*"}`, "Content-Type", "application/json").body)
	require.Equal(t, []string{"reset ", "reset job42-*"}, calls())
	for _, body := range []string{`{"device":""}`, `{"devcie":"a"}`, `{"device":7}`, `{"device":null}`, `[]`} {
		got := in.do(t, "POST", "/api/v1/reset", body, "Content-Type", "application/json")
		require.Equal(t, http.StatusUnprocessableEntity, got.status, "%s: %s", body, got.body)
	}
	require.Len(t, calls(), 2, "an unset variable in a script must not reset everything")
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	l := in.plane.Life.(*life)
	require.Contains(t, in.get(t, "/api/v1/snapshots").body, `"name":"one"`)
	require.Contains(t, in.do(t, "POST", "/api/v1/snapshots/two", "").body, `"name":"two"`)
	got := in.do(t, "POST", "/api/v1/snapshots/none/restore", "")
	require.Equal(t, http.StatusNotFound, got.status)
	require.Contains(t, got.problem(t).Detail, "no such snapshot")
	require.Equal(t, http.StatusUnprocessableEntity, in.do(t, "POST", "/api/v1/snapshots/-", "").status)

	large := string(bytes.Repeat([]byte{0x1f, 0x8b, 0, 0xff}, bodyLimit))
	got = in.do(t, "PUT", "/api/v1/snapshots/far", large, "Content-Type", "application/gzip")
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.Equal(t, large, string(l.files["far"]))
	got = in.get(t, "/api/v1/snapshots/far")
	require.Equal(t, "application/gzip", got.header.Get("Content-Type"))
	require.True(t, got.body == large)
	require.Equal(t, http.StatusNoContent, in.do(t, "POST", "/api/v1/snapshots/far/restore", "").status)
	require.Equal(t, []string{"take two", "restore far"}, l.calls)
	require.Equal(t, http.StatusNoContent, in.do(t, "DELETE", "/api/v1/snapshots/far", "").status)
	require.Equal(t, http.StatusUnsupportedMediaType, in.do(t, "PUT", "/api/v1/snapshots/far", "x", "Content-Type", "text/plain").status)
}

func TestSnapshotsNeedTheAdminToken(t *testing.T) {
	t.Parallel()
	in := start(t, Options{AdminToken: "a", ViewerToken: "v"})
	in.plane.Life.(*life).files["one"] = []byte("keys")
	got := in.get(t, "/api/v1/snapshots/one", "Authorization", "Bearer v")
	require.Equal(t, http.StatusForbidden, got.status)
	require.NotContains(t, got.body, `"keys"`)
	require.Equal(t, http.StatusOK, in.get(t, "/api/v1/snapshots", "Authorization", "Bearer v").status)
	require.Equal(t, "keys", in.get(t, "/api/v1/snapshots/one", "Authorization", "Bearer a").body)
}

func TestExpire(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	require.Equal(t, http.StatusNoContent, in.do(t, "POST", "/api/v1/devices/iothub/fakecloud-hub/dev-01/expire", "").status)
	got := in.do(t, "POST", "/api/v1/devices/iothub/fakecloud-hub/dev-01/mod/expire", "")
	require.Equal(t, http.StatusConflict, got.status)
	require.Contains(t, got.problem(t).Detail, "only tokens end")
	require.Equal(t, http.StatusNotFound, in.do(t, "POST", "/api/v1/devices/iothub/fakecloud-hub/dev-02/expire", "").status)
}
