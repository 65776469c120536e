package azure

import (
	"encoding/json"
	"strconv"
	"time"
)

// HubError is an error of the hub's HTTPS APIs. Code / 1000 is the status.
type HubError struct {
	Code       int
	Message    string
	TrackingID string // 32 hexadecimal digits
	At         time.Time
	// Info is extra text by name, which only the JSON form shows.
	Info map[string]string
}

// The header fields of the hub's answers.
const (
	HubErrorHeader   = "iothub-errorcode"
	HubRequestHeader = "x-ms-request-id"
	HubJSON          = "application/json; charset=utf-8"
)

// hubErrorNames are the names that belong to error codes, as azure-iot-sdk-csharp lists them
// (iothub/service/src/Common/Exceptions/ErrorCode.cs). The SDK wants the name in the header to fit the code
// of the body.
var hubErrorNames = map[int]string{
	400000: "GenericBadRequest", 400001: "InvalidProtocolVersion", 400003: "InvalidOperation", 400004: "ArgumentInvalid",
	400005: "ArgumentNull", 400006: "IotHubFormatError", 400008: "BlobContainerValidationError", 400011: "DeviceDefinedMultipleTimes",
	400012: "DeserializationError", 400013: "BulkRegistryOperationFailure", 400014: "DefaultStorageEndpointNotConfigured",
	400015: "InvalidFileUploadCorrelationId", 400016: "ExpiredFileUploadCorrelationId", 400019: "InvalidFileUploadCompletionStatus",
	400301: "CannotRegisterModuleToModule",
	401000: "GenericUnauthorized", 401001: "IotHubNotFound", 401002: "IotHubUnauthorizedAccess", 401003: "IotHubUnauthorized",
	403000: "GenericForbidden", 403001: "IotHubSuspended", 403002: "IotHubQuotaExceeded", 403003: "JobQuotaExceeded",
	403004: "DeviceMaximumQueueDepthExceeded", 403005: "IotHubMaxCbsTokenExceeded", 403006: "DeviceMaximumActiveFileUploadLimitExceeded",
	403007: "DeviceMaximumQueueSizeExceeded", 403010: "OperationNotAvailableInCurrentTier", 403012: "DeviceDisabled",
	404000: "GenericNotFound", 404001: "DeviceNotFound", 404002: "JobNotFound", 404010: "ModuleNotFound", 404103: "DeviceNotOnline",
	404104: "DeviceConnectionClosedRemotely", 405000: "GenericMethodNotAllowed", 409001: "DeviceAlreadyExists",
	409002: "LinkCreationConflict", 409301: "ModuleAlreadyExistsOnDevice", 412001: "PreconditionFailed", 412002: "DeviceMessageLockLost",
	413001: "MessageTooLarge", 413002: "TooManyDevices", 413003: "TooManyModulesOnDevice", 415000: "GenericUnsupportedMediaType",
	429000: "GenericTooManyRequests", 429001: "ThrottlingException", 429002: "ThrottleBacklogLimitExceeded", 500001: "ServerError",
	503001: "ServiceUnavailable", 503003: "PartitionNotFound", 504101: "GatewayTimeout",
}

// HubErrorName returns the name of an error code, GenericXxx where the code has none of its own.
func HubErrorName(code int) string {
	for _, c := range []int{code, code / 1000 * 1000} {
		if name, ok := hubErrorNames[c]; ok {
			return name
		}
	}
	return "ServerError"
}

// Status returns the HTTP status that belongs to the error's code.
func (e HubError) Status() int { return e.Code / 1000 }

func (e HubError) tracking() string {
	return e.TrackingID + "-G:0-TimeStamp:" + e.At.UTC().Format("01/02/2006 15:04:05")
}

// hubErrorBody is what both forms have outside.
type hubErrorBody struct {
	Message          string `json:"Message"`
	ExceptionMessage string `json:"ExceptionMessage"`
}

// Body writes the older form, in which Message begins with the error's name (azure-iot-sdk-csharp issue
// 37). The Node SDK finds the name between the first colon and semicolon.
func (e HubError) Body() []byte {
	return marshal(hubErrorBody{Message: "ErrorCode:" + HubErrorName(e.Code) + ";" + e.Message, ExceptionMessage: "Tracking ID:" + e.tracking()})
}

// BodyJSON writes the form that direct methods have: Message is JSON in a string (azure-iot-cli-extension
// issue 54).
func (e HubError) BodyJSON() []byte {
	inner := struct {
		ErrorCode    int               `json:"errorCode"`
		TrackingID   string            `json:"trackingId"`
		Message      string            `json:"message"`
		Info         map[string]string `json:"info,omitempty"`
		TimestampUTC string            `json:"timestampUtc"`
	}{e.Code, e.tracking(), e.Message, e.Info, FormatDPSTime(e.At)}
	return marshal(hubErrorBody{Message: string(marshal(inner))})
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("azure: " + strconv.Quote(err.Error())) // structs of texts and numbers
	}
	return b
}
