package azure

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// DPS statuses of an operation and of a registration.
const (
	DPSAssigning = "assigning"
	DPSAssigned  = "assigned"
	DPSFailed    = "failed"
	DPSDisabled  = "disabled"
)

// DPS substatuses of an assigned registration.
const (
	DPSInitialAssignment   = "initialAssignment"
	DPSDeviceDataMigrated  = "deviceDataMigrated"
	DPSDeviceDataReset     = "deviceDataReset"
	DPSReprovisionedToInit = "reprovisionedToInitialAssignment"
)

// DPSRegistration is the body of a register request. All of it is optional over MQTT.
type DPSRegistration struct {
	RegistrationID string          `json:"registrationId,omitempty"`
	TPM            *DPSTPM         `json:"tpm,omitempty"`
	Payload        json.RawMessage `json:"payload,omitempty"`
}

// DPSTPM are a TPM's keys: TPM2B_PUBLIC in base64.
type DPSTPM struct {
	EndorsementKey string `json:"endorsementKey"`
	StorageRootKey string `json:"storageRootKey,omitempty"`
}

// DPSChallenge is the body of the 401 that asks a TPM to prove itself: AuthenticationKey is an activation
// blob in base64.
type DPSChallenge struct {
	Message           string `json:"message"`
	AuthenticationKey string `json:"authenticationKey"`
	KeyName           string `json:"keyName"`
}

// Limits of a register body.
const (
	MaxDPSMessage = 96 << 10 // bytes (azure-docs includes/iot-dps-limits.md)
	maxDPSDepth   = 64       // nested arrays and objects
)

// Errors of ParseDPSRegistration.
var (
	ErrDPSBody     = errors.New("body is not a JSON object")
	ErrDPSBodySize = fmt.Errorf("body is longer than %d bytes", MaxDPSMessage)
)

// ParseDPSRegistration reads a register body. An empty or blank one is valid: the C# SDK sends it, and
// Python's polls carry one space. Unknown fields are ignored.
func ParseDPSRegistration(body []byte) (DPSRegistration, error) {
	var r DPSRegistration
	if len(body) > MaxDPSMessage {
		return r, ErrDPSBodySize
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return r, nil
	}
	if body[0] != '{' {
		return r, ErrDPSBody
	}
	if err := checkDepth(body); err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("%w: %s", ErrDPSBody, describeJSON(err))
	}
	if r.TPM != nil && *r.TPM == (DPSTPM{}) {
		r.TPM = nil // SDKs without a TPM may send an empty object
	}
	return r, nil
}

func checkDepth(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	for depth := 0; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %s", ErrDPSBody, describeJSON(err))
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth > maxDPSDepth {
			return fmt.Errorf("%w: nested deeper than %d", ErrDPSBody, maxDPSDepth)
		}
	}
}

// describeJSON says where the JSON breaks without repeating its values.
func describeJSON(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("at byte %d: %v", syntax.Offset, syntax)
	case errors.As(err, &kind):
		want := jsonKinds[kind.Type.Kind().String()]
		if kind.Field == "" {
			return "it is no " + want
		}
		return fmt.Sprintf("field %s is no %s", kind.Field, want)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "it ends too early"
	}
	return "it cannot be read"
}

// jsonKinds are JSON's names for the kinds of Go types that bodies are read into.
var jsonKinds = map[string]string{
	"string": "string", "bool": "boolean", "int": "number", "int64": "number", "float64": "number", "slice": "array", "struct": "object", "map": "object",
}

// DPSOperation is the answer to register and poll (RegistrationOperationStatus).
type DPSOperation struct {
	OperationID string    `json:"operationId"`
	Status      string    `json:"status"`
	State       *DPSState `json:"registrationState,omitempty"`
}

// DPSState is a registrationState. Field order is the service's: the attestation object comes first.
type DPSState struct {
	TPM            *DPSActivation  `json:"tpm,omitempty"`
	X509           *DPSAttested    `json:"x509,omitempty"`
	SymmetricKey   *DPSAttested    `json:"symmetricKey,omitempty"`
	RegistrationID string          `json:"registrationId"`
	Created        string          `json:"createdDateTimeUtc,omitempty"`
	AssignedHub    string          `json:"assignedHub,omitempty"`
	DeviceID       string          `json:"deviceId,omitempty"`
	Status         string          `json:"status"`
	Substatus      string          `json:"substatus,omitempty"`
	ErrorCode      int             `json:"errorCode,omitempty"`
	ErrorMessage   string          `json:"errorMessage,omitempty"`
	LastUpdated    string          `json:"lastUpdatedDateTimeUtc,omitempty"`
	ETag           string          `json:"etag,omitempty"`
	Payload        json.RawMessage `json:"payload,omitempty"`
}

// DPSAttested is the attestation object of a registrationState: empty for an individual enrollment.
type DPSAttested struct {
	EnrollmentGroupID string `json:"enrollmentGroupId,omitempty"`
}

// DPSActivation carries the hub's key to a TPM, as an activation blob in base64.
type DPSActivation struct {
	AuthenticationKey string `json:"authenticationKey,omitempty"`
}

// DPSError is the body of every error. ErrorCode / 1000 is the status.
type DPSError struct {
	ErrorCode    int    `json:"errorCode"`
	TrackingID   string `json:"trackingId"`
	Message      string `json:"message"`
	TimestampUTC string `json:"timestampUtc"`
}

// Status returns the status that belongs to the error's code.
func (e DPSError) Status() int { return e.ErrorCode / 1000 }

// FormatDPSTime writes ISO 8601 in UTC with seven fraction digits.
func FormatDPSTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// FormatDPSETag writes an etag: base64 of the tag in quotes.
func FormatDPSETag(tag string) string {
	return base64.StdEncoding.EncodeToString([]byte(`"` + tag + `"`))
}
