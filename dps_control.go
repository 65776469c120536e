package fakecloud

import (
	"errors"
	"fmt"

	"github.com/fakecloud/fakecloud/emulators/dps"
	"github.com/fakecloud/fakecloud/internal/plane"
)

// registrarControl is the control plane's access to the CA certificates of DPS.
type registrarControl struct{ cloud *Cloud }

var _ plane.Registrars = registrarControl{}

// PutCA implements plane.Registrars.
func (r registrarControl) PutCA(instance, name, certificate string, verified bool) (plane.CA, error) {
	if _, ok := r.cloud.gen().cores.dps.Instance(instance); !ok {
		return plane.CA{}, plane.ErrNoRegistrar
	}
	if err := r.cloud.gen().cores.dps.PutCA(instance, dps.CA{Name: name, Certificate: certificate, Verified: verified}); err != nil {
		return plane.CA{}, fmt.Errorf("%w: %w", plane.ErrArgument, err)
	}
	ca, _ := r.cloud.gen().cores.dps.CA(instance, name)
	return shownCA(ca), nil
}

// NewCode implements plane.Registrars.
func (r registrarControl) NewCode(instance, name string) (plane.CA, error) {
	ca, err := r.cloud.gen().cores.dps.NewCode(instance, name, "*")
	return shownCA(ca), registrarError(err)
}

// Prove implements plane.Registrars.
func (r registrarControl) Prove(instance, name, proof string) (plane.CA, error) {
	ca, err := r.cloud.gen().cores.dps.ProveCA(instance, name, "*", proof)
	return shownCA(ca), registrarError(err)
}

func shownCA(ca dps.CA) plane.CA {
	return plane.CA{Name: ca.Name, Verified: ca.Verified, Code: ca.Code}
}

func registrarError(err error) error {
	if errors.Is(err, dps.ErrNotFound) {
		return plane.ErrNoRegistrar
	}
	return err
}
