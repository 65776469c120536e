package iothub

import "github.com/fakecloud/fakecloud/internal/rule"

// The sources that the rules cite most.
const (
	srcMQTT    = "Azure IoT Hub docs: Communicate with an IoT hub using the MQTT protocol"
	srcSAS     = "Azure IoT Hub docs: Control access to IoT Hub with shared access signatures"
	srcX509    = "Azure IoT Hub docs: Authenticate identities with X.509 certificates"
	srcErrors  = "Azure IoT Hub docs: Troubleshoot IoT Hub error codes"
	srcIDs     = "Azure IoT Hub docs: Understand the identity registry"
	srcMessage = "Azure IoT Hub docs: Understand IoT Hub message format"
	srcTwins   = "Azure IoT Hub docs: Understand and use device twins in IoT Hub"
	srcMethods = "Azure IoT Hub docs: Understand and invoke direct methods from IoT Hub"
	srcC2D     = "Azure IoT Hub docs: Understand cloud-to-device messaging from an IoT hub"
	srcTLS     = "Azure IoT Hub docs: TLS support in IoT Hub"
	srcConnC   = "azure-iot-sdk-c doc/connection_and_messaging_reliability.md"
	srcGateway = "azure-iot-protocol-gateway MqttAdapter.cs (public ancestor of the hub's MQTT head, by analogy)"
)

// Rules are the rules of docs/rules.md that IoT Hub enforces, one per row of its conformance table.
var Rules = joined(connectRules, credentialRules, sessionRules, telemetryRules, c2dRules, methodRules, twinRules, httpRules, limitRules)

func joined(sets ...[]rule.Rule) []rule.Rule {
	var all []rule.Rule
	for _, s := range sets {
		all = append(all, s...)
	}
	return all
}

