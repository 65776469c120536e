package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fakecloud/fakecloud/internal/explain"
	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// iotdaDevice names a device of an IoTDA instance.
type iotdaDevice struct {
	Instance string `path:"instance" maxLength:"64" doc:"name of the instance"`
	Device   string `path:"device" maxLength:"256" doc:"device id"`
}

type logConfigInput struct {
	iotdaDevice
	Body struct {
		Switch string    `json:"switch" enum:"on,off" doc:"on: the device collects logs and reports them as events of $log"`
		Until  time.Time `json:"until,omitempty" doc:"end of the collection; default is in an hour"`
	}
}

type configUpdateInput struct {
	iotdaDevice
	Body struct {
		Content json.RawMessage `json:"content" doc:"config_content, a JSON object"`
	}
}

// defaultCollection is how long logs are collected where nobody says.
const defaultCollection = time.Hour

func (a *api) iotda() {
	op := func(suffix, id, summary string) huma.Operation {
		op := call(http.MethodPost, "/api/v1/iotda/{instance}/devices/{device}"+suffix, id, summary)
		op.Errors = append(op.Errors, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)
		return op
	}
	register(a, op("/log-config", "iotda-log-config", "Tells an IoTDA device to collect logs or to stop (log_config), as the console does"),
		func(_ context.Context, in *logConfigInput) (*struct{}, error) {
			on, until := in.Body.Switch == "on", in.Body.Until
			if on && until.IsZero() {
				until = a.plane.Clock.Wall().Add(defaultCollection)
			}
			return nil, a.consoleProblem(a.plane.Consoles.ConfigureLog(in.Instance, in.Device, on, until), in.iotdaDevice)
		})
	register(a, op("/config", "iotda-config-update", "Sends an IoTDA device its remote configuration (config_update), as the console does"),
		func(_ context.Context, in *configUpdateInput) (*struct{}, error) {
			return nil, a.consoleProblem(a.plane.Consoles.UpdateConfig(in.Instance, in.Device, in.Body.Content), in.iotdaDevice)
		})
}

func (a *api) consoleProblem(err error, of iotdaDevice) error {
	var r *rule.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return a.refusal(http.StatusConflict, r)
	case errors.Is(err, plane.ErrNoInstance):
		p := refuse(http.StatusNotFound, "no such IoTDA instance; GET /api/v1/info lists them as endpoints")
		var names []string
		for _, e := range a.plane.Endpoints() {
			if e.Platform == "iotda" {
				names = append(names, e.Name)
			}
		}
		p.Closest = explain.Closest(of.Instance, names)
		return p
	case errors.Is(err, plane.ErrArgument):
		return refuse(http.StatusUnprocessableEntity, err.Error())
	}
	return a.deviceProblem(err, of.Device)
}
