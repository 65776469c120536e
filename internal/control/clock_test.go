package control

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/journal"
)

func TestClock(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	post := func(path, body string, want int) clockBody {
		t.Helper()
		a := in.do(t, http.MethodPost, "/api/v1/clock/"+path, body, "Content-Type", "application/json")
		require.Equal(t, want, a.status, a.body)
		var c clockBody
		if want == http.StatusOK {
			require.NoError(t, json.Unmarshal([]byte(a.body), &c))
		}
		return c
	}
	require.True(t, post("freeze", "", http.StatusOK).Frozen)
	before := in.plane.Clock.Now()
	due := false
	in.plane.Clock.AfterFunc(time.Minute, func() { due = true })
	require.Equal(t, before.Add(time.Hour).UTC().Format(time.RFC3339Nano), post("advance", `{"by":"1h"}`, http.StatusOK).Now)
	require.True(t, due, "advance returns when what became due has happened")
	require.Equal(t, "-10m0s", post("skew", `{"by":"-10m"}`, http.StatusOK).Skew)
	require.False(t, post("resume", "", http.StatusOK).Frozen)

	stands := in.plane.Clock.Now()
	in.plane.Clock.Freeze()
	for _, wrong := range []struct{ path, by, says string }{
		{"advance", "-1s", "by: time cannot move backwards; POST /api/v1/clock/skew moves the wall reading either way"},
		{"advance", "soon", "by: a duration of at most ten years is wanted"},
		{"advance", "999999h", "by: a duration of at most ten years is wanted"},
		{"advance", "", "by: a duration of at most ten years is wanted"},
		{"skew", "999999h", "by: a duration of at most ten years is wanted"},
		{"skew", "-999999h", "by: a duration of at most ten years is wanted"},
	} {
		a := in.do(t, http.MethodPost, "/api/v1/clock/"+wrong.path, `{"by":"`+wrong.by+`"}`, "Content-Type", "application/json")
		require.Equal(t, http.StatusUnprocessableEntity, a.status, a.body)
		require.Contains(t, a.body, wrong.says)
		require.NotContains(t, a.body, "999999", "what was sent is not shown")
	}
	post("advance", `{}`, http.StatusUnprocessableEntity)
	in.plane.Clock.Resume()
	for _, bare := range []string{"freeze", "resume"} {
		a := in.do(t, http.MethodPost, "/api/v1/clock/"+bare, `{"by":"1h"}`, "Content-Type", "application/json")
		require.Equal(t, http.StatusUnprocessableEntity, a.status, a.body)
		require.Contains(t, a.body, `"location":"body.by"`)
		require.NotContains(t, a.body, "1h", "what was sent is not shown")
	}
	require.False(t, in.plane.Clock.Frozen(), "what was refused has done nothing")
	require.Equal(t, http.StatusUnprocessableEntity, in.do(t, http.MethodPost, "/api/v1/clock/freeze", `[1]`, "Content-Type", "application/json").status)
	require.Equal(t, http.StatusOK, in.do(t, http.MethodPost, "/api/v1/clock/resume", `{}`, "Content-Type", "application/json").status)
	in.plane.Clock.Freeze()
	require.Less(t, in.plane.Clock.Now().Sub(stands), time.Minute)
	require.Equal(t, -10*time.Minute, in.plane.Clock.Skewed(), "nothing has changed")

	a := in.get(t, "/api/v1/clock")
	require.Equal(t, http.StatusOK, a.status)
	events, _ := in.journal().Select(journal.Filter{Kind: journal.Clock})
	require.Len(t, events, 5, "each change is an event, a refused one is not")
}