var connectRules = []rule.Rule{
	{ID: "HUB-1", Title: "a SAS device connects with client id, username and token", Source: srcMQTT, Grade: rule.Documented},
	{ID: "HUB-2", Title: "the username's query may come without its question mark (api-version=2016-11-14)", Source: srcMQTT + " (edition of 2017)", Grade: rule.Documented},
	{ID: "HUB-3", Title: "the username may name no api-version; telemetry works, twin requests answer 400", Source: srcSAS + "; andriyadi/AzureIoTHubMQTTClient pull request 5", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "api-version", Why: "a twin request on a connection whose username names no api-version", Fix: "append /?api-version=2021-04-12 to the username"},
	}},
	{ID: "HUB-4", Title: "lower-case escapes in a token and the secondary key are as good", Source: "SAS signing code of the Azure device SDKs (C: lower case, Python, Java, C#, Node: upper case)", Grade: rule.Documented},
	{ID: "HUB-5", Title: "a token that does not verify is answered by CONNACK 5", Source: srcErrors + " (401003); " + srcConnC, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "signature", Why: "the token's signature does not fit the key", Fix: "sign percent-encoded resource, newline and se with HMAC-SHA256, keyed with the base64-decoded primary or secondary key of this device, or of the policy that skn names; a regenerated key needs new tokens"},
		{ID: "malformed", Why: "the password cannot be read as a SAS token", Fix: "send \"SharedAccessSignature sr=…&sig=…&se=…\" in one line, sig percent-encoded, se in seconds since 1970"},
		{ID: "no-token", Why: "a device with symmetric keys sent no password", Fix: "put a SAS token into the MQTT password, or register the device with a thumbprint or a CA if it is to use a certificate"},
		{ID: "connection-string", Why: "the password is a whole connection string", Fix: "send only the part from \"SharedAccessSignature sr=\" on; a connection string with SharedAccessKey is for SDKs, which make the token from it"},
		{ID: "key", Why: "the password is the device key itself", Fix: "make a SAS token signed with the key and send that; the key never goes over the wire"},
		{ID: "password", Why: "the password is not a SAS token", Fix: "put a SAS token into the MQTT password"},
		{ID: "no-key", Why: "the identity has authentication type none and so no key that could sign its token", Fix: "sign with a policy that has DeviceConnect and add skn, or give the identity a key"},
		{ID: "disabled", Why: "the hub accepts no SAS from this kind of identity", Fix: "use a certificate, or switch disableDeviceSAS / disableModuleSAS off in the hub"},
	}},
	{ID: "HUB-6", Title: "an expired token is answered by CONNACK 5; about five minutes are tolerated", Source: srcErrors + " (401003, note on clock skew)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "expired", Why: "the token's time (se) is over", Fix: "make a new token; if it is new, set the device's clock: se is seconds since 1970 in UTC"},
	}},
	{ID: "HUB-7", Title: "a token for another resource is answered by CONNACK 5; prefixes count by whole segments", Source: srcSAS, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "resource", Why: "the token's resource (sr) is not this identity on this hub", Fix: "sign {hub host}/devices/{device id} (for a module with /modules/{module id}) with the ids in their exact case"},
	}},
	{ID: "HUB-8", Title: "a policy's token needs skn and the DeviceConnect right", Source: srcSAS + "; " + srcErrors + " (401002)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "policy", Why: "the token's skn names no policy of the hub", Fix: "set skn to the name of a policy with DeviceConnect, such as device or iothubowner"},
		{ID: "rights", Why: "the policy that signed may not connect as a device", Fix: "sign with the key of a policy that has DeviceConnect (device, iothubowner)"},
		{ID: "no-policy", Why: "a token for the whole hub does not name the policy that signed it", Fix: "add &skn={policy name}, or sign {host}/devices/{id} with the device's own key"},
	}},
	{ID: "HUB-9", Title: "an unknown identity is answered by CONNACK 5; ids are case-sensitive", Source: srcErrors + " (401003); " + srcIDs, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "unknown", Why: "the hub has no device of this id", Fix: "register it (fakecloud add hub-device ID, or provision it through DPS), or correct the id: case counts"},
		{ID: "module", Why: "the device has no module of this id", Fix: "register the module, or correct the id: case counts"},
	}},
	{ID: "HUB-10", Title: "the client id must be the username's device, or device/module", Source: srcMQTT, Grade: rule.Assumed,
		Assumption: "a mismatch is answered by CONNACK 5, as " + srcConnC + " says that the hub uses no other code for bad credentials", Causes: []rule.Cause{
			{ID: "client-id", Why: "client id and username name different identities", Fix: "set the MQTT client id to exactly the device id, or device/module, of the username"},
		}},
	{ID: "HUB-11", Title: "the username must be {hub}/{device}/?api-version=…", Source: srcMQTT, Grade: rule.Assumed,
		Assumption: "a missing or malformed username and a foreign host are answered by CONNACK 5, as " + srcConnC + " says that the hub uses no other code for bad credentials", Causes: []rule.Cause{
			{ID: "username", Why: "the username is missing or has not the hub's form", Fix: "send {hub host}/{device id}/?api-version=2021-04-12, for a module {hub host}/{device id}/{module id}/?api-version=2021-04-12"},
			{ID: "host", Why: "the username's host is not this hub", Fix: "put the hub's full host name in front of the username; fakecloud hosts lists the names, fakecloud add hub adds one"},
		}},
	{ID: "HUB-12", Title: "a disabled device is answered by CONNACK 3; disabled or deleted while connected: closed without a word", Source: "azure-iot-sdk-c issues 314 and 2300; " + srcErrors + " (403012)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "disabled", Why: "the device is disabled in the registry", Fix: "enable it in the registry (world: status enabled)"},
		{ID: "deleted", Why: "the identity was deleted while it was connected", Fix: "register it again, or provision the device again"},
	}},
}

