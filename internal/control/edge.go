package control

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fakecloud/fakecloud/internal/explain"
	"github.com/fakecloud/fakecloud/internal/plane"
)

type gatewaysOutput struct {
	Body struct {
		Gateways []map[string]any `json:"gateways" doc:"name, hosts, hub, deviceId, upstream, children, clients, routes, queue"`
	}
}

type gatewayInput struct {
	Gateway string `path:"gateway" maxLength:"253" doc:"host name of the gateway"`
}

type gatewayOutput struct{ Body map[string]any }

type upstreamInput struct {
	Gateway string `path:"gateway" maxLength:"253" doc:"host name of the gateway"`
	Body    struct {
		State string `json:"state" enum:"up,down" doc:"down: the hub cannot be reached"`
	}
}

type refreshOutput struct {
	Body struct {
		Children int `json:"children" doc:"devices in the gateway's scope beside its own"`
	}
}

const edgePath = "/api/v1/edge"

func (a *api) edge() {
	register(a, call(http.MethodGet, edgePath, "edge-gateways", "The IoT Edge gateways with what they hold"),
		func(context.Context, *struct{}) (*gatewaysOutput, error) {
			out := &gatewaysOutput{}
			out.Body.Gateways = a.plane.Edge.Gateways()
			return out, nil
		})
	one := func(method, suffix, id, summary string) huma.Operation {
		op := call(method, edgePath+"/{gateway}"+suffix, id, summary)
		op.Errors = append(op.Errors, http.StatusNotFound)
		return op
	}
	register(a, one(http.MethodGet, "", "edge-gateway", "One gateway: children, clients, routes, and the queue"),
		func(_ context.Context, in *gatewayInput) (*gatewayOutput, error) { return a.gateway(in.Gateway) })
	register(a, one(http.MethodPost, "/upstream", "edge-upstream", "Takes a gateway's hub away, or brings it back; what was stored is then sent"),
		func(_ context.Context, in *upstreamInput) (*gatewayOutput, error) {
			if err := a.plane.Edge.SetUpstream(in.Gateway, in.Body.State == "up"); err != nil {
				return nil, a.gatewayProblem(err, in.Gateway)
			}
			return a.gateway(in.Gateway)
		})
	register(a, one(http.MethodPost, "/refresh", "edge-refresh", "Makes a gateway read its device scope from the hub, now"),
		func(_ context.Context, in *gatewayInput) (*refreshOutput, error) {
			children, err := a.plane.Edge.Refresh(in.Gateway)
			if err != nil {
				return nil, a.gatewayProblem(err, in.Gateway)
			}
			out := &refreshOutput{}
			out.Body.Children = children
			return out, nil
		})
}

func (a *api) gateway(name string) (*gatewayOutput, error) {
	state, err := a.plane.Edge.Gateway(name)
	if err != nil {
		return nil, a.gatewayProblem(err, name)
	}
	return &gatewayOutput{Body: state}, nil
}

func (a *api) gatewayProblem(err error, name string) error {
	switch {
	case errors.Is(err, plane.ErrNoUpstream):
		return refuse(http.StatusConflict, "the gateway's upstream is down; POST "+edgePath+`/{gateway}/upstream {"state":"up"} brings it back`)
	case !errors.Is(err, plane.ErrNoGateway):
		a.log.Error("gateway call failed", "cause", err)
		return refuse(http.StatusInternalServerError, "the gateway could not do that; the instance's log says why")
	}
	p := refuse(http.StatusNotFound, "no such gateway; GET "+edgePath+" lists them")
	var names []string
	for _, g := range a.plane.Edge.Gateways() {
		if known, ok := g["name"].(string); ok {
			names = append(names, known)
		}
	}
	p.Closest = explain.Closest(name, names)
	return p
}
