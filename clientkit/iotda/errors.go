package iotda

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/fakecloud/fakecloud/clientkit"
)

// ErrClosed is returned by a device's operations after Close.
var ErrClosed = fmt.Errorf("iotda: device's %w", clientkit.ErrClosed)

// ErrTooLarge is returned before anything leaves for a message over [MaxMessage].
var ErrTooLarge = errors.New("iotda: message too large")

// ErrNoAnswer is returned when the platform leaves a request without an answer for 20 seconds.
var ErrNoAnswer = errors.New("iotda: no answer")

// MaxMessage is the platform's limit for a message, in bytes ("Limitations").
const MaxMessage = 1 << 20

// answerTimeout is how long a request waits.
const answerTimeout = 20 * time.Second

// ConnectError is a CONNACK with a code other than 0 (iot_06_v5_3009).
type ConnectError struct {
	Host       string
	ReturnCode byte // 1 to 5 in MQTT 3.1.1
}

var returnCodes = map[byte]string{
	1: "protocol version not supported",
	2: "the client ID has a wrong form, or the keep alive is not 30 to 1200 s",
	3: "the platform is not available",
	4: "user name or password wrong: secret, time stamp, or certificate",
	5: "no permission: the device is frozen, or must use TLS",
}

func (e *ConnectError) Error() string {
	text, known := returnCodes[e.ReturnCode]
	if !known {
		text = "not a return code of MQTT 3.1.1"
	}
	return fmt.Sprintf("iotda: %s refused the connection: return code %d (%s)", e.Host, e.ReturnCode, text)
}

// Final reports whether another attempt with the same credential is pointless: all but 3.
func (e *ConnectError) Final() bool { return e.ReturnCode != 3 }

// CertificateError is a TLS alert of the server about the device's certificate.
type CertificateError = clientkit.CertificateError

// Failure is an error that a handler returns to tell the application a result code of one's own; other errors are code 1.
type Failure struct {
	Code int // not 0
	Text string
}

func (f *Failure) Error() string { return fmt.Sprintf("result code %d: %s", f.Code, f.Text) }

// resultOf returns the result of a handler as the platform takes it: 0 is success.
func resultOf(err error) (code int, text string) {
	var f *Failure
	switch {
	case err == nil:
		return 0, "success"
	case errors.As(err, &f):
		return f.Code, f.Text
	}
	return 1, err.Error()
}

// isFinal reports whether a failed attempt would fail again in the same way.
func isFinal(err error) bool {
	var refused *ConnectError
	var verify *tls.CertificateVerificationError
	var certificate *CertificateError
	var subscribe *clientkit.SubscribeError
	var answer *ProvisionError
	switch {
	case errors.As(err, &refused):
		return refused.Final()
	case errors.As(err, &verify), errors.As(err, &certificate), errors.As(err, &subscribe), errors.As(err, &answer):
		return true
	}
	return false
}

// ended is what ends a device that was connected before.
func ended(err error) bool {
	var refused *ConnectError
	return errors.As(err, &refused) && refused.Final()
}
