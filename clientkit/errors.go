package clientkit

import (
	"errors"
	"fmt"
)

// ErrClosed is wrapped by the errors of a connection that has been closed, or was refused for good.
var ErrClosed = errors.New("connection is closed")

// SubscribeError is a SUBACK that refuses a topic filter.
type SubscribeError struct {
	Filter string
	Code   byte // 0x80 in MQTT 3.1.1
}

func (e *SubscribeError) Error() string {
	return fmt.Sprintf("subscription to %s refused with 0x%02x", e.Filter, e.Code)
}

// CertificateError is a TLS alert of the server about the device's certificate.
type CertificateError struct {
	Address string // host and port
	Alert   string // as in "unknown certificate authority"
	Cause   error
}

func (e *CertificateError) Error() string {
	return fmt.Sprintf("%s does not accept the certificate: %s", e.Address, e.Alert)
}

// Unwrap returns the alert as crypto/tls has it.
func (e *CertificateError) Unwrap() error { return e.Cause }
