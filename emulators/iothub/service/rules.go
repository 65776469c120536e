package service

import "github.com/fakecloud/fakecloud/internal/rule"

// The sources that the rules cite most.
const (
	srcREST    = "IoT Hub REST API reference (service); azure-iothub, pl/operations"
	srcIDs     = "Azure IoT Hub docs: Understand the identity registry"
	srcErrors  = "Azure IoT Hub docs: Troubleshoot IoT Hub error codes"
	srcNode    = "azure-iothub, rest_api_client.ts and registry.ts"
	srcCSharp  = "azure-iot-sdk-csharp, iothub/service"
	srcTwins   = "Azure IoT Hub docs: Understand and use device twins in IoT Hub"
	srcMethods = "Azure IoT Hub docs: Understand and invoke direct methods from IoT Hub"
	srcQuery   = "Azure IoT Hub docs: IoT Hub query language"
	srcSAS     = "Azure IoT Hub docs: Control access to IoT Hub with shared access signatures"
	srcC2D     = "Azure IoT Hub docs: Understand cloud-to-device messaging from an IoT hub"
)

// Rules are the rules of docs/rules.md that the service API enforces, one per row of its conformance table.
var Rules = joined(identityRules, twinRules, queryRules, jobRules, accessRules)

func joined(sets ...[]rule.Rule) []rule.Rule {
	var all []rule.Rule
	for _, s := range sets {
		all = append(all, s...)
	}
	return all
}

var identityRules = []rule.Rule{
	{ID: "SVC-1", Title: "PUT without If-Match creates a device with keys, etag and generation id", Source: srcREST + "; " + srcIDs, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "mismatch", Why: "the deviceId in the body is not the one in the path", Fix: "send the same id in both, in the same case; percent-encode it in the path"},
	}},
	{ID: "SVC-2", Title: "creating a device that exists answers 409 DeviceAlreadyExists", Source: srcErrors + " (409001); " + srcCSharp, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "exists", Why: "a PUT without If-Match creates, and the hub has a device of this id", Fix: "send If-Match: \"*\" (or the etag) to replace the device, or take another id"},
	}},
	{ID: "SVC-3", Title: "If-Match \"*\" replaces a device, a stale etag answers 412", Source: srcErrors + " (412001); " + srcNode, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "etag", Why: "the device was changed since its etag was read", Fix: "read the device again and send its new etag, or If-Match: \"*\" for any"},
	}},
	{ID: "SVC-4", Title: "an unknown device answers 404 with ErrorCode:DeviceNotFound", Source: srcErrors + " (404001); " + srcNode, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "device", Why: "the hub has no device of this id", Fix: "create it, or mend the id: case counts, and an id in a path is percent-encoded once"},
	}},
	{ID: "SVC-5", Title: "authentication comes back as stored; what does not fit its type answers 400", Source: srcREST + "; " + srcIDs, Grade: rule.Assumed,
		Assumption: "ArgumentInvalid for identities that break a rule, with the reason in the message", Causes: []rule.Cause{
			{ID: "invalid", Why: "id, status, keys, thumbprints or scopes break the registry's rules", Fix: "sas takes base64 keys of 16 to 64 bytes, selfSigned takes thumbprints of 40 or 64 hex digits, certificateAuthority and none take neither; status is enabled or disabled; deviceScope and parentScopes are the deviceScope of one IoT Edge device"},
		}},
	{ID: "SVC-6", Title: "disabling a connected device ends its connection and refuses the next", Source: srcIDs, Grade: rule.Assumed,
		Assumption: "the connection ends at once; the hub takes a moment"},
	{ID: "SVC-7", Title: "a device created anew has a new generation id, an empty twin and an empty queue", Source: srcIDs + "; " + srcC2D, Grade: rule.Documented},
	{ID: "SVC-8", Title: "a bulk operation does what it can and names what failed, identity by identity", Source: srcREST + "; " + srcErrors + " (400011, 400013)", Grade: rule.Assumed,
		Assumption: "status 400 with the result as body as soon as one identity fails; errorCode is the number", Causes: []rule.Cause{
			{ID: "identity", Why: "an identity of the list cannot be changed as its importMode says", Fix: "read errors in the answer: each names the identity, the hub's error code and the reason; the others were changed"},
		}},
	{ID: "SVC-9", Title: "a bulk operation takes at most 100 identities", Source: srcIDs, Grade: rule.Assumed,
		Assumption: "ArgumentInvalid; nothing is changed", Causes: []rule.Cause{
			{ID: "count", Why: "more than 100 identities in one bulk operation", Fix: "send them in groups of at most 100"},
		}},
	{ID: "SVC-12", Title: "modules and their twins behave as devices do", Source: srcREST + "; " + srcErrors + " (404010, 409301)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "module", Why: "the device has no module of this id", Fix: "create the module, or mend its id; case counts"},
		{ID: "exists", Why: "a PUT without If-Match creates, and the device has a module of this id", Fix: "send If-Match: \"*\" (or the etag) to replace the module"},
		{ID: "etag", Why: "the module was changed since its etag was read", Fix: "read the module again and send its new etag"},
		{ID: "mismatch", Why: "deviceId and moduleId in the body are not those in the path", Fix: "send the same ids in both"},
		{ID: "invalid", Why: "id, keys or thumbprints break the registry's rules", Fix: "as for devices: keys for sas, thumbprints for selfSigned"},
	}},
	{ID: "SVC-21", Title: "statistics count devices, disabled ones and live connections", Source: srcREST, Grade: rule.Documented},
	{ID: "SVC-24", Title: "purging a queue answers how many messages there were; feedback Purged", Source: srcREST + "; " + srcC2D, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "lock", Why: "the lock of the feedback is unknown or has run out", Fix: "settle feedback within a minute, with the lock token of the answer's ETag"},
	}},
	{ID: "SVC-25", Title: "messages that expired or were abandoned ten times are reported as Expired and DeliveryCountExceeded in the feedback", Source: srcC2D, Grade: rule.Documented},
}

