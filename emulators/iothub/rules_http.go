package iothub

import "github.com/fakecloud/fakecloud/internal/rule"

const (
	srcREST   = "Azure IoT Hub REST reference, device"
	srcUpload = "Azure IoT Hub docs: Understand file upload"
	srcFaults = "end-to-end suites of the Azure IoT device SDKs (csharp e2e/test/helpers/FaultInjection.cs, node e2etests)"
	srcQuotas = "Azure IoT Hub docs: IoT Hub quotas and throttling"
)

// httpRules are those of the HTTPS device API and of MQTT over WebSocket.
var httpRules = []rule.Rule{
	{ID: "HUB-20", Title: "MQTT over WebSocket at /$iothub/websocket, subprotocol mqtt in any case, with any query; other paths 404", Source: "azure-iot-sdk-java, -csharp and -c WebSocket transports", Grade: rule.Assumed,
		Assumption: "the status of other paths is not documented; without the subprotocol the upgrade is refused (DOOR-7/subprotocol)", Causes: []rule.Cause{
			{ID: "path", Why: "the upgrade asks for a path where the hub speaks no WebSocket", Fix: "connect to wss://{hub host}/$iothub/websocket with the subprotocol mqtt"},
		}},
	{ID: "HUB-60", Title: "POST messages/events with a SAS token or certificate answers 204; without credentials 401, an unknown device 404", Source: srcREST + "; azure-iot-sdk-node e2etests (404 on HTTPS)", Grade: rule.Documented,
		Assumption: "errors have the form of the service API; names of application properties come in lower case, as header fields have none", Causes: []rule.Cause{
			{ID: "authorization", Why: "the request has neither an Authorization header nor a client certificate", Fix: "send Authorization: SharedAccessSignature sr={hub host}%2Fdevices%2F{device id}&sig=…&se=…"},
			{ID: "path", Why: "the hub has no such path for devices", Fix: "use /devices/{device id}/messages/events, …/messages/deviceBound or …/files; twins and methods are not there over HTTPS, modules send telemetry only"},
			{ID: "method", Why: "the path does not take this method", Fix: "POST events and files, GET deviceBound, DELETE or POST a received message"},
		}},
	{ID: "HUB-61", Title: "a batch of messages in one POST (application/vnd.microsoft.iothub.json)", Source: srcREST + "; azure-iot-sdk-c and -node http transports", Grade: rule.Documented,
		Assumption: "all messages are taken or none; together they may have 256 KB", Causes: []rule.Cause{
			{ID: "batch", Why: "the body is not a batch of messages", Fix: "send a JSON array of {\"body\":\"{base64}\",\"base64Encoded\":true,\"properties\":{\"iothub-app-name\":\"value\"}}"},
		}},
	{ID: "HUB-62", Title: "GET deviceBound answers a message with its lock as quoted ETag, or 204; a locked message is not answered again for 60 s, or for as many as IotHub-MessageLockTimeout says", Source: srcREST + "; " + srcC2D, Grade: rule.Documented},
	{ID: "HUB-63", Title: "DELETE completes, DELETE with reject rejects, POST abandon gives back; a stale lock answers 412", Source: srcREST + "; " + srcC2D + "; " + srcErrors + " (412002)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "lock", Why: "the lock is not that of a waiting message, or its 60 seconds are over", Fix: "settle a message within 60 seconds, once, by the ETag of its GET"},
	}},
	{ID: "HUB-64", Title: "a message that was abandoned ten times is dead-lettered: feedback DeliveryCountExceeded", Source: srcC2D, Grade: rule.Documented},
	{ID: "HUB-65", Title: "file upload: POST files, PUT the blob, POST files/notifications; at most ten open", Source: srcUpload + "; " + srcErrors + " (403006, 400015); Azure Storage REST: Put Blob, Put Block, Put Block List, Get Blob", Grade: rule.Documented,
		Assumption: "blobs live on the hub's own host name; a blob has at most 64 MiB, all together 256 MiB; a success without a blob is accepted", Causes: []rule.Cause{
			{ID: "json", Why: "the body is not the JSON that the path takes", Fix: "send {\"blobName\":\"…\"}, or {\"correlationId\":\"…\",\"isSuccess\":true,\"statusCode\":200,\"statusDescription\":\"…\"}"},
			{ID: "name", Why: "the blob name is missing or not legal", Fix: "send {\"blobName\":\"…\"}; device id and name together have at most 1024 characters"},
			{ID: "count", Why: "ten uploads of the device are open", Fix: "end each upload by POST files/notifications, after failures too; an open one ends by itself after an hour"},
			{ID: "correlation", Why: "no open upload of the device has this correlation id", Fix: "send the correlationId of the answer to POST files, once"},
			{ID: "late", Why: "the upload's hour is over", Fix: "begin the upload again by POST files"},
			{ID: "sas", Why: "the blob's address has no signature, or one that is not its own", Fix: "put the sasToken behind https://{hostName}/{containerName}/{blobName}, changing nothing in it"},
			{ID: "expired", Why: "the signature's hour is over", Fix: "begin the upload again by POST files"},
			{ID: "permission", Why: "the signature allows no such operation", Fix: "a device may read and write its blob, not delete it"},
			{ID: "blob", Why: "the blob request is not one that Azure Storage takes, or its condition does not hold", Fix: "see Seen and Expected; Put Blob needs x-ms-blob-type: BlockBlob"},
			{ID: "block", Why: "the block list names a block that was not put", Fix: "put every block first, with the id that the list has, all ids equally long"},
			{ID: "storage", Why: "the blob store has no room", Fix: "upload less; a blob has at most 64 MiB"},
			{ID: "missing", Why: "the blob does not exist", Fix: "put it first"},
		}},
	{ID: "HUB-66", Title: "every request names an api-version; else 400", Source: srcREST, Grade: rule.Assumed, Assumption: "400 with InvalidProtocolVersion; any date is accepted", Causes: []rule.Cause{
		{ID: "api-version", Why: "the query has no api-version, or one that is no date", Fix: "append ?api-version=2021-04-12"},
	}},
	{ID: "HUB-67", Title: "over HTTPS too, a token for the whole hub without skn is answered by 401", Source: srcSAS, Grade: rule.Documented},
}