var credentialRules = []rule.Rule{
	{ID: "HUB-13", Title: "a thumbprint device connects with its certificate; SHA-1 or SHA-256, primary or secondary", Source: srcX509 + "; " + srcErrors + " (SHA1Hash, SHA2Hash)", Grade: rule.Documented},
	{ID: "HUB-14", Title: "beside a good certificate the password's text is ignored", Source: "eWON Flexy script for Azure, HMS forum (password HostName=…;DeviceID=…;x509=true)", Grade: rule.Documented},
	{ID: "HUB-15", Title: "a wrong or missing certificate passes TLS and is answered by CONNACK 5", Source: srcErrors + " (401003); azure-iot-sdk-csharp and -node end-to-end tests", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "thumbprint", Why: "the certificate's hash is neither of the two registered thumbprints", Fix: "register the thumbprint that was seen (fakecloud adopt does it), or give the device the registered certificate; a renewed certificate has a new thumbprint"},
		{ID: "no-certificate", Why: "the identity authenticates by certificate and the client sent none in the TLS handshake", Fix: "give the client certificate and key (mosquitto: --cert, --key); some stacks send none silently when the key does not fit"},
		{ID: "sas-token", Why: "the identity authenticates by certificate and the client sent a SAS token instead", Fix: "connect with the certificate, or register the device with symmetric keys"},
		{ID: "sas-device", Why: "the identity authenticates by symmetric key and the client sent only a certificate", Fix: "send a SAS token as password, or register the device's certificate by thumbprint or CA"},
		{ID: "expired", Why: "the client certificate's time is over", Fix: "issue a new certificate; with thumbprints, register the new one"},
		{ID: "not-yet-valid", Why: "the client certificate's time has not begun", Fix: "check the clock of the machine that issued it; notBefore is UTC"},
	}},
	{ID: "HUB-16", Title: "a CA device needs a chain to a verified CA and its own id as common name", Source: srcX509, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "cn", Why: "the certificate's common name is not the id of the identity", Fix: "issue the certificate with CN={device id}, for a module CN={device id}/{module id}; case counts"},
		{ID: "chain", Why: "the certificate chain does not lead to a CA of the hub", Fix: "send the intermediates with the leaf, and upload the root (fakecloud add ca FILE --to HUB)"},
		{ID: "unverified", Why: "the CA was uploaded but its owner has not proved possession", Fix: "sign a certificate with the verification code as CN (fakecloud pki) and upload it, or set verified: true in the world"},
	}},
	{ID: "HUB-17", Title: "a module connects as {device}/{module} beside its device", Source: srcMQTT, Grade: rule.Documented},
	{ID: "HUB-18", Title: "no plain TCP on 8883 and no TLS below 1.2", Source: srcTLS, Grade: rule.Documented},
	{ID: "HUB-19", Title: "MQTT 3.1.1 only: protocol level 3 or 5 is refused with return code 1", Source: srcMQTT + "; IoT Hub MQTT 5 preview (retired)", Grade: rule.Assumed,
		Assumption: "return code 1, as MQTT 3.1.1 section 3.1.2.2 asks; the vendor names no code", Causes: []rule.Cause{
			{ID: "level", Why: "the client speaks another version of MQTT", Fix: "set the client to MQTT 3.1.1 (protocol level 4)"},
		}},
}

