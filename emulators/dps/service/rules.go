package service

import "github.com/fakecloud/fakecloud/internal/rule"

// Sources of the rules.
const (
	srcREST = "Learn, REST reference Azure IoT Hub DPS; azure-iot-cli-extension"
	srcErr  = "Learn, Troubleshooting DPS (how-to-troubleshoot-dps)"
)

// Rules are the rows of the DPS conformance table that the service API enforces.
var Rules = []rule.Rule{
	{ID: "DPS-40", Title: "A back end's enrollments and groups are read without keys; the answer to PUT and attestationmechanism show them", Source: srcREST + "; azure-iot-sdk-csharp issue 1183; azure-iot-sdk-java, iot-e2e-tests, ProvisioningCommon.java", Grade: rule.Documented,
		Assumption: "a missing record is 404201, a missing registration 404202, every bad request 400000; a bulk operation does what it can and lists the rest, update needs the record to be there",
		Causes: []rule.Cause{
			{ID: "path", Why: "The service API has no such operation.", Fix: "Use GET, PUT or DELETE on /enrollments/{id}, /enrollmentGroups/{id} and /registrations/{id}, POST on …/attestationmechanism and …/query, and on the collection for a bulk operation, with an api-version such as 2021-10-01."},
			{ID: "body", Why: "The body is not the JSON that is expected.", Fix: "Send one JSON object as the REST reference has it."},
			{ID: "invalid", Why: "The record breaks a rule of DPS.", Fix: "Mend the field that the message names."},
			{ID: "bulk", Why: "A bulk operation has up to ten records, each once, and one of four modes.", Fix: `Send {"mode":"create","enrollments":[…]} (enrollmentGroups for groups) with at most ten of them.`},
			{ID: "missing", Why: "The instance has no such record.", Fix: "Mend the id in the path, or create the record first."},
		}},
	{ID: "DPS-41", Title: "If-Match of a PUT or DELETE must be the record's etag or *", Source: srcREST + "; " + srcErr, Grade: rule.Documented,
		Assumption: "errorCodes 412000 and 409000; etags are taken with and without quotation marks",
		Causes: []rule.Cause{
			{ID: "etag", Why: "The record was changed since its etag was read.", Fix: "Read it again and send its new etag, or If-Match: * for any."},
			{ID: "exists", Why: "A PUT without If-Match creates, and there is a record of this id.", Fix: "Send If-Match with its etag or *, or take another id."},
		}},
	{ID: "DPS-42", Title: "A query answers at most x-ms-max-item-count records and a continuation for the next", Source: srcREST, Grade: rule.Documented,
		Assumption: "1000 records where no count is given; the only query is SELECT *, with or without FROM",
		Causes: []rule.Cause{
			{ID: "query", Why: "The query is none that DPS answers.", Fix: `Send {"query":"SELECT * FROM enrollments"}.`},
			{ID: "page", Why: "x-ms-max-item-count or x-ms-continuation is not valid.", Fix: "Send a number from 1, and the continuation exactly as the last answer had it."},
		}},
	{ID: "DPS-43", Title: "A back end's call with a bad token is answered with 401 and an error body", Source: "Learn, Control access to DPS (articles/iot-dps/how-to-control-access.md)", Grade: rule.Documented,
		Assumption: "errorCode 401002, Unauthorized, also for a policy that lacks the right; no right implies another; keys are shown to EnrollmentWrite",
		Causes: []rule.Cause{
			{ID: "instance", Why: "The host name is no instance's.", Fix: "Ask {instance name}.azure-devices-provisioning.net."},
			{ID: "token", Why: "The Authorization header is no SAS token.", Fix: "Send SharedAccessSignature sr={host}&sig=…&se=…&skn=provisioningserviceowner."},
			{ID: "policy", Why: "The token names a policy that the instance does not have.", Fix: "Sign as provisioningserviceowner, or add the policy to the instance."},
			{ID: "rights", Why: "The token's policy lacks the right that the operation needs.", Fix: "Sign as provisioningserviceowner, or as a policy with the right that the event names."},
			{ID: "resource", Why: "The token was made for something else.", Fix: "Make it for the instance's host name."},
			{ID: "signature", Why: "No key of the policy made the signature.", Fix: "Sign with the owner's primary or secondary key, base64-decoded."},
			{ID: "expired", Why: "The token's se lies in the past.", Fix: "Make a new token; se is in seconds since 1970, UTC."},
		}},
}
