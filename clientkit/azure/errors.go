package azure

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/fakecloud/fakecloud/clientkit"
)

// ErrClosed is returned by Send after Close.
var ErrClosed = fmt.Errorf("azure: hub %w", clientkit.ErrClosed)

// ErrTooLarge is returned by Send, before anything leaves, for a message over 262144 bytes (256 KB), the
// limit of IoT Hub for body and properties together.
var ErrTooLarge = errors.New("azure: message too large")

// ConnectError is a CONNACK with a code other than 0.
//
// Return code 3 is passing (the server is busy, or the device is disabled for now) and is retried; all
// others are final. IoT Hub answers 5 for every fault of identity or credential and does not say which.
type ConnectError struct {
	Host       string
	ReturnCode byte // 1 to 5 in MQTT 3.1.1; other values are passed on as received
}

var returnCodes = map[byte]string{
	1: "unacceptable protocol version",
	2: "client identifier rejected",
	3: "server unavailable",
	4: "bad user name or password",
	5: "not authorized",
}

func (e *ConnectError) Error() string {
	text, known := returnCodes[e.ReturnCode]
	if !known {
		text = "not a return code of MQTT 3.1.1"
	}
	return fmt.Sprintf("azure: %s refused the connection: return code %d (%s)", e.Host, e.ReturnCode, text)
}

// Final reports whether another attempt with the same credential is pointless.
func (e *ConnectError) Final() bool { return e.ReturnCode != 3 }

// ProvisionError is an answer of DPS that is not an assignment: an error status (Learn "Troubleshooting
// DPS"), or an operation that ended as failed or disabled.
type ProvisionError struct {
	// Status is the status in the answer's topic, as in HTTP. It is 200 for an operation that ended as
	// failed or disabled.
	Status int
	// State is the operation's status where there is one: "failed", "disabled".
	State string
	// ErrorCode is the service's six-digit code, e.g. 401002; 0 when it sent none.
	ErrorCode  int
	TrackingID string
	Message    string
	// Final is false for what the service asks to retry: 429 and 5xx. Such an error is returned only when
	// the time is up.
	Final bool
}

func (e *ProvisionError) Error() string {
	text := fmt.Sprintf("azure: provisioning failed: status %d", e.Status)
	if e.State != "" {
		text += ", " + e.State
	}
	if e.ErrorCode != 0 {
		text += fmt.Sprintf(", error code %d", e.ErrorCode)
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.TrackingID != "" {
		text += " (tracking id " + e.TrackingID + ")"
	}
	return text
}

// isFinal reports whether a failed attempt would fail again in the same way.
func isFinal(err error) bool {
	var refused *ConnectError
	var answer *ProvisionError
	var upgrade *clientkit.UpgradeError
	var verify *tls.CertificateVerificationError
	var subscribe *clientkit.SubscribeError
	switch {
	case errors.As(err, &refused):
		return refused.Final()
	case errors.As(err, &answer):
		return answer.Final
	case errors.As(err, &upgrade):
		return upgrade.Final()
	case errors.As(err, &verify), errors.As(err, &subscribe):
		return true
	}
	return errors.Is(err, errProtocol)
}

// errProtocol marks an answer that no retry will mend.
var errProtocol = errors.New("azure: unexpected answer")