var sessionRules = []rule.Rule{
	{ID: "HUB-21", Title: "a second connection of an identity closes the first, without a packet", Source: srcMQTT + "; " + srcErrors + " (400027)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "takeover", Why: "another connection of the same identity took over", Fix: "use one identity per device; two clients with one id throw each other out in turn"},
	}},
	{ID: "HUB-22", Title: "a client silent for 1.5 times its keep alive is closed", Source: srcMQTT, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "silent", Why: "nothing came for longer than the keep alive allows", Fix: "send PINGREQ within the keep alive, or choose a longer one (at most 1177 s)"},
	}},
	{ID: "HUB-23", Title: "the keep alive is capped at 29.45 minutes; none means the cap", Source: srcMQTT + "; for 0 " + srcGateway, Grade: rule.Documented},
	{ID: "HUB-24", Title: "a connection ends when its token has run out, about ten minutes after se", Source: "Azure IoT Hub docs: Monitor, diagnose, and troubleshoot device connectivity", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "expired", Why: "the token that the connection was opened with has run out", Fix: "reconnect with a new token before se; SDKs renew at 85 % of its life"},
	}},
	{ID: "HUB-25", Title: "the first packet must be CONNECT, and only one may come", Source: "MQTT 3.1.1 section 3.1; " + srcGateway, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "first", Why: "the first packet is not CONNECT, or a second CONNECT came", Fix: "send exactly one CONNECT, first"},
		{ID: "malformed", Why: "a packet breaks the MQTT 3.1.1 format", Fix: "check the client's encoding against MQTT 3.1.1; flags, lengths and UTF-8 are checked"},
	}},
	{ID: "HUB-26", Title: "a will on the events topic becomes telemetry with iothub-MessageType=Will", Source: srcMQTT, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "topic", Why: "the will's topic is not the identity's own events topic", Fix: "set the will's topic to devices/{device id}/messages/events/, properties may follow"},
		{ID: "bag", Why: "the property bag in the will's topic cannot be read", Fix: "write name=value pairs joined by &, everything else percent-encoded"},
	}},
}

var telemetryRules = []rule.Rule{
	{ID: "HUB-27", Title: "telemetry on devices/{id}/messages/events/ is stamped, stored and acknowledged", Source: srcMQTT + "; " + srcMessage, Grade: rule.Documented},
	{ID: "HUB-28", Title: "the events topic may lack its trailing slash, and a bag may have one", Source: "azure-iot-sdk-csharp, -java and -node topic code", Grade: rule.Documented},
	{ID: "HUB-29", Title: "properties follow as name=value pairs, percent-encoded", Source: srcMQTT, Grade: rule.Assumed,
		Assumption: "a bag that cannot be read closes the connection; what cannot be read follows UrlEncodedDictionarySerializer.cs of azure-iot-sdk-csharp: no name, a second = in a pair, an empty pair", Causes: []rule.Cause{
			{ID: "bag", Why: "the property bag in the topic cannot be read", Fix: "write name=value pairs joined by &; percent-encode = as %3D, & as %26, % as %25 in names and values"},
		}},
	{ID: "HUB-30", Title: "connection ids are the hub's to stamp: the client's $.cdid and $.cmid do not count", Source: srcMessage, Grade: rule.Documented},
	{ID: "HUB-31", Title: "retain is never stored; the message carries mqtt-retain=true", Source: srcMQTT, Grade: rule.Documented},
	{ID: "HUB-32", Title: "QoS 2 closes the connection", Source: srcMQTT, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "qos2", Why: "IoT Hub knows no QoS 2", Fix: "publish with QoS 0 or 1"},
	}},
	{ID: "HUB-33", Title: "a message may have 262144 bytes, properties included; more closes the connection", Source: srcMessage, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "size", Why: "body and properties together are larger than a message may be", Fix: "send less than 256 KB at once, or upload a file"},
		{ID: "packet", Why: "the packet is larger than any message may be", Fix: "send less than 256 KB at once, or upload a file"},
	}},
	{ID: "HUB-34", Title: "publishing for another device closes the connection", Source: srcMQTT, Grade: rule.Assumed,
		Assumption: "closed, as the page says that unsupported operations end an MQTT connection", Causes: []rule.Cause{
			{ID: "device", Why: "the topic names another device than the one that is connected", Fix: "publish to devices/{own device id}/messages/events/; case counts"},
		}},
	{ID: "HUB-35", Title: "publishing to any other topic closes the connection", Source: srcMQTT + "; " + srcGateway, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "topic", Why: "IoT Hub is no general broker: the topic is none of its own", Fix: "publish telemetry to devices/{device id}/messages/events/; other data belongs into its body or properties"},
	}},
	{ID: "HUB-36", Title: "a module publishes to devices/{id}/modules/{module}/messages/events/, and only it", Source: srcMQTT, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "module", Why: "the topic is another identity's: a module's for a device, a device's for a module, or another module's", Fix: "publish to the topic of the identity that is connected"},
	}},
	{ID: "HUB-37", Title: "a model-id in the username is stamped on telemetry as dt-dataschema", Source: "Azure IoT Plug and Play docs: device developer guide; " + srcMessage, Grade: rule.Documented},
	{ID: "HUB-40", Title: "filters that the hub does not know are refused", Source: srcMQTT, Grade: rule.Assumed,
		Assumption: "the connection is closed; the hub's switch answers SUBACK 0x80 instead", Causes: []rule.Cause{
			{ID: "filter", Why: "the filter is none that IoT Hub supports for this identity", Fix: "subscribe to devices/{device id}/messages/devicebound/#, $iothub/twin/res/#, $iothub/twin/PATCH/properties/desired/# or $iothub/methods/POST/#; there is no device-to-device messaging"},
		}},
	{ID: "HUB-46", Title: "a connection may have five subscriptions", Source: srcMQTT, Grade: rule.Assumed,
		Assumption: "the sixth closes the connection", Causes: []rule.Cause{
			{ID: "count", Why: "a sixth subscription on one connection", Fix: "unsubscribe first; one # filter serves all methods, twin answers or messages"},
		}},
}

