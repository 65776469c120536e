package control

import (
	"context"
	"net/http"
)

type containerInput struct {
	Hub       string `path:"hub" maxLength:"256" doc:"name or host name of the hub"`
	Container string `path:"container" minLength:"1" maxLength:"63" pattern:"^[a-z0-9-]+$" doc:"name of the container; it need not exist"`
}

type containerOutput struct {
	Body struct {
		URI string `json:"uri" doc:"address with a signature that may read and write for an hour: a secret"`
	}
}

// containers registers what import and export jobs want.
func (a *api) containers() {
	op := call(http.MethodGet, hubPath+"/containers/{container}", "container", "The address of a blob container of the hub's own, signed, for import and export jobs")
	op.Errors = append(op.Errors, http.StatusNotFound, http.StatusUnprocessableEntity)
	register(a, op, func(_ context.Context, in *containerInput) (*containerOutput, error) {
		address, err := a.plane.Container(in.Hub, in.Container)
		if err != nil {
			return nil, a.hubProblem(err, hubDevice{Hub: in.Hub})
		}
		out := &containerOutput{}
		out.Body.URI = address
		return out, nil
	})
}