// limitRules are those of throttling and of the faults that devices ask for.
var limitRules = []rule.Rule{
	{ID: "HUB-59", Title: "under a throttling profile a twin burst answers 429, a telemetry flood closes the connection", Source: srcQuotas + "; MicrosoftDocs/azure-docs issue 107838", Grade: rule.Assumed,
		Assumption: "off by default; the limits of one unit of the tier hold at once, where the real hub first lets requests wait", Causes: []rule.Cause{
			{ID: "twin", Why: "more twin requests a second than the tier allows", Fix: "wait and try again, with growing pauses"},
			{ID: "telemetry", Why: "more messages a second than the tier allows", Fix: "send fewer, join readings into one message; over HTTPS the answer is 429"},
			{ID: "requests", Why: "more requests a second than the tier allows", Fix: "poll every 25 minutes or use MQTT; spread uploads"},
		}},
	{ID: "HUB-68", Title: "telemetry with AzIoTHub_FaultOperationType=KillTcp breaks the connection after its delay", Source: srcFaults, Grade: rule.Assumed,
		Assumption: "the connection is closed without a packet; the delay counts from the acknowledgement", Causes: []rule.Cause{
			{ID: "kill", Why: "the device asked for it", Fix: "nothing is wrong; the hub's switch ignoreFaultProperties turns this off"},
		}},
	{ID: "HUB-69", Title: "ShutDownMqtt closes the connection after its delay", Source: srcFaults, Grade: rule.Assumed,
		Assumption: "MQTT 3.1.1 has no DISCONNECT from a server, so that it is a bare close", Causes: []rule.Cause{
			{ID: "shutdown", Why: "the device asked for it", Fix: "nothing is wrong; the hub's switch ignoreFaultProperties turns this off"},
		}},
	{ID: "HUB-70", Title: "InvokeThrottling throttles the device for its duration, InvokeMaxMessageQuota takes its quota", Source: srcFaults, Grade: rule.Assumed,
		Assumption: "telemetry is refused as under HUB-59 (over HTTPS 429001 or 403002), twin requests while throttled answer 429; 5 s where no duration is given", Causes: []rule.Cause{
			{ID: "throttling", Why: "the device asked for it", Fix: "wait until the duration is over"},
			{ID: "quota", Why: "the device asked for it", Fix: "wait until the duration is over"},
		}},
	{ID: "HUB-71", Title: "InvokeAuthError drops the connection and answers 5 to CONNECT until its duration is over", Source: srcFaults, Grade: rule.Assumed,
		Assumption: "over HTTPS 401; 5 s where no duration is given", Causes: []rule.Cause{
			{ID: "auth-error", Why: "the device asked for it", Fix: "wait until the duration is over"},
		}},
}
