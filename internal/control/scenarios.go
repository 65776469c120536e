package control

import (
	"context"
	"net/http"

	"github.com/fakecloud/fakecloud/internal/fault"
)

type scenariosOutput struct {
	Body struct {
		Prefix    string                 `json:"prefix" doc:"how the ids of scenario devices begin"`
		Scenarios []fault.Scenario       `json:"scenarios"`
		Devices   []fault.ScenarioDevice `json:"devices" doc:"those that have come since the last reset"`
	}
}

func (a *api) scenarios() {
	register(a, call(http.MethodGet, "/api/v1/scenarios", "scenarios", "The scenario devices: reserved ids that misbehave without any set-up, and how far those that have come are"),
		func(context.Context, *struct{}) (*scenariosOutput, error) {
			out := &scenariosOutput{}
			out.Body.Prefix, out.Body.Scenarios, out.Body.Devices = fault.ScenarioPrefix, fault.Scenarios(), a.plane.Faults.ScenarioDevices()
			return out, nil
		})
}
