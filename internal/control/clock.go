package control

import (
	"context"
	"net/http"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
)

// clockBody is the state of the two readings.
type clockBody struct {
	Now    string `json:"now" doc:"the timers reading: TTLs, locks, delays, expiry of live credentials; advance moves it"`
	Wall   string `json:"wall" doc:"the wall reading: judges credentials presented now and stamps times; skew moves it"`
	Skew   string `json:"skew" doc:"how far wall stands from real time; 0s is not at all"`
	Frozen bool   `json:"frozen" doc:"whether the timers reading stands still"`
}

type clockOutput struct{ Body clockBody }

type clockInput struct {
	Body struct {
		By string `json:"by" example:"1h" doc:"a duration such as 90s, 1h30m; of skew it may be negative and counts from real time, not from an earlier skew"`
	}
}

// mostAdvance bounds one step: beyond it a mistyped unit is likelier than a test.
const mostAdvance = 10 * 365 * 24 * time.Hour

func (a *api) clock() {
	register(a, call(http.MethodGet, "/api/v1/clock", "clock", "The two readings of the clock"),
		func(context.Context, *struct{}) (*clockOutput, error) { return a.readings(), nil })
	register(a, call(http.MethodPost, "/api/v1/clock/advance", "advance-clock",
		"Moves the timers reading on; returns when what became due has happened"), a.advance)
	register(a, call(http.MethodPost, "/api/v1/clock/skew", "skew-clock",
		"Sets how far the wall reading stands from real time, in place of an earlier skew; 0s ends it"), a.skew)
	register(a, call(http.MethodPost, "/api/v1/clock/freeze", "freeze-clock", "Stops the timers reading"),
		func(context.Context, *struct{}) (*clockOutput, error) {
			a.plane.Clock.Freeze()
			return a.moved("frozen"), nil
		})
	register(a, call(http.MethodPost, "/api/v1/clock/resume", "resume-clock", "Lets the timers reading run again"),
		func(context.Context, *struct{}) (*clockOutput, error) {
			a.plane.Clock.Resume()
			return a.moved("resumed"), nil
		})
}

func (a *api) readings() *clockOutput {
	c := a.plane.Clock
	return &clockOutput{Body: clockBody{
		Now: c.Now().UTC().Format(time.RFC3339Nano), Wall: c.Wall().UTC().Format(time.RFC3339Nano),
		Skew: c.Skewed().String(), Frozen: c.Frozen(),
	}}
}

// moved journals what was done to the clock and answers with its state.
func (a *api) moved(what string) *clockOutput {
	a.plane.Journal.Append(journal.Event{Kind: journal.Clock, Detail: "the clock was " + what})
	return a.readings()
}

func (a *api) advance(_ context.Context, in *clockInput) (*clockOutput, error) {
	by, err := span(in.Body.By)
	if err != nil {
		return nil, err
	}
	if by < 0 {
		return nil, refuse(http.StatusUnprocessableEntity, "by: time cannot move backwards; POST /api/v1/clock/skew moves the wall reading either way")
	}
	if err := a.plane.Clock.Advance(by); err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "by: "+err.Error())
	}
	return a.moved("advanced by " + by.String()), nil
}

func (a *api) skew(_ context.Context, in *clockInput) (*clockOutput, error) {
	by, err := span(in.Body.By)
	if err != nil {
		return nil, err
	}
	a.plane.Clock.Skew(by)
	return a.moved("skewed by " + by.String()), nil
}

func span(text string) (time.Duration, error) {
	by, err := time.ParseDuration(text)
	if err != nil || by > mostAdvance || by < -mostAdvance {
		return 0, refuse(http.StatusUnprocessableEntity, `by: a duration of at most ten years is wanted, such as "90s", "1h30m" or "-10m"`)
	}
	return by, nil
}