var twinRules = []rule.Rule{
	{ID: "SVC-10", Title: "PATCH merges tags and desired properties, null removes; version, $version and etag rise and the device is told once", Source: srcTwins, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "invalid", Why: "the change breaks the twin's form or limits", Fix: "no dot, $, space or control character in keys; at most ten levels, 8 KB of tags and 32 KB of desired properties"},
	}},
	{ID: "SVC-11", Title: "PUT replaces tags and desired properties; a stale etag answers 412", Source: srcTwins + "; " + srcNode, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "etag", Why: "the twin was changed since its etag was read, reported properties included", Fix: "read the twin again and send its new etag, or If-Match: \"*\" for any"},
	}},
	{ID: "SVC-13", Title: "a method's status and payload pass through unchanged", Source: srcMethods, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "call", Why: "the call's name, payload or timeouts are out of range", Fix: "a name without / + # ?, a payload of at most 128 KB, responseTimeoutInSeconds of 5 to 300, connectTimeoutInSeconds of 0 to 300"},
	}},
	{ID: "SVC-14", Title: "a method to an offline device answers 404 DeviceNotOnline at once", Source: srcMethods + "; azure-iot-cli-extension issue 54", Grade: rule.Documented},
	{ID: "SVC-15", Title: "connectTimeoutInSeconds waits for the device to connect", Source: srcMethods, Grade: rule.Documented},
	{ID: "SVC-16", Title: "a method to a silent device answers 504 after responseTimeoutInSeconds", Source: srcMethods + "; azure-iot-sdk-java issue 640", Grade: rule.Documented},
	{ID: "SVC-17", Title: "a device that has not subscribed to methods counts as offline", Source: "azure-iot-sdk-node issue 108", Grade: rule.Documented},
}

