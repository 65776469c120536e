package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fakecloud/fakecloud/internal/explain"
	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// hubPath is where the back end's side of one IoT hub lies.
const hubPath = "/api/v1/iothub/{hub}"

// hubDevice names an identity of a hub.
type hubDevice struct {
	Hub    string `path:"hub" maxLength:"256" doc:"name or host name of the hub"`
	Device string `path:"device" maxLength:"512" doc:"device, or device/module; slashes may stand as they are or escaped"`
}

type c2dInput struct {
	hubDevice
	Body plane.C2D
}

type c2dOutput struct{ Body plane.Queued }

type purgeOutput struct {
	Body struct {
		Purged int `json:"purged"`
	}
}

type methodInput struct {
	hubDevice
	Body plane.MethodCall
}

type methodOutput struct{ Body plane.MethodResult }

type twinInput struct {
	hubDevice
	Body plane.TwinChange
}

type twinOutput struct{ Body json.RawMessage }

// maxMethod bounds a method call: the wait for the device and the wait for its answer.
const maxMethod = 600*time.Second + writeTimeout

// hubs registers the calls that a back end makes.
func (a *api) hubs() {
	one := func(method, path, id, summary string, more ...int) huma.Operation {
		op := call(method, hubPath+path, id, summary)
		op.Errors = append(append(op.Errors, http.StatusNotFound, http.StatusUnprocessableEntity), more...)
		return op
	}
	register(a, one(http.MethodPost, "/messages/{device...}", "send-c2d", "Queues a cloud-to-device message", http.StatusRequestEntityTooLarge), a.sendC2D)
	register(a, one(http.MethodDelete, "/messages/{device...}", "purge-c2d", "Empties a device's queue"), a.purgeC2D)
	method := one(http.MethodPost, "/methods/{device...}", "invoke-method", "Calls a direct method and waits for the device's answer",
		http.StatusServiceUnavailable, http.StatusGatewayTimeout)
	method.Middlewares = huma.Middlewares{patient}
	register(a, method, a.invoke)
	register(a, one(http.MethodGet, "/twins/{device...}", "twin", "A twin as the service side reads it"), a.getTwin)
	register(a, one(http.MethodPatch, "/twins/{device...}", "patch-twin", "Merges tags and desired properties into a twin; a null removes its key"), a.changeTwin(false))
	register(a, one(http.MethodPut, "/twins/{device...}", "replace-twin", "Replaces tags or desired properties, those that are given"), a.changeTwin(true))
	register(a, one(http.MethodGet, "/telemetry", "telemetry", "Stored device-to-cloud messages, oldest first"), a.getTelemetry)
	register(a, one(http.MethodGet, "/files", "files", "Files that devices have uploaded"), a.listFiles)
	register(a, stream(one(http.MethodGet, "/files/{file...}", "file", "One uploaded file; its name begins with the device's id"), "application/octet-stream"), a.getFile)
}

func (a *api) sendC2D(_ context.Context, in *c2dInput) (*c2dOutput, error) {
	queued, err := a.plane.Hubs.SendC2D(in.Hub, in.Device, in.Body)
	if err != nil {
		return nil, a.hubProblem(err, in.hubDevice)
	}
	return &c2dOutput{Body: queued}, nil
}

func (a *api) purgeC2D(_ context.Context, in *hubDevice) (*purgeOutput, error) {
	n, err := a.plane.Hubs.PurgeC2D(in.Hub, in.Device)
	if err != nil {
		return nil, a.hubProblem(err, *in)
	}
	out := &purgeOutput{}
	out.Body.Purged = n
	return out, nil
}

// invoke waits as long as the device's answer may take, in one of the slots that waits have.
func (a *api) invoke(ctx context.Context, in *methodInput) (*methodOutput, error) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		return nil, refuse(http.StatusServiceUnavailable, "too many streams and waits are open")
	}
	result, err := a.plane.Hubs.Invoke(ctx, in.Hub, in.Device, in.Body)
	if err != nil {
		return nil, a.hubProblem(err, in.hubDevice)
	}
	return &methodOutput{Body: result}, nil
}

// patient lifts the server's limit on the time of an answer, which a method call may outlast.
func patient(ctx huma.Context, next func(huma.Context)) {
	_, w := humago.Unwrap(ctx)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxMethod)) // else the answer has a minute
	next(ctx)
}

func (a *api) getTwin(_ context.Context, in *hubDevice) (*twinOutput, error) {
	twin, err := a.plane.Hubs.Twin(in.Hub, in.Device)
	if err != nil {
		return nil, a.hubProblem(err, *in)
	}
	return &twinOutput{Body: twin}, nil
}

func (a *api) changeTwin(replace bool) func(context.Context, *twinInput) (*twinOutput, error) {
	return func(_ context.Context, in *twinInput) (*twinOutput, error) {
		twin, err := a.plane.Hubs.ChangeTwin(in.Hub, in.Device, in.Body, replace)
		if err != nil {
			return nil, a.hubProblem(err, in.hubDevice)
		}
		return &twinOutput{Body: twin}, nil
	}
}

// hubProblem says why a call of a hub failed. The hub's own refusals keep their rule, seen, expected and fix.
func (a *api) hubProblem(err error, of hubDevice) error {
	var r *rule.Refusal
	switch {
	case errors.As(err, &r):
		return a.refusal(hubStatus(r.Code), r)
	case errors.Is(err, plane.ErrNoHub):
		p := refuse(http.StatusNotFound, "no such hub; GET /api/v1/info lists them as endpoints")
		p.Closest = explain.Closest(of.Hub, a.hubNames())
		return p
	case errors.Is(err, plane.ErrNoFile):
		return refuse(http.StatusNotFound, "no such file; GET /api/v1/iothub/{hub}/files lists them")
	case errors.Is(err, plane.ErrArgument):
		return refuse(http.StatusUnprocessableEntity, err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return refuse(http.StatusServiceUnavailable, "the call was broken off")
	}
	return a.deviceProblem(err, of.Device)
}

// refusal is the problem of what a platform refuses.
func (a *api) refusal(status int, r *rule.Refusal) *problem {
	p := refuse(status, r.Detail)
	p.Rule, p.Seen, p.Expected = r.Rule, r.Seen, r.Expected
	if _, cause, ok := a.plane.Rules.Cause(r.Rule); ok {
		p.Fix = cause.Fix
	}
	return p
}

// hubStatus is the HTTP status of a hub's error code of six digits.
func hubStatus(code int) int {
	if status := code / 1000; status >= 400 && status < 600 {
		return status
	}
	return http.StatusUnprocessableEntity
}

// hubNames are the hubs' names and host names.
func (a *api) hubNames() []string {
	var names []string
	for _, e := range a.plane.Endpoints() {
		if e.Platform == "iothub" {
			short, _, _ := strings.Cut(e.Name, ".")
			names = append(append(names, short), e.Hosts...)
		}
	}
	return names
}
