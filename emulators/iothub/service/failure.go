package service

import (
	"errors"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// failure is why a request gets an error, and what of it the wire shows.
type failure struct {
	refusal    *rule.Refusal // nil for a fault that was set: no rule was broken
	code       int           // the hub's own, of six digits
	message    string        // on the wire
	info       map[string]string
	body       any  // in place of the usual error body
	journalled bool // by the core
}

// Error implements error.
func (f *failure) Error() string {
	if f.refusal == nil {
		return f.message
	}
	return f.refusal.Error()
}

// unavailable is the answer of a hub that fails over.
func unavailable() error {
	return &failure{code: azure.ServiceUnavailable, message: "Service unavailable"}
}

// failed makes a failure whose detail the wire shows too, as the hub does with invalid arguments.
func failed(id rule.ID, code int, detail, seen, expected string) *failure {
	return &failure{refusal: &rule.Refusal{Rule: id, Detail: detail, Seen: seen, Expected: expected}, code: code, message: plain(detail)}
}

// plain keeps a message free of the semicolon, at which Node's SDK splits it (azure-iothub, rest_api_client).
func plain(message string) string { return strings.ReplaceAll(message, ";", ",") }

// asFailure returns err as a failure. Anything else is a mistake of ours and answered as ServerError.
func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	panic("service: an error without a rule: " + err.Error())
}

// unauthorized is the answer to a token that does not do; the wire says little.
func unauthorized(r *rule.Refusal) *failure {
	f := &failure{refusal: r, code: r.Code, message: "Unauthorized"}
	if r.Rule == "SVC-29/missing" {
		f.message = "Authorization header missing"
	}
	return f
}

// faults names the rules that the core's errors stand for in an operation.
type faults struct {
	invalid, exists, etag rule.ID
}

// fault translates an error of the core about a device, or about a module where the path names one.
func (c *call) fault(err error, f faults) error {
	device, module := c.identity()
	var r *rule.Refusal
	switch {
	case errors.As(err, &r):
		return refusalOf(r, plain(r.Detail))
	case errors.Is(err, iothub.ErrNotFound):
		return c.notFound(device, module)
	case errors.Is(err, iothub.ErrExists) && module != "":
		return &failure{code: azure.ModuleAlreadyExists, message: "Module " + module + " already exists on device " + device,
			refusal: &rule.Refusal{Rule: f.exists, Detail: "the device has a module of this id", Seen: show(module), Expected: "an id that is new, or If-Match to replace the module"}}
	case errors.Is(err, iothub.ErrExists):
		return &failure{code: azure.DeviceAlreadyExists, message: "A device with ID '" + device + "' is already registered.",
			refusal: &rule.Refusal{Rule: f.exists, Detail: "the hub has a device of this id", Seen: show(device), Expected: "an id that is new, or If-Match to replace the device"}}
	case errors.Is(err, iothub.ErrPrecondition):
		return &failure{code: azure.PreconditionFailed, message: "Precondition failed: the version did not match",
			refusal: &rule.Refusal{Rule: f.etag, Detail: "the ETag in If-Match is not the current one", Seen: "If-Match: " + show(c.r.Header.Get("If-Match")),
				Expected: "the etag of the last answer, or \"*\" for any"}}
	}
	return failed(f.invalid, azure.ArgumentInvalid, err.Error(), "", "")
}

func (c *call) notFound(device, module string) error {
	core := c.Handler.hub
	if module != "" {
		if _, err := core.GetDevice(c.hub.Host, device); err == nil {
			return refusalOf(core.NoModule(c.hub.Host, device, module), "Module "+module+" not found on device "+device)
		}
	}
	return refusalOf(core.NoDevice(c.hub.Host, device), "Device "+device+" not registered")
}

// identity returns what the path names; module is empty for a device.
func (c *call) identity() (device, module string) {
	if len(c.ids) > 0 {
		device = c.ids[0]
	}
	if len(c.ids) > 1 {
		module = c.ids[1]
	}
	return device, module
}