var twinRules = []rule.Rule{
	{ID: "HUB-50", Title: "a twin request answers desired and reported properties, with $version in both", Source: srcMQTT + "; " + srcTwins, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "unsubscribed", Why: "the request was carried out, but the client has not subscribed to the answers of its twin", Fix: "subscribe to $iothub/twin/res/# and wait for the SUBACK before the first request"},
	}},
	{ID: "HUB-51", Title: "a reported patch answers 204 with the new version", Source: srcMQTT, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "version", Why: "the patch names a base version that is no longer the current one", Fix: "read the twin again and patch on its reported $version, or leave $version out of the topic"},
	}},
	{ID: "HUB-52", Title: "a patch merges objects, removes keys with null and replaces arrays and scalars", Source: srcTwins, Grade: rule.Documented},
	{ID: "HUB-53", Title: "a patch that breaks the twin's form answers 400 and changes nothing", Source: srcTwins + "; amenzhinsky/iothub issue 70", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "json", Why: "the patch is not JSON", Fix: "send one JSON object in UTF-8, with nothing after it"},
		{ID: "root", Why: "the patch is JSON but no object", Fix: "wrap the value: {\"name\":value}"},
		{ID: "key", Why: "a key is longer than 1 KB or has a dot, $, space or control character", Fix: "rename the key; $version and $metadata are the hub's own"},
		{ID: "depth", Why: "more than ten objects lie within each other", Fix: "flatten the document, or send the inner part as a string"},
		{ID: "string", Why: "a string is longer than 4 KB", Fix: "shorten it; large data belongs into telemetry or a file"},
		{ID: "integer", Why: "an integer is outside -4503599627370496 to 4503599627370495", Fix: "send it as a string or as a number with an exponent"},
	}},
	{ID: "HUB-54", Title: "reported properties beyond 32 KB are refused", Source: srcTwins, Grade: rule.Assumed,
		Assumption: "status 413 with error code 413001; the vendor names the limit, not the code", Causes: []rule.Cause{
			{ID: "size", Why: "keys and values of the reported properties would exceed 32 KB", Fix: "remove old keys with null, or report less"},
		}},
	{ID: "HUB-55", Title: "a desired change reaches a subscribed device, and only then", Source: srcMQTT + "; " + srcTwins, Grade: rule.Documented},
	{ID: "HUB-56", Title: "a twin request without a request id is not answered", Source: srcMQTT, Grade: rule.Assumed,
		Assumption: "it is acknowledged, ignored and the connection stays", Causes: []rule.Cause{
			{ID: "rid", Why: "the topic has no $rid, so no answer can name it", Fix: "append ?$rid={id} to the topic, a new id for each request"},
		}},
	{ID: "HUB-57", Title: "a device cannot publish to the desired properties", Source: srcMQTT, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "desired", Why: "desired properties are set by the service side only", Fix: "publish to $iothub/twin/PATCH/properties/reported/?$rid={id}"},
	}},
	{ID: "HUB-58", Title: "a device cannot call a method", Source: srcMQTT, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "call", Why: "methods are called by the service side only", Fix: "answer a call on $iothub/methods/res/{status}/?$rid={id of the call}"},
	}},
}

