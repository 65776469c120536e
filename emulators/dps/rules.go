package dps

import "github.com/fakecloud/fakecloud/internal/rule"

// Sources of the rules: pages of Microsoft's documentation and files of its SDKs.
const (
	srcMQTT  = "Learn, Communicate with DPS using the MQTT protocol (articles/iot/iot-mqtt-connect-to-iot-dps.md)"
	srcX509  = "Learn, X.509 certificate attestation (articles/iot-dps/concepts-x509-attestation.md)"
	srcSym   = "Learn, Symmetric key attestation (articles/iot-dps/concepts-symmetric-key-attestation.md)"
	srcTerm  = "Learn, DPS terminology (articles/iot-dps/concepts-service.md)"
	srcTrace = "Learn, IoT Central tutorial create and connect a device: wire trace of the C SDK"
	srcErr   = "Learn, Troubleshooting DPS (how-to-troubleshoot-dps)"
)

// Rules are the rows of the DPS conformance table that are enforced.
var Rules = []rule.Rule{
	{ID: "DPS-1", Title: "MQTT 3.1.1 over TLS with a credential is accepted: CONNACK 0, session present 0", Source: srcMQTT, Grade: rule.Documented,
		Assumption: "no credential at all: return code 5; another protocol level: 1; keep alive 0: closed after ten minutes of silence; a will is accepted and never published",
		Causes: []rule.Cause{
			{ID: "level", Why: "DPS speaks MQTT 3.1.1 only.", Fix: "Set the client to MQTT 3.1.1 (protocol level 4); with mosquitto: -V mqttv311."},
			{ID: "credential", Why: "The device sent neither a client certificate nor a password.", Fix: "Give the client its certificate and key, or a SAS token as password."},
			{ID: "first", Why: "The first packet was not CONNECT, or a second CONNECT came.", Fix: "Send CONNECT first, and once per connection."},
			{ID: "malformed", Why: "A packet breaks the MQTT protocol.", Fix: "Use an unmodified MQTT 3.1.1 client library."},
			{ID: "keep-alive", Why: "The device was silent for longer than 1.5 times its keep alive.", Fix: "Send PINGREQ in time, or announce a longer keep alive."},
		}},
	{ID: "DPS-2", Title: "The username may end in &ClientVersion=… in any percent-encoding", Source: srcMQTT + "; usernames of the Python, Node, C#, Java and C SDKs", Grade: rule.Documented},
	{ID: "DPS-3", Title: "Another username is refused with return code 4", Source: srcMQTT, Grade: rule.Assumed,
		Assumption: "return code 4, then the connection is closed; api-versions seen in SDKs, logs and the REST reference are known, any other is not",
		Causes: []rule.Cause{
			{ID: "username", Why: "The username has not the form that DPS wants.", Fix: "Send {idScope}/registrations/{registrationId}/api-version=2019-03-31. Unlike at IoT Hub there is no question mark before api-version."},
			{ID: "question-mark", Why: "There is a question mark before api-version, as IoT Hub has it; DPS has none.", Fix: "End the username in /api-version=2019-03-31, without the question mark."},
			{ID: "api-version", Why: "The username names no api-version that DPS knows.", Fix: "End the username in /api-version=2019-03-31."},
			{ID: "registration-id", Why: "The registration id is not legal.", Fix: "Use 1 to 128 letters, digits and - . _ : with a letter, digit or - at the end."},
		}},
	{ID: "DPS-4", Title: "The client id must be the registration id; else return code 2", Source: srcMQTT, Grade: rule.Assumed,
		Assumption: "return code 2, then the connection is closed; ids are compared without case",
		Causes: []rule.Cause{{ID: "client-id", Why: "Client id and registration id of the username differ.",
			Fix: "Use the registration id as MQTT client id, with mosquitto: -i {registrationId}."}}},
	{ID: "DPS-5", Title: "Without TLS the connection fails (decided at the door, whose port 8883 speaks TLS only)", Source: srcMQTT, Grade: rule.Documented},
	{ID: "DPS-6", Title: "The answer filter is granted with at most QoS 1", Source: srcMQTT + "; " + srcTrace, Grade: rule.Documented,
		Assumption: "a request before SUBSCRIBE is carried out and its answer is not delivered",
		Causes: []rule.Cause{{ID: "unsubscribed", Why: "The request was carried out, but its answer could not be delivered: the device has not subscribed.",
			Fix: "Subscribe to $dps/registrations/res/# and wait for the SUBACK before you register."}}},
	{ID: "DPS-7", Title: "Any other filter is answered with 0x80", Source: srcMQTT, Grade: rule.Assumed,
		Assumption: "SUBACK 0x80; the connection is kept",
		Causes: []rule.Cause{{ID: "filter", Why: "DPS serves one filter only; its # stands for the query part and filters nothing.",
			Fix: "Subscribe to $dps/registrations/res/# exactly (quote it in a shell)."}}},
	{ID: "DPS-8", Title: "The PUBACK of a QoS 1 request comes before its answer", Source: "azure-iot-sdk-csharp, ProvisioningChannelHandlerAdapter: WaitForPubAck, then WaitForStatus", Grade: rule.Documented,
		Assumption: "a request with QoS 2 closes the connection",
		Causes:     []rule.Cause{{ID: "qos2", Why: "A request was published with QoS 2.", Fix: "Publish with QoS 0 or 1."}}},
	{ID: "DPS-9", Title: "Register is answered with 202, retry-after and an operation that is assigning", Source: srcMQTT + "; " + srcTrace, Grade: rule.Measured,
		Assumption: "a PUBLISH to another topic, or without $rid, closes the connection",
		Causes: []rule.Cause{
			{ID: "topic", Why: "A DPS device may publish to the register and the poll topic only.", Fix: "Publish to $dps/registrations/PUT/iotdps-register/?$rid={rid}; in a shell quote the topic with '…', or $dps and $rid are replaced."},
			{ID: "rid", Why: "The topic has no $rid, so the answer would have no name.", Fix: "End the topic in ?$rid={any text}; in a shell quote the topic with '…', or $rid is replaced by nothing."},
		}},
	{ID: "DPS-10", Title: "The register body may be empty, blank, {} or the full JSON", Source: "bodies of the Python, Node, C#, Java and C SDKs and of MindSphere's onboarding page", Grade: rule.Measured},
	{ID: "DPS-11", Title: "A register body that does not parse is answered with 400", Source: srcErr, Grade: rule.Documented,
		Assumption: "errorCode 400000; a registrationId that differs from the connection's, and more than 96 KB, are answered likewise",
		Causes: []rule.Cause{
			{ID: "json", Why: "The body is no JSON object.", Fix: `Send an empty body, or {"registrationId":"…"} with an optional payload.`},
			{ID: "registration-id", Why: "The body names another registration id than the connection.", Fix: "Leave registrationId out, or repeat the one of the username."},
			{ID: "size", Why: "The body is larger than DPS takes.", Fix: "Keep the message below 96 KB (articles includes/iot-dps-limits.md)."},
		}},
	{ID: "DPS-12", Title: "A poll while assigning is answered with 202, retry-after and the registration's id and status", Source: srcTrace, Grade: rule.Measured,
		Assumption: "assigning lasts for the number of polls that the instance says, at most 30 seconds"},
	{ID: "DPS-13", Title: "A poll after the assignment is answered with 200 and the assigned hub", Source: srcTrace + "; MindSphere, Onboarding MindConnect MQTT Agent", Grade: rule.Measured,
		Causes: []rule.Cause{{ID: "no-hub", Why: "No hub could be assigned: the answer is 200 with status failed and errorCode 400208.",
			Fix: "Link a hub to the DPS instance, and let the enrollment's iotHubs name linked hubs only."}}},
	{ID: "DPS-14", Title: "A poll with an unknown operation id is answered with 404, errorCode 404203", Source: "nRF Connect SDK, test of azure_iot_hub", Grade: rule.Measured,
		Assumption: "operations are known for an hour, the last eight of a device, and to that device only; a missing operation id is answered with 400",
		Causes: []rule.Cause{
			{ID: "operation", Why: "This device has no such operation.", Fix: "Use the operationId of the last register answer; register again when it is gone."},
			{ID: "missing", Why: "The poll names no operation.", Fix: "Publish to $dps/registrations/GET/iotdps-get-operationstatus/?$rid={rid}&operationId={operationId}."},
		}},
	{ID: "DPS-15", Title: "A wrong credential passes CONNECT and SUBSCRIBE and is refused at register with 401", Source: "MicrosoftDocs/azure-docs issues 43157 and 48511; azure-sdk-for-c, az_iot_provisioning_client.c", Grade: rule.Measured,
		Assumption: "an individual enrollment compares the whole certificate; an expired certificate is refused there too; any skn is accepted",
		Causes: []rule.Cause{
			{ID: "signature", Why: "No key of an enrollment for this device made the token's signature.", Fix: "Sign with the enrollment's key, base64-decoded; for a group with the key derived for this registration id."},
			{ID: "token", Why: "The password is no SAS token.", Fix: "Send SharedAccessSignature sr=…&sig=…&se=…&skn=registration as password."},
			{ID: "resource", Why: "The token was made for something else than this device's registration.", Fix: "Make it for {idScope}/registrations/{registrationId}, percent-encoded."},
			{ID: "attestation", Why: "The enrollment wants the other kind of credential.", Fix: "Use the kind of attestation that the individual enrollment was made with."},
			{ID: "certificate", Why: "The client certificate is not the one that the individual enrollment holds.", Fix: "Enroll this certificate as primary or secondary, or connect with the enrolled one."},
			{ID: "cert-expired", Why: "The client certificate has expired.", Fix: "Issue a new certificate."},
			{ID: "cert-not-yet-valid", Why: "The client certificate is not valid yet.", Fix: "Check the clock of the machine that issued it, or wait."},
			{ID: "ca-expired", Why: "A certificate above the client's is outside its dates.", Fix: "Renew the CA certificate and upload it again."},
		}},
	{ID: "DPS-16", Title: "An expired SAS token is refused at register with 401", Source: srcSym, Grade: rule.Documented,
		Causes: []rule.Cause{{ID: "expired", Why: "The token's se lies in the past.", Fix: "Make a new token, and check the device's clock: se is in seconds since 1970, UTC."}}},
	{ID: "DPS-17", Title: "The token's resource may be escaped with %2f or %2F", Source: "Learn, Control access to DPS (articles/iot-dps/how-to-control-access.md); every SDK", Grade: rule.Documented},
	{ID: "DPS-18", Title: "The token's fields may come in any order, and skn may be empty", Source: "azure-iot-sdk-node and azure-iot-sdk-java, SAS token makers", Grade: rule.Documented},
	{ID: "DPS-19", Title: "A group's key is not accepted for a device; only the derived one is", Source: srcSym, Grade: rule.Documented,
		Causes: []rule.Cause{{ID: "group-key", Why: "The token was signed with the group's own key.",
			Fix: "Derive the device's key: base64(HMAC-SHA256(base64-decoded group key, registration id)), and sign with that."}}},
	{ID: "DPS-20", Title: "Primary and secondary key are both accepted", Source: srcSym, Grade: rule.Documented},
	{ID: "DPS-21", Title: "The client certificate's common name must be the registration id; else 401002", Source: srcMQTT + "; " + srcX509, Grade: rule.Documented,
		Assumption: "compared without case",
		Causes: []rule.Cause{{ID: "cn", Why: "The certificate's common name is not the registration id.",
			Fix: "Issue the certificate with CN={registrationId}, or use its CN as registration id in username and client id."}}},
	{ID: "DPS-22", Title: "The chain sent must reach a CA certificate of the instance; else 401002, CA certificate not found", Source: srcX509 + "; azure-iot-sdk-csharp issue 1040", Grade: rule.Measured,
		Causes: []rule.Cause{
			{ID: "issuer", Why: "The device did not send the intermediate certificate between its own and the CA.", Fix: "Connect with a chain file: cat device.pem intermediate.pem > chain.pem."},
			{ID: "ca", Why: "The certificate leads to no CA certificate that the instance knows.", Fix: "Upload the CA certificate to the DPS instance and verify it, or issue the certificate with a CA that is there."},
		}},
	{ID: "DPS-23", Title: "A CA certificate that is not verified admits nobody: 401", Source: srcX509 + "; how-to-verify-certificates.md", Grade: rule.Documented,
		Assumption: "errorCode 401002, CA certificate not found",
		Causes: []rule.Cause{{ID: "unverified", Why: "The CA certificate is in the instance, but possession of its key was never proven.",
			Fix: "Verify the CA certificate (proof of possession), or set it verified when you add it."}}},
	{ID: "DPS-24", Title: "A disabled enrollment does not provision: status disabled with 200", Source: srcX509 + "; azure-iot-cli-extension tests", Grade: rule.Documented,
		Causes: []rule.Cause{{ID: "disabled", Why: "The enrollment that decides for this device is disabled. An individual one decides before any group.",
			Fix: "Enable it, or delete the individual enrollment to let the group decide."}}},
	{ID: "DPS-25", Title: "An individual enrollment decides before a group, and its deviceId is used", Source: srcX509 + "; " + srcTerm, Grade: rule.Documented},
	{ID: "DPS-26", Title: "An unknown ID scope or device passes CONNECT and is refused at register", Source: "azure-iot-sdk-csharp e2e tests; MicrosoftDocs/azure-docs issue 57082", Grade: rule.Assumed,
		Assumption: "unknown ID scope: 401, errorCode 401000; no enrollment: 404, errorCode 404201; ID scopes are compared with case",
		Causes: []rule.Cause{
			{ID: "scope", Why: "No DPS instance has this ID scope.", Fix: "Copy the ID scope from the instance, or add an instance with this one."},
			{ID: "enrollment", Why: "Neither an individual enrollment nor a group admits this device.", Fix: "Add an individual enrollment for the registration id, or a group with its CA certificate or key."},
		}},
	{ID: "DPS-27", Title: "A device that registers again keeps hub, device and createdDateTimeUtc", Source: "Learn, Device reprovisioning (articles/iot-dps/concepts-device-reprovision.md)", Grade: rule.Documented,
		Assumption: "createdDateTimeUtc and substatus stay; a hub that is no longer linked is replaced by a new choice"},
	{ID: "DPS-33", Title: "Answers reach only the connection that asked", Source: srcMQTT, Grade: rule.Documented,
		Assumption: "a second connection with the same registration id closes the first; 409203 is never answered",
		Causes: []rule.Cause{{ID: "takeover", Why: "Another connection came with the same registration id.",
			Fix: "Give each device its own registration id, and connect once."}}},
	{ID: "DPS-45", Title: "Every error has errorCode, trackingId, message and timestampUtc", Source: "azure-iot-cli-extension, ProvisioningServiceErrorDetails; " + srcErr, Grade: rule.Measured},
	{ID: "DPS-46", Title: "MindSphere eu2: empty password and empty bodies; the answer names the tenant's enrollment group", Source: "MindSphere, Onboarding MindConnect MQTT Agent", Grade: rule.Documented},
}
