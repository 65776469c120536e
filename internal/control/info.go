package control

import (
	"context"
	"net/http"

	"github.com/fakecloud/fakecloud/internal/plane"
)

type status struct {
	Status string `json:"status" enum:"ok,ready"`
}

type statusOutput struct{ Body status }

func (a *api) health() {
	register(a, call(http.MethodGet, "/healthz", "health", "The process lives"), func(context.Context, *struct{}) (*statusOutput, error) {
		return &statusOutput{Body: status{Status: "ok"}}, nil
	})
	ready := call(http.MethodGet, "/readyz", "ready", "Every listener accepts, and what is acknowledged can be kept")
	ready.Errors = append(ready.Errors, http.StatusServiceUnavailable)
	register(a, ready, func(context.Context, *struct{}) (*statusOutput, error) {
		if !a.opt.Ready() {
			return nil, refuse(http.StatusServiceUnavailable, "not every listener accepts yet")
		}
		if err := a.trouble(); err != nil {
			return nil, refuse(http.StatusServiceUnavailable, err.Error())
		}
		return &statusOutput{Body: status{Status: "ready"}}, nil
	})
	a.metrics()
}

// Info tells what is running and where.
type Info struct {
	Version   string           `json:"version"`
	Seed      uint64           `json:"seed" doc:"generated ids follow from it"`
	Data      string           `json:"data,omitempty" doc:"data directory; absent when nothing is on disk"`
	Seq       uint64           `json:"seq" doc:"newest sequence number of the journal"`
	Dropped   uint64           `json:"dropped,omitempty" doc:"events that the journal's limits have pushed out"`
	Ports     plane.Ports      `json:"ports" doc:"0 is a listener that is off"`
	Addresses []string         `json:"addresses" doc:"names and addresses to dial, beside the vendors' names"`
	Endpoints []plane.Endpoint `json:"endpoints"`
}

type infoOutput struct{ Body Info }

func (a *api) info() {
	register(a, call(http.MethodGet, "/api/v1/info", "info", "Version, seed, ports, endpoints and the journal's sequence number"),
		func(context.Context, *struct{}) (*infoOutput, error) {
			p := a.plane
			return &infoOutput{Body: Info{Version: p.Version, Seed: p.Seed, Data: p.DataDir, Seq: p.Journal.Last(),
				Dropped: p.Journal.Dropped(), Ports: p.Ports, Addresses: append([]string{}, p.Addresses...),
				Endpoints: append([]plane.Endpoint{}, p.Endpoints()...)}}, nil
		})
}