var methodRules = []rule.Rule{
	{ID: "HUB-47", Title: "a subscribed device gets a method call with QoS 0 and answers with its status", Source: srcMethods + "; " + srcMQTT, Grade: rule.Assumed,
		Assumption: "an answer that is not JSON gives the caller status 502, with error code 502000 and the name GenericBadGateway by the pattern of the others; the form of calls and answers is documented", Causes: []rule.Cause{
			{ID: "json", Why: "the device's answer is not JSON", Fix: "answer with JSON or with an empty payload"},
			{ID: "size", Why: "the device's answer is larger than 128 KB", Fix: "answer with less; large data belongs into telemetry or a file"},
		}},
	{ID: "HUB-48", Title: "a method for an absent device gives 404103, a silent device 504101", Source: srcMethods + "; " + srcErrors, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "offline", Why: "the device is not connected", Fix: "connect the device, or give the call a connect timeout"},
		{ID: "subscription", Why: "the device is connected but has not subscribed to methods", Fix: "subscribe to $iothub/methods/POST/#"},
		{ID: "closed", Why: "the device's connection ended before it answered (404104)", Fix: "answer before disconnecting, and look in the journal for why the connection ended"},
		{ID: "timeout", Why: "the device did not answer in time", Fix: "publish the answer to $iothub/methods/res/{status}/?$rid={id of the call}, or raise the response timeout"},
		{ID: "busy", Why: "too many calls wait for one device (403800)", Fix: "wait for answers before calling again"},
	}},
	{ID: "HUB-49", Title: "an answer that nobody waits for is ignored; the connection stays", Source: srcMethods, Grade: rule.Assumed,
		Assumption: "ignored without a sign to the device", Causes: []rule.Cause{
			{ID: "rid", Why: "the $rid is of no call that waits", Fix: "copy $rid from the call's topic and answer once, in time"},
		}},
}

var c2dRules = []rule.Rule{
	{ID: "HUB-38", Title: "SUBSCRIBE to devicebound grants at most QoS 1", Source: srcMQTT, Grade: rule.Documented},
	{ID: "HUB-39", Title: "devices/+/messages/devicebound/# is granted and brings own messages only", Source: "azure-sdk-for-c, az_iot_hub_client.h", Grade: rule.Documented},
	{ID: "HUB-41", Title: "a message comes with QoS 1 and its properties in the topic, $.to always among them", Source: srcMQTT + "; azure-iot-sdk-csharp, -java, -node and -python receive code", Grade: rule.Documented},
	{ID: "HUB-42", Title: "PUBACK completes a message; without it the next connection gets it again", Source: srcC2D, Grade: rule.Documented},
	{ID: "HUB-43", Title: "a device's queue holds 50 messages of at most 64 KB", Source: srcC2D + "; " + srcErrors + " (403004)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "full", Why: "50 messages wait for the device already", Fix: "let the device connect and take them, or purge its queue"},
		{ID: "size", Why: "the message is larger than 64 KB", Fix: "send less, or a link to the data"},
	}},
	{ID: "HUB-44", Title: "clean session 0 brings waiting messages without a new SUBSCRIBE", Source: srcMQTT, Grade: rule.Documented},
	{ID: "HUB-45", Title: "a message past its time to live is never delivered; feedback Expired", Source: srcC2D, Grade: rule.Documented},
}
