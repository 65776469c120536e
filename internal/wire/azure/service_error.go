package azure

import (
	"encoding/json"
	"time"
)

// Error codes of IoT Hub's service API. The first three digits are the HTTP status ("Troubleshoot IoT Hub
// error codes"; ErrorCode.cs of the C# SDK).
const (
	InvalidProtocolVersion = 400001
	ArgumentInvalid        = 400004
	FormatError            = 400006
	BlobContainerInvalid   = 400008
	DeviceDefinedTwice     = 400011
	BulkFailure            = 400013
	InvalidTargetCondition = 400401
	InvalidConfiguration   = 400402
	ImmutableConfiguration = 400403
	InvalidMetricsQuery    = 400404
	UnauthorizedAccess     = 401002
	Unauthorized           = 401003
	QueueFull              = 403004
	MethodsInFlight        = 403800
	NotFound               = 404000
	DeviceNotFound         = 404001
	JobNotFound            = 404002
	ModuleNotFound         = 404010
	FeatureNotSupported    = 404013
	DeviceNotOnline        = 404103
	ConnectionClosed       = 404104
	ConfigurationNotFound  = 404301
	MethodNotAllowed       = 405000
	DeviceAlreadyExists    = 409001
	JobAlreadyExists       = 409104
	ModuleAlreadyExists    = 409301
	ConfigurationExists    = 409401
	PreconditionFailed     = 412001
	MessageLockLost        = 412002
	JobPrecondition        = 412003
	RequestTooLarge        = 413000
	MessageTooLarge        = 413001
	TooManyConfigurations  = 413101
	TooManyJobs            = 429004
	ServiceUnavailable     = 503001
	GatewayTimeout         = 504101
)

var errorNames = map[int]string{
	InvalidProtocolVersion: "InvalidProtocolVersion",
	ArgumentInvalid:        "ArgumentInvalid",
	FormatError:            "IotHubFormatError",
	BlobContainerInvalid:   "BlobContainerValidationError",
	DeviceDefinedTwice:     "DeviceDefinedMultipleTimes",
	BulkFailure:            "BulkRegistryOperationFailure",
	InvalidTargetCondition: "InvalidConfigurationTargetCondition",
	InvalidConfiguration:   "InvalidConfigurationContent",
	ImmutableConfiguration: "CannotModifyImmutableConfigurationContent",
	InvalidMetricsQuery:    "InvalidConfigurationCustomMetricsQuery",
	UnauthorizedAccess:     "IotHubUnauthorizedAccess",
	Unauthorized:           "IotHubUnauthorized",
	QueueFull:              "DeviceMaximumQueueDepthExceeded",
	MethodsInFlight:        "DeviceMaximumInflightMethodExceeded",
	NotFound:               "GenericNotFound",
	DeviceNotFound:         "DeviceNotFound",
	JobNotFound:            "JobNotFound",
	ModuleNotFound:         "ModuleNotFound",
	FeatureNotSupported:    "FeatureNotSupported",
	DeviceNotOnline:        "DeviceNotOnline",
	ConnectionClosed:       "DeviceConnectionClosedRemotely",
	ConfigurationNotFound:  "ConfigurationNotFound",
	MethodNotAllowed:       "GenericMethodNotAllowed",
	DeviceAlreadyExists:    "DeviceAlreadyExists",
	JobAlreadyExists:       "JobAlreadyExists",
	ModuleAlreadyExists:    "ModuleAlreadyExistsOnDevice",
	ConfigurationExists:    "ConfigurationAlreadyExists",
	PreconditionFailed:     "PreconditionFailed",
	MessageLockLost:        "DeviceMessageLockLost",
	JobPrecondition:        "JobRunPreconditionFailed",
	RequestTooLarge:        "GenericRequestEntityTooLarge",
	MessageTooLarge:        "MessageTooLarge",
	TooManyConfigurations:  "ConfigurationCountLimitExceeded",
	TooManyJobs:            "ThrottlingMaxActiveJobCountExceeded",
	ServiceUnavailable:     "ServiceUnavailable",
	GatewayTimeout:         "GatewayTimeout",
}

// ErrorName returns the name of an error code, as the header iothub-errorcode carries it.
func ErrorName(code int) string {
	if name, ok := errorNames[code]; ok {
		return name
	}
	return "ServerError"
}

// ErrorStatus returns the HTTP status of an error code.
func ErrorStatus(code int) int { return code / 1000 }

// ErrorHeader names the header that carries an error's name.
const ErrorHeader = "iothub-errorcode"

// Trace is what the hub writes into errors so that its operators find them again.
type Trace struct {
	ID string // 32 hexadecimal digits
	At time.Time
}

func (t Trace) text() string {
	return t.ID + "-G:0-TimeStamp:" + t.At.UTC().Format("01/02/2006 15:04:05")
}

// errorBody is the body of every error. SDKs read Message: Node splits it at the semicolon and the colon,
// C# compares its name with the header (azure-iot-sdk-csharp issue 37, azure-iot-sdk-java issue 85).
type errorBody struct {
	Message          string `json:"Message"`
	ExceptionMessage string `json:"ExceptionMessage"`
}

// RegistryError is the body of errors of everything but methods: ErrorCode:{name};{text}.
func RegistryError(code int, message string, t Trace) []byte {
	return MarshalJSON(errorBody{
		Message:          "ErrorCode:" + ErrorName(code) + ";" + message,
		ExceptionMessage: "Tracking ID:" + t.text(),
	})
}

// MethodError is the body of errors of direct methods: JSON within JSON (azure-iot-cli-extension issue 54,
// azure-iot-sdk-java issue 640). info is an object, nil an empty one.
func MethodError(code int, message string, info map[string]string, t Trace) []byte {
	if info == nil {
		info = map[string]string{}
	}
	inner := MarshalJSON(struct {
		ErrorCode  int               `json:"errorCode"`
		TrackingID string            `json:"trackingId"`
		Message    string            `json:"message"`
		Info       map[string]string `json:"info"`
		Timestamp  string            `json:"timestampUtc"`
	}{code, t.text(), message, info, ServiceTime(t.At)})
	return MarshalJSON(errorBody{Message: string(inner)})
}

// MarshalJSON writes v without HTML escapes. It panics on what JSON cannot hold.
func MarshalJSON(v any) []byte {
	var b jsonBuffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return b[:len(b)-1]
}

type jsonBuffer []byte

func (b *jsonBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// neverText stands for a time that has not come ("IoT Hub query language", example of a twin).
const neverText = "0001-01-01T00:00:00"

// ServiceTime writes a time as the service API does: UTC with seven decimals, or year 1 without a zone for
// never.
func ServiceTime(t time.Time) string {
	if t.IsZero() {
		return neverText
	}
	return t.UTC().Format("2006-01-02T15:04:05.0000000Z")
}
