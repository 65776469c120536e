package mindsphere

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/fakecloud/fakecloud/clientkit"
	"github.com/fakecloud/fakecloud/clientkit/azure"
)

// ErrClosed is returned by an agent's operations after Close.
var ErrClosed = fmt.Errorf("mindsphere: agent's %w", clientkit.ErrClosed)

// ErrTooLarge is returned before anything leaves for a message over [MaxPayload] or a command's answer over
// [MaxCommandData]: the broker would close the connection.
var ErrTooLarge = errors.New("mindsphere: message too large")

// ErrRegion is returned for what a region does not have.
var ErrRegion = errors.New("mindsphere: not in this region")

// DroppedError says that the broker of region eu1 kept closing the connection without a CONNACK. It does so
// while it provisions a new agent, and it does so for every refusal: a client id that is not
// {tenant}_{common name}, a certificate that no verified CA of the tenant has issued directly, one that has
// expired.
type DroppedError struct {
	Host     string
	ClientID string
	Attempts int           // connections that were dropped
	After    time.Duration // from the first to the last of them
}

func (e *DroppedError) Error() string {
	return fmt.Sprintf("mindsphere: %s has closed %d connections of %s without a word within %s: it is no longer "+
		"being provisioned; see that the client id is {tenant}_{common name} and that a verified CA of the tenant "+
		"has issued the certificate directly", e.Host, e.Attempts, e.ClientID, e.After.Round(time.Millisecond))
}

// CertificateError is a TLS alert of the server about the agent's certificate.
type CertificateError = clientkit.CertificateError

// ConnectError is a CONNACK with a code other than 0, of eu1 or a private cloud. In eu2 DPS and the hub answer
// with *azure.ConnectError.
type ConnectError struct {
	Host       string
	ReturnCode byte // 1 to 5 in MQTT 3.1.1
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("mindsphere: %s refused the connection: return code %d", e.Host, e.ReturnCode)
}

// Final reports whether another attempt is pointless: all but 3, server unavailable.
func (e *ConnectError) Final() bool { return e.ReturnCode != 3 }

// JobError is a model or instantiation that MindSphere answered with a failure.
type JobError struct {
	Status  string // as sent, such as Failed
	Message string
	Errors  []Problem
}

// Problem is one mistake in a model.
type Problem struct {
	Path    string `json:"path"`
	Message string `json:"message"`
}

func (e *JobError) Error() string {
	text := "mindsphere: the job ended as " + e.Status
	if e.Message != "" {
		text += ": " + e.Message
	}
	for _, p := range e.Errors {
		text += "; " + strings.TrimSpace(p.Path+" "+p.Message)
	}
	return text
}

// dropped reports whether err is a connection closed without a CONNACK.
func dropped(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isFinal reports whether a failed attempt would fail again in the same way.
func isFinal(err error) bool {
	var refused *ConnectError
	var verify *tls.CertificateVerificationError
	var certificate *CertificateError
	switch {
	case errors.As(err, &refused):
		return refused.Final()
	case errors.As(err, &verify), errors.As(err, &certificate):
		return true
	}
	return errors.Is(err, errToken)
}

// ended is what ends an agent that was connected before.
func ended(err error) bool {
	var refused *ConnectError
	return errors.As(err, &refused) && refused.Final()
}

// closedHub turns the hub's ErrClosed into ours.
func closedHub(err error) error {
	if errors.Is(err, azure.ErrClosed) {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}