var queryRules = []rule.Rule{
	{ID: "SVC-18", Title: "results page by x-ms-max-item-count and x-ms-continuation and name their x-ms-item-type", Source: srcQuery + "; " + srcCSharp + ", QueryResult.cs", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "size", Why: "x-ms-max-item-count is no number of rows", Fix: "send 1 to 1000, or leave it out for 100"},
		{ID: "continuation", Why: "the continuation token was not given for this query", Fix: "send the token of the page before with the query's text unchanged"},
	}},
	{ID: "SVC-19", Title: "queries count, group and project; such rows are of type raw", Source: srcQuery, Grade: rule.Documented},
	{ID: "SVC-20", Title: "a query that cannot be read answers 400 and names the place", Source: srcQuery, Grade: rule.Assumed,
		Assumption: "ArgumentInvalid with line, column and what was expected in the message", Causes: []rule.Cause{
			{ID: "syntax", Why: "the text is no query of IoT Hub's language", Fix: "mend it at the place named; the language is a subset of SQL over devices, devices.modules and devices.jobs"},
		}},
}

var jobRules = []rule.Rule{
	{ID: "SVC-27", Title: "a job changes or calls the devices that its query finds; devices.jobs has a row for each", Source: "Azure IoT Hub docs: Schedule jobs on multiple devices; azure-iothub, pl/models", Grade: rule.Assumed,
		Assumption: "it runs at once or at its start time, registryReadWrite may make jobs, ArgumentInvalid for what cannot be read; imports and exports use the hub's own blob store, are done when they are answered, and write what could not be imported into importErrors.log", Causes: []rule.Cause{
			{ID: "invalid", Why: "id, type, times or content of the job cannot be used", Fix: "type scheduleUpdateTwin with updateTwin or scheduleDeviceMethod with cloudToDeviceMethod, queryCondition as behind WHERE, startTime in ISO 8601"},
			{ID: "exists", Why: "the hub has a job of this id", Fix: "take a new id; a finished job keeps its own"},
			{ID: "unknown", Why: "the hub has no job of this id", Fix: "mend the id; jobs are listed at /jobs/v2/query"},
			{ID: "ended", Why: "the job has ended and cannot be cancelled", Fix: "nothing is left to be done"},
			{ID: "container", Why: "the blob container of an import or export cannot be used", Fix: "give the address of a container of this hub's own blob store with its signature: GET /api/v1/iothub/{hub}/containers/{container} of the admin API, or BlobContainer of the library"},
			{ID: "active", Why: "too many jobs have not ended", Fix: "wait for some, or cancel them"},
		}},
	{ID: "SVC-28", Title: "configurations are kept and set on the twins that they target; applyConfigurationContent sets module twins", Source: "Azure IoT Hub docs: Automatic device and module management using the Azure CLI; " + srcREST + "; " + srcErrors + " (4004xx, 404301, 409401, 413101)", Grade: rule.Assumed,
		Assumption: "set at once, and again when the service API, a job or DPS changes a device, a module or a twin; objects are merged; RegistryWrite and ServiceConnect are needed; 201 for a new one", Causes: []rule.Cause{
			{ID: "invalid", Why: "id or priority of the configuration cannot be used", Fix: "send the same id in path and body, and a priority of 0 or more"},
			{ID: "unknown", Why: "the hub has no configuration of this id", Fix: "mend the id; case counts"},
			{ID: "exists", Why: "a PUT without If-Match creates, and the hub has a configuration of this id", Fix: "send If-Match: \"*\" (or the etag) to change it"},
			{ID: "etag", Why: "the configuration was changed since its etag was read", Fix: "read it again and send its new etag"},
			{ID: "immutable", Why: "the content of a configuration cannot be changed", Fix: "make a new configuration with a larger priority"},
			{ID: "target", Why: "the target condition cannot be read", Fix: "write it as behind WHERE: tags.site = 'x'; for modules FROM devices.modules WHERE moduleId = 'm'"},
			{ID: "metrics", Why: "a custom metric is no query", Fix: "write a whole query: SELECT deviceId FROM devices WHERE …"},
			{ID: "content", Why: "the content sets nothing that can be set", Fix: "use deviceContent, moduleContent or modulesContent, with paths such as properties.desired.fleet"},
			{ID: "count", Why: "the hub has a hundred configurations", Fix: "delete old ones"},
		}},
}

