package control

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is wrong with a fault is told by its key, and nothing is repeated of what was sent.
func TestMalformedFaults(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	for body, says := range map[string]string{
		`{"match":{"step":"token"},"action":{"expire":"c2VjcmV0"}}`:                     "body.action.expire",
		`{"match":{"step":"connect"},"action":{"delay":"c2VjcmV0"}}`:                    "body.action.delay",
		`{"match":{"step":"connect","device":"c2VjcmV0["},"action":{"close":true}}`:     "match.device: it is a glob",
		`{"match":{"step":"connect"},"action":{"c2VjcmV0":true}}`:                       "body.action",
		`{"match":{"step":"c2VjcmV0"},"action":{"close":true}}`:                         "match.step",
		`{"match":{"step":"tls"},"action":{"servercert":"c2VjcmV0"}}`:                   "action.servercert",
		`{"match":{"step":"connect","platform":"c2VjcmV0"},"action":{"close":true}}`:    "match.platform",
		`{"match":{"step":"connect"},"action":{"close":true},"probability":"c2VjcmV0"}`: "body.probability",
		`{"match":{"step":"connect"},"action":{"close":true},"probability":0}`:          "body.probability",
		`{"match":{"step":"connect"},"action":{"close":true},"count":0}`:                "body.count",
		`{"match":{"step":"connect","device":""},"action":{"close":true}}`:              "body.match.device",
		`{"match":{"step":"connect","endpoint":""},"action":{"close":true}}`:            "body.match.endpoint",
		`{"match":{"step":"connect","platform":""},"action":{"close":true}}`:            "body.match.platform",
		`{"match":{"step":"tls","host":""},"action":{"close":true}}`:                    "body.match.host",
		`{"id":"","match":{"step":"connect"},"action":{"close":true}}`:                  "body.id",
	} {
		got := in.do(t, "POST", faultsPath, body, "Content-Type", "application/json")
		require.Equal(t, http.StatusUnprocessableEntity, got.status, body)
		require.Contains(t, got.body, says, body)
	}
	require.Empty(t, in.plane.Faults.List())
}

func TestRemoveFaults(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	for _, id := range []string{"one", "two", "three"} {
		got := in.do(t, "POST", faultsPath, `{"id":"`+id+`","match":{"step":"connect"},"action":{"close":true}}`, "Content-Type", "application/json")
		require.Equal(t, http.StatusOK, got.status, got.body)
	}
	got := in.do(t, "DELETE", faultsPath+"?id=", "")
	require.Equal(t, http.StatusUnprocessableEntity, got.status, got.body)
	require.Contains(t, got.body, "query.id")
	require.Len(t, in.plane.Faults.List(), 3, "an unset variable in a script must not remove all")
	require.Equal(t, http.StatusNotFound, in.do(t, "DELETE", faultsPath+"?id=four", "").status)
	require.Equal(t, http.StatusNoContent, in.do(t, "DELETE", faultsPath+"?id=two", "").status)
	require.Len(t, in.plane.Faults.List(), 2)
	require.Equal(t, http.StatusNoContent, in.do(t, "DELETE", faultsPath, "").status)
	require.Empty(t, in.plane.Faults.List())
}

// A glob that is malformed matches nothing, which a test would take for an answer.
func TestMalformedGlobs(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	for _, path := range []string{"/api/v1/devices?device=job%5B", "/api/v1/events?device=job%5B", "/api/v1/events?device=job%5B&wait=1ms"} {
		got := in.get(t, path)
		require.Equal(t, http.StatusUnprocessableEntity, got.status, path)
		require.Contains(t, got.problem(t).Detail, "device: it is a glob", path)
	}
	for _, path := range []string{"/api/v1/reset", "/api/v1/adopt"} {
		got := in.do(t, "POST", path, `{"device":"job["}`, "Content-Type", "application/json")
		require.Equal(t, http.StatusUnprocessableEntity, got.status, path)
		require.Contains(t, got.problem(t).Detail, "device: it is a glob", path)
	}
	require.Empty(t, in.plane.Life.(*life).calls)
	got := in.get(t, "/api/v1/events?match=topic~a%5B")
	require.Equal(t, http.StatusBadRequest, got.status)
	require.Contains(t, got.problem(t).Detail, "match: position 7: it is a glob")
}
