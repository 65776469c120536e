package plane

import "errors"

// ErrNoRegistrar answers calls for an unknown DPS instance or certificate.
var ErrNoRegistrar = errors.New("no such DPS instance or certificate")

// Registrars is the owner's side of the DPS instances: their CA certificates. Errors are ErrNoRegistrar,
// ErrArgument and *rule.Refusal.
type Registrars interface {
	// PutCA adds or replaces a CA certificate, PEM or base64 of DER.
	PutCA(instance, name, certificate string, verified bool) (CA, error)
	// NewCode makes the verification code that a proof of possession has as its common name.
	NewCode(instance, name string) (CA, error)
	// Prove verifies a CA certificate by a certificate that it has signed for its code.
	Prove(instance, name, proof string) (CA, error)
}

// CA is an uploaded CA certificate.
type CA struct {
	Name     string `json:"name"`
	Verified bool   `json:"verified" doc:"possession of its key was proven"`
	Code     string `json:"verificationCode,omitempty" doc:"common name of the proof; gone once it is proven"`
}