var accessRules = []rule.Rule{
	{ID: "SVC-29", Title: "a service token that does not verify answers 401", Source: srcSAS + "; " + srcErrors + " (401003)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "missing", Why: "the request has no Authorization header", Fix: "send Authorization: SharedAccessSignature sr={hub}&sig=…&se=…&skn={policy}"},
		{ID: "malformed", Why: "the Authorization header cannot be read as a SAS token", Fix: "send \"SharedAccessSignature sr=…&sig=…&se=…&skn=…\" in one line, sr and sig percent-encoded, se in seconds since 1970"},
		{ID: "bearer", Why: "Microsoft Entra ID tokens are not emulated", Fix: "use a connection string of a shared access policy"},
		{ID: "policy", Why: "the token names no policy of the hub", Fix: "set skn to a policy such as iothubowner, service or registryRead; a device's own token does not open the service API"},
		{ID: "signature", Why: "the token's signature does not fit the policy's keys", Fix: "sign percent-encoded resource, newline and se with HMAC-SHA256, keyed with the base64-decoded primary or secondary key of the policy"},
		{ID: "expired", Why: "the token's time (se) is over", Fix: "make a new token; if it is new, set the machine's clock: se is seconds since 1970 in UTC"},
		{ID: "resource", Why: "the token's resource (sr) is another host's, or a path that does not lead to what is asked for", Fix: "sign the hub's host name alone"},
	}},
	{ID: "SVC-30", Title: "a policy without the right that an operation needs answers 401 IotHubUnauthorizedAccess", Source: srcSAS + "; " + srcErrors + " (401002)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "rights", Why: "the policy that signed the token lacks a right of this operation", Fix: "sign with a policy that has it: identities need RegistryRead or RegistryWrite, twins, methods and queries ServiceConnect; iothubowner has all"},
	}},
	{ID: "SVC-38", Title: "a request needs an api-version (any date), a known path and a body that can be read", Source: srcREST + "; " + srcCSharp + ", ErrorCode.cs", Grade: rule.Assumed,
		Assumption: "InvalidProtocolVersion for a missing or malformed api-version, GenericMethodNotAllowed, GenericNotFound and GenericRequestEntityTooLarge by their names, ArgumentInvalid for bodies", Causes: []rule.Cause{
			{ID: "api-version", Why: "the query has no api-version of the form of a date", Fix: "append ?api-version=2021-04-12"},
			{ID: "path", Why: "the path is none of the service API", Fix: "take one of the paths named; ids are percent-encoded once"},
			{ID: "method", Why: "the path has no such operation", Fix: "take one of the HTTP methods in the header Allow"},
			{ID: "top", Why: "top is no number of rows", Fix: "send top=1 to top=1000"},
			{ID: "json", Why: "the body is not the JSON that the operation takes", Fix: "send one JSON value in UTF-8 with the fields and types of the REST reference"},
			{ID: "depth", Why: "the body's objects and lists are nested too deep", Fix: "flatten it; a twin may have ten levels"},
			{ID: "size", Why: "the body is larger than any valid one", Fix: "send less at once"},
		}},
	{ID: "SVC-39", Title: "an id with odd characters names the same device on every protocol", Source: srcIDs, Grade: rule.Documented},
	{ID: "SVC-40", Title: "after a restart with the same data directory identities, twins, etags and queues are as they were", Source: "fakecloud: state in the data directory", Grade: rule.Documented},
}
