package control

import (
	"context"
	"net/http"

	"github.com/fakecloud/fakecloud/internal/explain"
)

type explainInput struct {
	Device  string `query:"device" maxLength:"512" doc:"device, or a glob in which * crosses slashes"`
	Address string `query:"address" maxLength:"128" doc:"the client's host, or host:port"`
	Last    bool   `query:"last" doc:"whoever was refused last"`
	Error   string `query:"error" maxLength:"4096" doc:"the text that the client itself printed"`
}

type explainOutput struct{ Body explain.Report }

func (a *api) explain() {
	register(a, call(http.MethodGet, "/api/v1/explain", "explain",
		"Why a device was refused: rule, seen, expected, fix, source, and what the device saw. Without a parameter: the newest refusals"),
		func(_ context.Context, in *explainInput) (*explainOutput, error) {
			given := 0
			for _, is := range []bool{in.Device != "", in.Address != "", in.Last, in.Error != ""} {
				if is {
					given++
				}
			}
			if given > 1 {
				return nil, refuse(http.StatusBadRequest, "one of device, address, last and error, not several")
			}
			q := explain.Query{Device: in.Device, Address: in.Address, Last: in.Last, Error: in.Error, Known: a.known()}
			return &explainOutput{Body: explain.Explain(a.plane.Journal, a.plane.Rules, q)}, nil
		})
	a.mux.HandleFunc("GET /explain", a.explainPage)
	a.mux.HandleFunc("GET /explain/{device...}", a.explainPage)
}

// explainPage is the report as a page without script.
func (a *api) explainPage(w http.ResponseWriter, r *http.Request) {
	device := r.PathValue("device")
	if len(device) > 512 {
		refuse(http.StatusBadRequest, "the device's name is longer than 512 bytes").write(w)
		return
	}
	q := explain.Query{Device: device, Known: a.known()}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", explain.PagePolicy)
	w.Header().Set("X-Frame-Options", "DENY")
	if err := explain.Page(w, explain.Explain(a.plane.Journal, a.plane.Rules, q)); err != nil {
		a.log.Debug("explain page broken off", "cause", err)
	}
}
