package control

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/plane"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// cas is an instance "d" with the certificate "c", whose proof is the text "proof".
type cas struct{}

func (cas) PutCA(instance, name, certificate string, verified bool) (plane.CA, error) {
	switch {
	case instance != "d":
		return plane.CA{}, plane.ErrNoRegistrar
	case certificate == "":
		return plane.CA{}, errors.New("certificate: not a certificate")
	}
	return plane.CA{Name: name, Verified: verified}, nil
}

func (cas) NewCode(instance, name string) (plane.CA, error) {
	if instance != "d" || name != "c" {
		return plane.CA{}, plane.ErrNoRegistrar
	}
	return plane.CA{Name: name, Code: "AB12"}, nil
}

func (cas) Prove(_, name, proof string) (plane.CA, error) {
	if proof != "proof" {
		return plane.CA{}, &rule.Refusal{Rule: "DPS-1/level", Seen: "something", Expected: "something else"}
	}
	return plane.CA{Name: name, Verified: true}, nil
}

func TestProofOfPossession(t *testing.T) {
	t.Parallel()
	in := start(t, Options{})
	in.plane.Registrars = cas{}
	json := []string{"Content-Type", "application/json"}
	const path = "/api/v1/dps/d/certificates/c"
	require.JSONEq(t, `{"name":"c","verified":true}`, in.do(t, "PUT", path, `{"certificate":"x","verified":true}`, json...).body)
	require.JSONEq(t, `{"name":"c","verified":false,"verificationCode":"AB12"}`, in.do(t, "POST", path+"/verification-code", "").body)
	require.JSONEq(t, `{"name":"c","verified":true}`, in.do(t, "POST", path+"/verify", `{"certificate":"proof"}`, json...).body)

	refused := in.do(t, "POST", path+"/verify", `{"certificate":"wrong"}`, json...)
	require.Equal(t, 422, refused.status)
	require.Equal(t, rule.ID("DPS-1/level"), refused.problem(t).Rule)
	require.Equal(t, "something else", refused.problem(t).Expected)
	require.Equal(t, 404, in.do(t, "POST", "/api/v1/dps/none/certificates/c/verification-code", "").status)
	require.Equal(t, 422, in.do(t, "PUT", path, `{"certificate":""}`, json...).status)
	require.Equal(t, 422, in.do(t, "PUT", path, `{"more":1}`, json...).status)
}
