package control

import (
	"context"
	"errors"
	"net/http"

	"github.com/fakecloud/fakecloud/internal/plane"
)

type adoptInput struct {
	Body *struct {
		Device  string `json:"device,omitempty" minLength:"1" maxLength:"256" doc:"whose last refusal is meant; globs are allowed"`
		Address string `json:"address,omitempty" minLength:"1" maxLength:"64" doc:"address of the client, with or without port"`
	} `required:"false"`
}

type adoptOutput struct{ Body plane.Adoption }

func (a *api) adopt() {
	op := call(http.MethodPost, "/api/v1/adopt", "adopt", "Makes the world accept the last refused client: its hub, device, ID scope, CA or thumbprint")
	op.Errors = append(op.Errors, http.StatusNotFound, http.StatusConflict)
	register(a, op, func(ctx context.Context, in *adoptInput) (*adoptOutput, error) {
		var device, address string
		if in.Body != nil {
			device, address = in.Body.Device, in.Body.Address
		}
		if err := checkGlob("device", device); err != nil {
			return nil, err
		}
		adopted, err := a.plane.Adopt(ctx, device, address)
		switch {
		case errors.Is(err, plane.ErrNoAttempt):
			return nil, refuse(http.StatusNotFound, "no refused client is known that could be adopted; let the device try once more")
		case errors.Is(err, plane.ErrNotAdopted):
			return nil, refuse(http.StatusConflict, withoutExcerpt(err.Error()))
		case err != nil:
			return nil, err
		}
		return &adoptOutput{Body: adopted}, nil
	})
}
