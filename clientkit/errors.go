package clientkit

import (
	"errors"
	"fmt"
	"time"
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

// AckError is why a connection was cut that stood, on which an acknowledgement did not come.
type AckError struct {
	Missing string        // PUBACK or SUBACK
	After   time.Duration // Timing.Acknowledge
}

func (e *AckError) Error() string {
	return fmt.Sprintf("no %s within %s", e.Missing, e.After)
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

// UpgradeError is an answer to the WebSocket handshake that does not open MQTT: another status than 101, or
// 101 without what RFC 6455 and the subprotocol mqtt ask for.
type UpgradeError struct {
	Address string // host and port
	Path    string // without the query
	Status  int    // of HTTP
	Cause   error  // nil when only the subprotocol is missing
}

func (e *UpgradeError) Error() string {
	text := fmt.Sprintf("%s answered the WebSocket handshake at %s with status %d", e.Address, e.Path, e.Status)
	switch {
	case e.Status != 101:
		return text
	case e.Cause == nil:
		return text + " and without the subprotocol mqtt"
	}
	return text + ": " + e.Cause.Error()
}

// Unwrap returns what was wrong with the answer.
func (e *UpgradeError) Unwrap() error { return e.Cause }

// Final reports whether the same handshake would fail again: a redirect or a refusal other than 408 and 429.
func (e *UpgradeError) Final() bool {
	return e.Status < 500 && e.Status != 408 && e.Status != 429
}
