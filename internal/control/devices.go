package control

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sort"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fakecloud/fakecloud/internal/explain"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/plane"
)

type devicesInput struct {
	Platform string `query:"platform"`
	Endpoint string `query:"endpoint"`
	Device   string `query:"device" maxLength:"512" doc:"id, or a glob in which * crosses slashes"`
}

type devicesOutput struct {
	Body struct {
		Devices []plane.Device `json:"devices"`
	}
}

type deviceInput struct {
	Platform string `path:"platform"`
	Endpoint string `path:"endpoint"`
	ID       string `path:"id" maxLength:"512" doc:"device, or device/module; slashes may stand as they are or escaped"`
}

type deviceOutput struct{ Body plane.Device }

const devicePath = "/api/v1/devices/{platform}/{endpoint}/{id...}"

func (a *api) devices() {
	register(a, call(http.MethodGet, "/api/v1/devices", "devices", "Identities of all platforms, without their state"), a.listDevices)
	one := func(method, id, summary string) huma.Operation {
		op := call(method, devicePath, id, summary)
		op.Errors = append(op.Errors, http.StatusNotFound)
		return op
	}
	register(a, one(http.MethodGet, "device", "One identity with its connection and state"), a.getDevice)
	register(a, one(http.MethodDelete, "delete-device", "Removes an identity and ends its connection"), a.deleteDevice)
	act := one(http.MethodPost, "device-action", "…/disconnect ends the device's connection without a packet, …/expire as the end of its token does")
	act.Errors = append(act.Errors, http.StatusConflict)
	register(a, act, a.actOnDevice)
}

func (a *api) listDevices(_ context.Context, in *devicesInput) (*devicesOutput, error) {
	if err := cmp.Or(checkGlob("device", in.Device), checkPlatform(in.Platform)); err != nil {
		return nil, err
	}
	out := &devicesOutput{}
	out.Body.Devices = []plane.Device{}
	for _, d := range a.plane.Devices.List() {
		if (in.Platform == "" || in.Platform == d.Platform) && (in.Endpoint == "" || in.Endpoint == d.Endpoint) &&
			(in.Device == "" || journal.Glob(in.Device, d.ID)) {
			d.State = nil
			out.Body.Devices = append(out.Body.Devices, d)
		}
	}
	sort.Slice(out.Body.Devices, func(i, j int) bool {
		a, b := out.Body.Devices[i], out.Body.Devices[j]
		if a.Platform != b.Platform {
			return a.Platform < b.Platform
		}
		if a.Endpoint != b.Endpoint {
			return a.Endpoint < b.Endpoint
		}
		return a.ID < b.ID
	})
	return out, nil
}

// checkGlob refuses a malformed glob, which would match nothing without saying so.
func checkGlob(key, glob string) error {
	if err := journal.CheckGlob(glob); err != nil {
		return refuse(http.StatusUnprocessableEntity, key+": "+err.Error())
	}
	return nil
}

func (a *api) getDevice(_ context.Context, in *deviceInput) (*deviceOutput, error) {
	d, err := a.plane.Devices.Get(in.Platform, in.Endpoint, in.ID)
	if err != nil {
		return nil, a.deviceProblem(err, in.ID)
	}
	return &deviceOutput{Body: d}, nil
}

func (a *api) deleteDevice(_ context.Context, in *deviceInput) (*struct{}, error) {
	if err := a.plane.Devices.Delete(in.Platform, in.Endpoint, in.ID); err != nil {
		return nil, a.deviceProblem(err, in.ID)
	}
	return nil, nil
}

func (a *api) actOnDevice(_ context.Context, in *deviceInput) (*struct{}, error) {
	for suffix, act := range map[string]func(platform, endpoint, id string) error{
		"/disconnect": a.plane.Devices.Disconnect, "/expire": a.plane.Devices.Expire,
	} {
		if id, ok := strings.CutSuffix(in.ID, suffix); ok {
			if err := act(in.Platform, in.Endpoint, id); err != nil {
				return nil, a.deviceProblem(err, id)
			}
			return nil, nil
		}
	}
	return nil, refuse(http.StatusNotFound, "a device has two actions: POST …/disconnect and POST …/expire")
}

func (a *api) deviceProblem(err error, id string) error {
	if errors.Is(err, plane.ErrNothingToExpire) {
		return refuse(http.StatusConflict, err.Error()+": only tokens end, and only those of live connections")
	}
	if !errors.Is(err, plane.ErrNoDevice) {
		a.log.Error("device call failed", "cause", err)
		return refuse(http.StatusInternalServerError, "the platform could not do that; the instance's log says why")
	}
	p := refuse(http.StatusNotFound, "no such device; GET /api/v1/devices lists them")
	p.Closest = explain.Closest(id, a.known())
	return p
}

// known returns the ids of all devices.
func (a *api) known() []string {
	var ids []string
	for _, d := range a.plane.Devices.List() {
		ids = append(ids, d.ID)
	}
	return ids
}
