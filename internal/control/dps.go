package control

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// caPath is where the CA certificates of a DPS instance lie.
const caPath = "/api/v1/dps/{instance}/certificates/{name}"

// registrarCA names a CA certificate of a DPS instance.
type registrarCA struct {
	Instance string `path:"instance" maxLength:"64" doc:"name of the DPS instance"`
	Name     string `path:"name" maxLength:"64" doc:"name of the certificate"`
}

type caInput struct {
	registrarCA
	Body struct {
		Certificate string `json:"certificate" maxLength:"65536" doc:"PEM, or base64 of DER"`
		Verified    bool   `json:"verified,omitempty" doc:"takes possession of its key for proven"`
	}
}

type proofInput struct {
	registrarCA
	Body struct {
		Certificate string `json:"certificate" maxLength:"65536" doc:"a certificate that the CA has signed and whose common name is the verification code; PEM, or base64 of DER"`
	}
}

type caOutput struct{ Body plane.CA }

// registrars registers the calls of a DPS instance's owner.
func (a *api) registrars() {
	one := func(method, path, id, summary string) huma.Operation {
		op := call(method, caPath+path, id, summary)
		op.Errors = append(op.Errors, http.StatusNotFound, http.StatusUnprocessableEntity)
		return op
	}
	answer := func(ca plane.CA, err error) (*caOutput, error) {
		if err != nil {
			return nil, a.registrarProblem(err)
		}
		return &caOutput{Body: ca}, nil
	}
	register(a, one(http.MethodPut, "", "put-dps-ca", "Uploads a CA certificate to a DPS instance, or replaces it"), func(_ context.Context, in *caInput) (*caOutput, error) {
		return answer(a.plane.Registrars.PutCA(in.Instance, in.Name, in.Body.Certificate, in.Body.Verified))
	})
	register(a, one(http.MethodPost, "/verification-code", "dps-ca-code", "Makes the code for a proof of possession"), func(_ context.Context, in *registrarCA) (*caOutput, error) {
		return answer(a.plane.Registrars.NewCode(in.Instance, in.Name))
	})
	register(a, one(http.MethodPost, "/verify", "prove-dps-ca", "Verifies a CA certificate by its proof of possession"), func(_ context.Context, in *proofInput) (*caOutput, error) {
		return answer(a.plane.Registrars.Prove(in.Instance, in.Name, in.Body.Certificate))
	})
}

func (a *api) registrarProblem(err error) error {
	var r *rule.Refusal
	switch {
	case errors.As(err, &r):
		p := refuse(http.StatusUnprocessableEntity, "the proof of possession is not taken")
		p.Rule, p.Seen, p.Expected = r.Rule, r.Seen, r.Expected
		if _, cause, ok := a.plane.Rules.Cause(r.Rule); ok {
			p.Detail, p.Fix = cause.Why, cause.Fix
		}
		return p
	case errors.Is(err, plane.ErrNoRegistrar):
		return refuse(http.StatusNotFound, "no such DPS instance or certificate; GET /api/v1/info lists the instances as endpoints")
	}
	return refuse(http.StatusUnprocessableEntity, withoutQuoted(err.Error()))
}
