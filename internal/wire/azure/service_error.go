package azure

import (
	"encoding/json"
	"time"
)

// Error codes of IoT Hub's HTTPS APIs. The first three digits are the HTTP status ("Troubleshoot IoT Hub
// error codes"; ErrorCode.cs of the C# SDK).
const (
	InvalidProtocolVersion = 400001
	ArgumentInvalid        = 400004
	BlobContainerInvalid   = 400008
	DeviceDefinedTwice     = 400011
	BulkFailure            = 400013
	InvalidTargetCondition = 400401
	InvalidConfiguration   = 400402
	ImmutableConfiguration = 400403
	InvalidMetricsQuery    = 400404
	Unauthorized           = 401003
	NotFound               = 404000
	DeviceNotFound         = 404001
	JobNotFound            = 404002
	ModuleNotFound         = 404010
	FeatureNotSupported    = 404013
	DeviceNotOnline        = 404103
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
	BadGateway             = 502000
	ServiceUnavailable     = 503001
	GatewayTimeout         = 504101
)

// errorNames are the names that belong to error codes, as azure-iot-sdk-csharp lists them
// (iothub/service/src/Common/Exceptions/ErrorCode.cs). The SDK wants the name in the header to fit the code
// of the body.
var errorNames = map[int]string{
	400000: "GenericBadRequest", 400001: "InvalidProtocolVersion", 400003: "InvalidOperation", 400004: "ArgumentInvalid",
	400005: "ArgumentNull", 400006: "IotHubFormatError", 400008: "BlobContainerValidationError", 400011: "DeviceDefinedMultipleTimes",
	400012: "DeserializationError", 400013: "BulkRegistryOperationFailure", 400014: "DefaultStorageEndpointNotConfigured",
	400015: "InvalidFileUploadCorrelationId", 400016: "ExpiredFileUploadCorrelationId", 400019: "InvalidFileUploadCompletionStatus",
	400301: "CannotRegisterModuleToModule", 400401: "InvalidConfigurationTargetCondition", 400402: "InvalidConfigurationContent",
	400403: "CannotModifyImmutableConfigurationContent", 400404: "InvalidConfigurationCustomMetricsQuery",
	401000: "GenericUnauthorized", 401001: "IotHubNotFound", 401002: "IotHubUnauthorizedAccess", 401003: "IotHubUnauthorized",
	403000: "GenericForbidden", 403001: "IotHubSuspended", 403002: "IotHubQuotaExceeded", 403003: "JobQuotaExceeded",
	403004: "DeviceMaximumQueueDepthExceeded", 403005: "IotHubMaxCbsTokenExceeded", 403006: "DeviceMaximumActiveFileUploadLimitExceeded",
	403007: "DeviceMaximumQueueSizeExceeded", 403010: "OperationNotAvailableInCurrentTier", 403012: "DeviceDisabled",
	403800: "DeviceMaximumInflightMethodExceeded",
	404000: "GenericNotFound", 404001: "DeviceNotFound", 404002: "JobNotFound", 404010: "ModuleNotFound", 404013: "FeatureNotSupported",
	404103: "DeviceNotOnline", 404104: "DeviceConnectionClosedRemotely", 404301: "ConfigurationNotFound", 405000: "GenericMethodNotAllowed",
	409001: "DeviceAlreadyExists", 409002: "LinkCreationConflict", 409104: "JobAlreadyExists", 409301: "ModuleAlreadyExistsOnDevice",
	409401: "ConfigurationAlreadyExists", 412001: "PreconditionFailed", 412002: "DeviceMessageLockLost", 412003: "JobRunPreconditionFailed",
	413000: "GenericRequestEntityTooLarge", 413001: "MessageTooLarge", 413002: "TooManyDevices", 413003: "TooManyModulesOnDevice",
	413101: "ConfigurationCountLimitExceeded", 415000: "GenericUnsupportedMediaType",
	429000: "GenericTooManyRequests", 429001: "ThrottlingException", 429002: "ThrottleBacklogLimitExceeded",
	429004: "ThrottlingMaxActiveJobCountExceeded", 500001: "ServerError", 502000: "GenericBadGateway",
	503001: "ServiceUnavailable", 503003: "PartitionNotFound", 504101: "GatewayTimeout",
}

// ErrorName returns the name of an error code, as the header iothub-errorcode carries it: GenericXxx where the
// code has none of its own.
func ErrorName(code int) string {
	for _, c := range []int{code, code / 1000 * 1000} {
		if name, ok := errorNames[c]; ok {
			return name
		}
	}
	return "ServerError"
}

// ErrorStatus returns the HTTP status of an error code.
func ErrorStatus(code int) int { return code / 1000 }

// The header fields and the content type of the hub's answers. A field is written as spelled here: some
// clients look fields up in the spelling of the hub.
const (
	ErrorHeader   = "iothub-errorcode"
	RequestHeader = "x-ms-request-id"
	JSONType      = "application/json; charset=utf-8"
)

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

// RegistryError is the body of errors of everything but methods, and of the device API: ErrorCode:{name};{text}.
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
