package control

import (
	"context"
	"errors"
	"net/http"

	"github.com/fakecloud/fakecloud/internal/fault"
)

type faultsOutput struct {
	Body struct {
		Faults []fault.Fault `json:"faults"`
	}
}

type faultInput struct{ Body fault.Fault }

type faultOutput struct{ Body fault.Fault }

type faultQuery struct {
	ID string `query:"id" minLength:"1" maxLength:"64" doc:"one fault; without it all are removed"`
}

const faultsPath = "/api/v1/faults"

func (a *api) faults() {
	register(a, call(http.MethodGet, faultsPath, "faults", "The faults that are set, with the count that is left"),
		func(context.Context, *struct{}) (*faultsOutput, error) {
			out := &faultsOutput{}
			out.Body.Faults = a.plane.Faults.List()
			return out, nil
		})
	register(a, call(http.MethodPost, faultsPath, "set-fault", "Sets a fault, or replaces the one of the same id"), a.setFault)
	remove := call(http.MethodDelete, faultsPath, "remove-faults", "Removes one fault, or all")
	remove.Errors = append(remove.Errors, http.StatusNotFound)
	register(a, remove, a.removeFaults)
}

func (a *api) setFault(_ context.Context, in *faultInput) (*faultOutput, error) {
	put, err := a.plane.Faults.Put(in.Body)
	switch {
	case errors.Is(err, fault.ErrInvalid):
		return nil, refuse(http.StatusUnprocessableEntity, err.Error())
	case err != nil:
		return nil, err
	}
	return &faultOutput{Body: put[0]}, nil
}

func (a *api) removeFaults(_ context.Context, in *faultQuery) (*struct{}, error) {
	if in.ID == "" {
		a.plane.Faults.Clear()
		return nil, nil
	}
	if !a.plane.Faults.Delete(in.ID) {
		return nil, refuse(http.StatusNotFound, "no such fault; GET "+faultsPath+" lists them")
	}
	return nil, nil
}
