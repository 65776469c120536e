package mindsphere

import "github.com/fakecloud/fakecloud/internal/rule"

// Sources of the rules: pages of MindSphere's documentation, its sample repository, and for what AWS IoT Core
// does underneath region eu1 its developer guide.
const (
	srcOnboard = "MindSphere, Onboarding MindConnect MQTT Agent"
	srcBroker  = "MindSphere, MindConnect MQTT Broker"
	srcCA      = "MindSphere, Managing CA Certificates using MindConnect MQTT API"
	srcAM      = "MindSphere, Asset Modeler Async API samples"
	srcAsync   = "MindSphere, MindConnect Async API"
	srcCommand = "MindSphere, MindConnect MQTT Commanding"
	srcV4Doc   = "MindSphere, Creating V4 Data Model"
	srcToken   = "MindSphere, Acquiring an Agent Access Token via MQTT Agents"
	srcPubSub  = "MindSphere, Connecting to OPC UA PubSub Service via MQTT"
	srcSample  = "github.com/mindsphere/mindconnect-mqtt"
	srcV4      = "github.com/mindsphere/mindconnect-mqtt-v4-example"
	srcAWS     = "AWS IoT Core developer guide"
)

const reconnect = "Reconnect after a few seconds, or switch on automatic reconnection: mosquitto_sub, Paho's loop_start and MQTT.js do it by themselves; mosquitto_pub has to be run again."

// Rules are the rows of the MindSphere conformance table that are enforced.
var Rules = []rule.Rule{
	{ID: "MS-1", Title: "A certificate never seen is provisioned: TLS succeeds, CONNECT is read, the connection is closed without CONNACK", Source: srcOnboard, Grade: rule.Documented,
		Assumption: "closed after CONNECT was read, without CONNACK; each certificate of an agent is provisioned for itself; certificates that MindSphere has issued are accepted at once",
		Causes: []rule.Cause{
			{ID: "first", Why: "This is the agent's first connection. MindSphere closes it and provisions the agent meanwhile.", Fix: reconnect},
			{ID: "renewal", Why: "The agent came with a new certificate, which is provisioned like the first one.", Fix: reconnect},
		}},
	{ID: "MS-2", Title: "Until it is provisioned an agent is closed again", Source: srcOnboard, Grade: rule.Documented,
		Assumption: "provisioning takes 3 s unless the tenant says otherwise",
		Causes:     []rule.Cause{{ID: "pending", Why: "The agent is being provisioned, which takes a few seconds.", Fix: reconnect}}},
	{ID: "MS-3", Title: "A provisioned agent is accepted: CONNACK 0; its asset of type core.mcmqtt has the client id as externalId", Source: srcOnboard + "; " + srcSample, Grade: rule.Documented,
		Assumption: "MQTT 3.1.1 and 5, as AWS IoT Core; a keep alive below 30 s counts as 30 s, none or above 1200 s as 1200 s; closed after 1.5 times that",
		Causes: []rule.Cause{
			{ID: "level", Why: "MindConnect MQTT speaks MQTT 3.1.1 and 5.", Fix: "Set the client to MQTT 3.1.1; with mosquitto: -V mqttv311."},
			{ID: "first", Why: "The first packet was not CONNECT, or a second CONNECT came.", Fix: "Send CONNECT first, and once per connection."},
			{ID: "malformed", Why: "A packet breaks the MQTT protocol.", Fix: "Use an unmodified MQTT client library."},
			{ID: "keep-alive", Why: "The agent was silent for longer than 1.5 times its keep alive.", Fix: "Send PINGREQ in time, or announce a longer keep alive (up to 1200 s)."},
		}},
	{ID: "MS-4", Title: "A provisioned agent is accepted at once, later and after a restart", Source: srcOnboard, Grade: rule.Documented},
	{ID: "MS-5", Title: "The client id must be {tenant}_{common name}; else the connection is closed without CONNACK", Source: srcOnboard, Grade: rule.Documented,
		Assumption: "closed without CONNACK, nothing is provisioned; at most 128 bytes; a common name that cannot stand in a topic is refused alike",
		Causes: []rule.Cause{
			{ID: "prefix", Why: "The client id is the certificate's common name alone.", Fix: "Use {tenant}_{common name} as client id, with mosquitto: -i \"$TENANT\"_\"$DEVICE_NAME\"."},
			{ID: "tenant", Why: "The client id begins with another tenant's name than the one whose CA has issued the certificate.", Fix: "Begin the client id with the tenant that the CA certificate was uploaded to."},
			{ID: "device", Why: "The client id is not that of the certificate.", Fix: "Use {tenant}_{common name of the certificate} as client id; openssl x509 -in device.pem -noout -subject shows the common name."},
			{ID: "quotes", Why: "Quotes have become a part of a name: \"set NAME=\"value\"\" on Windows keeps them, as do quotes inside quotes elsewhere.", Fix: "Set the variables without quotes (on Windows: set \"NAME=value\"), and issue the certificate anew if its common name has quotes in it."},
			{ID: "spelling", Why: "Client id and common name differ in upper and lower case or in blanks.", Fix: "Write both alike; a shell keeps a blank before = as part of the variable's name."},
			{ID: "eu2-name", Why: "The common name begins with the tenant, as certificates of region eu2 do.", Fix: "For eu1 issue the certificate with CN={device}; the client id alone has the tenant before it."},
			{ID: "no-cn", Why: "The certificate has no common name.", Fix: "Issue the certificate with -subj \"/CN={device}\"."},
			{ID: "characters", Why: "The common name has a slash, a wildcard or a control character in it, so no topic can hold the client id.", Fix: "Issue the certificate with a common name of letters, digits, - and _."},
			{ID: "length", Why: "The client id is too long.", Fix: "Use a shorter common name: tenant, underscore and common name have at most 128 bytes."},
			{ID: "host", Why: "The name that the client connected to is MindSphere's, but none of a broker.", Fix: "Connect to mindconnectmqtt.eu1.mindsphere.io; agents of region eu2 register at DPS and connect to the hub that it assigns."},
			{ID: "region", Why: "The tenant lives in region eu2, where agents register at DPS first.", Fix: "Connect to the global DPS endpoint, register, and go on to the assigned hub."},
		}},
	{ID: "MS-6", Title: "Only a valid certificate issued directly by a verified CA of a tenant is accepted", Source: srcCA + "; " + srcBroker, Grade: rule.Documented,
		Assumption: "TLS succeeds and the connection is closed after CONNECT, without CONNACK",
		Causes: []rule.Cause{
			{ID: "no-certificate", Why: "The agent presented no client certificate.", Fix: "Give the client its certificate and key, with mosquitto: --cert device_chain.pem --key device.key."},
			{ID: "unknown-ca", Why: "No tenant has the CA that has issued the certificate.", Fix: "Upload the CA certificate to the tenant and verify it, or issue the certificate with a CA that is there."},
			{ID: "deleted", Why: "MindSphere has issued the certificate itself, but it was deleted since, or is another instance's.", Fix: "Make a new one: POST /api/mindconnectmqtt/v3/agentCertificates."},
			{ID: "unverified", Why: "The CA is uploaded, but possession of its key was never proven.", Fix: "Issue a certificate with the registration code as common name and upload it as verification."},
			{ID: "intermediate", Why: "The certificate was issued by an intermediate CA, which MindConnect MQTT does not support.", Fix: "Issue the certificate with the uploaded CA itself, or upload the intermediate as the tenant's CA."},
			{ID: "signature", Why: "The certificate names a CA of the tenant as issuer, but another key has signed it.", Fix: "Issue the certificate with the key of the uploaded CA, or upload the CA certificate that belongs to that key."},
			{ID: "expired", Why: "The certificate has expired.", Fix: "Issue a new certificate for the agent, and check the clocks."},
			{ID: "not-yet-valid", Why: "The certificate is not valid yet.", Fix: "Check the clock of the machine that issued it and of this one."},
			{ID: "ca-expired", Why: "The tenant's CA certificate is not valid now.", Fix: "Upload a valid CA certificate and issue the agent's certificate anew."},
			{ID: "algorithm", Why: "The certificate is signed with an algorithm that is too weak or unknown.", Fix: "Issue the certificate with -sha256."},
			{ID: "ca", Why: "The client certificate is the CA certificate itself.", Fix: "Issue a certificate for the agent and connect with that one."},
		}},
	{ID: "MS-7", Title: "A second connection with the same client id ends the first", Source: srcOnboard + "; " + srcCommand, Grade: rule.Documented,
		Causes: []rule.Cause{{ID: "takeover", Why: "Another connection came with the same client id. Two clients that reconnect by themselves push each other out for ever.",
			Fix: "Give each client a certificate and a client id of its own, and stop the other one."}}},
	{ID: "MS-8", Title: "Port 443 takes MQTT with the ALPN name x-amzn-mqtt-ca, as port 8883 without it (decided at the door)", Source: srcBroker + "; " + srcAWS, Grade: rule.Documented},
	{ID: "MS-9", Title: "X.509 v1 certificates, as openssl x509 -req makes them, are accepted", Source: srcOnboard, Grade: rule.Documented},
	{ID: "MS-10", Title: "Username and password may be absent, or present and empty", Source: srcOnboard + "; " + srcV4, Grade: rule.Documented,
		Assumption: "whatever stands in them beside a good certificate is ignored"},
	{ID: "MS-11", Title: "eu2: DPS takes the agent's certificate with an empty password", Source: srcOnboard, Grade: rule.Documented},
	{ID: "MS-12", Title: "eu2: empty messages register and poll; the answer has assignedHub, deviceId and the tenant's enrollment group", Source: srcOnboard, Grade: rule.Documented},
	{ID: "MS-13", Title: "eu2: the assigned hub takes the agent at its first try, with an empty password", Source: srcOnboard, Grade: rule.Documented},
	{ID: "MS-14", Title: "eu2: client id and common name are one, and begin with the tenant's name", Source: srcOnboard, Grade: rule.Assumed,
		Assumption: "another client id is refused as by DPS and IoT Hub; for a common name without the tenant the registration fails",
		Causes: []rule.Cause{
			{ID: "prefix", Why: "In region eu2 the certificate's common name begins with the tenant's name, and this one does not.", Fix: "Issue the certificate with CN={tenant}_{device}: export CLIENT_ID=\"$TENANT\"_\"$DEVICE_NAME\" and -subj \"/…/CN=$CLIENT_ID\"."},
		}},
	{ID: "MS-15", Title: "An agent may subscribe inside its own branch tc/{tenant}/{clientId}/i/, wildcards included", Source: srcAM + "; " + srcSample, Grade: rule.Documented,
		Assumption: "filters that no application ever sends to are granted",
		Causes: []rule.Cause{{ID: "unserved", Why: "The subscription was granted, but no application sends to such a topic: nothing will ever come.",
			Fix: "Subscribe to one of amo_v3/ms, amo_v3/ip, amo_v4/mip, amo_v4/m, cmd_v3/c and agm_v3/tr below tc/{tenant}/{clientId}/i/."}}},
	{ID: "MS-16", Title: "Any other filter is answered with 0x80", Source: srcAM + "; " + srcAWS, Grade: rule.Assumed,
		Assumption: "SUBACK 0x80 and the connection stays; QoS 2 and more than 8 filters in one SUBSCRIBE close the connection; at most 256 bytes and 7 slashes",
		Causes: []rule.Cause{
			{ID: "output", Why: "The filter covers the agent's own output topics, which it may only publish to.", Fix: "Subscribe below tc/{tenant}/{clientId}/i/."},
			{ID: "foreign", Why: "The filter is in the branch of another tenant or agent.", Fix: "Use the agent's own tenant and client id: tc/{tenant}/{tenant}_{common name}/i/…"},
			{ID: "wildcard", Why: "The filter reaches beyond the agent's own branch.", Fix: "Use # and + behind tc/{tenant}/{clientId}/i/ only."},
			{ID: "form", Why: "The filter is not one of MindConnect MQTT's topics.", Fix: "Subscribe to tc/{tenant}/{clientId}/i/{application}_{version}/{topic}, without a slash at the begin."},
			{ID: "length", Why: "The filter is longer than 256 bytes or has more than 7 slashes.", Fix: "Shorten the filter; the client id is limited to 128 bytes."},
			{ID: "qos2", Why: "The subscription asks for QoS 2.", Fix: "Subscribe with QoS 0 or 1."},
			{ID: "filters", Why: "One SUBSCRIBE has more than 8 filters.", Fix: "Send several SUBSCRIBE packets of at most 8 filters each, or use a wildcard below tc/{tenant}/{clientId}/i/. Libraries that subscribe again by themselves after a reconnection may put all filters into one packet."},
		}},
	{ID: "MS-17", Title: "Publishing to an input, foreign or unknown topic closes the connection, without PUBACK", Source: srcAM + "; " + srcAWS, Grade: rule.Assumed,
		Assumption: "closed without PUBACK; QoS 2 is closed alike",
		Causes: []rule.Cause{
			{ID: "input", Why: "The topic is one that the agent may only subscribe to.", Fix: "Publish below tc/{tenant}/{clientId}/o/."},
			{ID: "foreign", Why: "The topic belongs to another tenant or agent.", Fix: "Use the agent's own tenant and client id: tc/{tenant}/{tenant}_{common name}/o/…"},
			{ID: "app", Why: "There is no such application or topic.", Fix: "Use one of amo_v3/m, amo_v3/i, amo_v4/mi, amo_v4/m, mc_v3/ts, mc_v3/e, mc_v3/f, cmd_v3/u and agm_v3/t."},
			{ID: "form", Why: "The topic is not one of MindConnect MQTT's.", Fix: "Publish to tc/{tenant}/{clientId}/o/{application}_{version}/{topic}, without a slash at the begin."},
			{ID: "qos2", Why: "The message was published with QoS 2.", Fix: "Publish with QoS 0 or 1."},
		}},
	{ID: "MS-18", Title: "A valid version 3 model is answered on amo_v3/ms with Success and the request's id", Source: srcAM + "; " + srcSample, Grade: rule.Documented,
		Assumption: "the answer has the fields of version 4 (id, modelId, message, status); an answer waits up to 10 s for the subscription to its topic, as the real service's jobs take that long"},
	{ID: "MS-19", Title: "An instantiation is answered on amo_v3/ip with progress and then Success", Source: srcAM + "; " + srcSample, Grade: rule.Documented},
	{ID: "MS-20", Title: "A model that is wrong or unknown is answered with Failed and its errors; the connection stays", Source: srcV4Doc + "; " + srcAM, Grade: rule.Documented,
		Assumption: "errors are a list of path and message; a parent with the form of an asset id (32 hex digits) is taken for one that the tenant has",
		Causes: []rule.Cause{
			{ID: "unreadable", Why: "The message is no JSON, or not in the envelope that the asset modeler wants.", Fix: "Send {\"id\":…,\"data\":{…}}; the journal names the place."},
			{ID: "model", Why: "The model contradicts itself or the tenant.", Fix: "Mend what the journal and the answer's errors name by its JSON path."},
			{ID: "unknown-model", Why: "The agent has sent no model of that name.", Fix: "Publish the model first (amo_v3/m) and wait for Success."},
			{ID: "parameter", Why: "The model has placeholders ${name} that got no value.", Fix: "Add each name with its value to data.parameterization.values."},
			{ID: "limit", Why: "The model would make more types, assets or mappings than fakecloud keeps.", Fix: "Use fewer, or begin again with an empty tenant."},
		}},
	{ID: "MS-21", Title: "A version 4 model makes or updates types, assets and mappings; amo_v4/mip tells the progress, then Success", Source: srcV4Doc + "; " + srcV4, Grade: rule.Documented,
		Assumption: "an agent that has sent no model gets an empty one from amo_v4/m"},
	{ID: "MS-22", Title: "Time series of mapped data points are stored; there is no answer but the PUBACK", Source: srcAsync, Grade: rule.Documented},
	{ID: "MS-23", Title: "Other time series are lost in silence, with a PUBACK", Source: srcAsync, Grade: rule.Documented,
		Assumption: "values that do not fit their variable's data type are lost alike; what else is in the message is stored",
		Causes: []rule.Cause{
			{ID: "json", Why: "The message is no time series; all of it is lost. The real service says nothing either.", Fix: "Send {\"timeseries\":[{\"timestamp\":…,\"values\":[{\"dataPointId\":…,\"value\":…,\"qualityCode\":…}]}]}."},
			{ID: "not-instantiated", Why: "The agent has no data mappings yet, so its data goes nowhere. The real service says nothing either.", Fix: "Publish a model (amo_v3/m and amo_v3/i, or amo_v4/mi) and wait for Success before you send data."},
			{ID: "unmapped", Why: "No mapping leads this data point to a variable. The real service says nothing either.", Fix: "Add the dataPointId to mappingModel.mappings, or send one that is there; upper and lower case count."},
			{ID: "value", Why: "The value does not fit the data type of its variable. The real service says nothing either.", Fix: "Send a value of the variable's dataType, or change the model."},
			{ID: "timestamp", Why: "The timestamp cannot be read. The real service says nothing either.", Fix: "Send UTC in the form 2026-01-01T00:00:00.000Z."},
		}},
	{ID: "MS-24", Title: "Events and files are accepted; base64 without padding, too", Source: srcSample, Grade: rule.Documented,
		Assumption: "what cannot be read, and event types that a tenant with a list of types does not have, are lost in silence",
		Causes: []rule.Cause{
			{ID: "event", Why: "The message is no list of events; all of it is lost. The real service says nothing either.", Fix: "Send {\"events\":[{\"timestamp\":…,\"severity\":\"20\",\"type\":…}]}."},
			{ID: "event-type", Why: "The tenant has no such event type. The real service says nothing either.", Fix: "Create the event type below core.connectivity.event.type.AgentBaseEvent, or send one that exists."},
			{ID: "file", Why: "The message holds no file that can be read. The real service says nothing either.", Fix: "Send {\"file\":{\"name\":…,\"content\":\"{base64}\"}}."},
		}},
	{ID: "MS-25", Title: "A delivery job's command reaches the agent on cmd_v3/c with id, jobId, createdAt and payload", Source: srcCommand, Grade: rule.Documented,
		Assumption: "sent once, with QoS 1; nothing waits for an agent without a kept session",
		Causes: []rule.Cause{{ID: "lost", Why: "Nobody was there to take the command.",
			Fix: "Connect, with clean session 0 and QoS 1 where commands shall wait, and subscribe to tc/{tenant}/{clientId}/i/cmd_v3/c before the job is made."}}},
	{ID: "MS-26", Title: "A command's state follows the agent's updates on cmd_v3/u; the latest is kept", Source: srcCommand, Grade: rule.Documented,
		Assumption: "updates that fit no command are lost in silence",
		Causes: []rule.Cause{
			{ID: "unreadable", Why: "The message is no status update. The real service says nothing either.", Fix: "Send {\"id\":…,\"requestId\":…,\"data\":{\"jobId\":…,\"status\":…}}."},
			{ID: "status", Why: "There is no such status of a command.", Fix: "Send EXECUTING, EXECUTED or FAILED."},
			{ID: "size", Why: "The response is larger than 4 kB.", Fix: "Shorten data.response; larger results go up as a file."},
			{ID: "unknown", Why: "The update names no command of this agent.", Fix: "Copy the command's id to requestId and its data.jobId to data.jobId."},
		}},
	{ID: "MS-27", Title: "A delivery job beyond its limits is rejected", Source: srcCommand + "; github.com/mindsphere/mindconnect-nodejs", Grade: rule.Documented,
		Assumption: "HTTP status 400",
		Causes: []rule.Cause{
			{ID: "clients", Why: "A job goes to 1 to 20 agents.", Fix: "Split the job."},
			{ID: "size", Why: "The data is larger than 4 kB.", Fix: "Shorten data to at most 4096 bytes."},
			{ID: "name", Why: "The job's name is missing or too long.", Fix: "Give the job a name of 1 to 128 characters."},
			{ID: "data", Why: "The job's data is no JSON object.", Fix: "Send data as an object of keys and values."},
			{ID: "agent", Why: "The tenant has no such agent.", Fix: "Onboard the agent first; client ids are {tenant}_{common name}."},
			{ID: "twice", Why: "An agent is named twice.", Fix: "Name each agent once."},
		}},
	{ID: "MS-28", Title: "A token request is answered on agm_v3/tr with a token for an hour", Source: srcToken, Grade: rule.Documented,
		Assumption: "a request without id is lost in silence",
		Causes:     []rule.Cause{{ID: "request", Why: "The message is no token request.", Fix: "Send {\"id\":\"request1\"}."}}},
	{ID: "MS-29", Title: "A message above 128 KB closes the connection", Source: srcAsync + "; " + srcAWS, Grade: rule.Assumed,
		Assumption: "the connection is closed without PUBACK",
		Causes:     []rule.Cause{{ID: "size", Why: "The message is larger than 128 KB.", Fix: "Split the data over several messages of at most 131072 bytes."}}},
	{ID: "MS-30", Title: "A session with clean session 0 (MQTT 5: with a session expiry interval) keeps its subscriptions and QoS 1 messages while the agent is offline", Source: srcSample + "; " + srcAWS + ", persistent sessions", Grade: rule.Documented,
		Assumption: "kept for one hour after the end of the connection, in MQTT 5 for the session expiry interval, of which the CONNACK tells where it was longer than the hour; what waits is sent at once on return, and again, marked as duplicate, where its PUBACK is missing; at most 1000 messages wait"},
	{ID: "MS-31", Title: "eu2: an application's message goes to devices/{clientId}/messages/events/{app}={topic}; answers come on devicebound", Source: srcAM + "; " + srcSample, Grade: rule.Documented,
		Assumption: "an answer's property mirrors the requests': amo_v3=ms; it waits in the hub's queue as any cloud-to-device message does; what no application takes is lost in silence",
		Causes: []rule.Cause{
			{ID: "channel", Why: "The hub took the message, but it names no application of MindSphere: nobody reads it. The real service says nothing either.", Fix: "Publish to devices/{clientId}/messages/events/{app}={topic}, with amo_v3=m, amo_v3=i, amo_v4=mi, amo_v4=m, mc_v3=ts, mc_v3=e, mc_v3=f or cmd_v3=u at its end."},
			{ID: "agent", Why: "The hub knows the device, but MindSphere has no such agent.", Fix: "Register the agent at DPS with the tenant's ID scope before it connects to the hub."},
			{ID: "token", Why: "Agents get access tokens in region eu1 only.", Fix: "Use the applications of region eu2, or a tenant of region eu1."},
			{ID: "size", Why: "IoT Hub takes up to 256 KB, MindConnect MQTT 128 KB.", Fix: "Split the data over several messages of at most 131072 bytes."},
		}},
	{ID: "MS-32", Title: "A private cloud takes the user name _CertificateBearer with a signed token; another is refused with return code 5", Source: srcPubSub + "; " + srcSample, Grade: rule.Assumed,
		Assumption: "return code 5; no first drop; the claim schemas is not checked; intermediates in x5c are allowed",
		Causes: []rule.Cause{
			{ID: "username", Why: "The tenant is one of a private cloud, whose agents connect with a token.", Fix: "Connect without client certificate, with user name _CertificateBearer and the token as password."},
			{ID: "malformed", Why: "The password is no token.", Fix: "Make one with MqttOpcUaAuth of @mindconnect/mindconnect-nodejs (its command mdsp mqtt-createjwt fails in some versions), and send all of it, without line breaks."},
			{ID: "algorithm", Why: "The token is not signed with RS256.", Fix: "Sign with RS256, and with an RSA key."},
			{ID: "x5c", Why: "The token's header has no readable certificates.", Fix: "Put the agent's certificate and its CA into x5c: base64 of the DER, without BEGIN, END and line breaks."},
			{ID: "signature", Why: "The token was not signed with the key of its first certificate.", Fix: "Sign with the key that belongs to the agent's certificate."},
			{ID: "chain", Why: "The token's certificate does not lead to a verified CA of the tenant.", Fix: "Issue the agent's certificate with the CA that the tenant has, and put the CA into x5c."},
			{ID: "audience", Why: "The token is not made for the MQTT broker.", Fix: "Set aud to [\"MQTTBroker\"]."},
			{ID: "expired", Why: "The token has expired.", Fix: "Make a new token for each connection, and check the clocks."},
			{ID: "not-yet-valid", Why: "The token is not valid yet.", Fix: "Check the clock of the machine that makes the token."},
			{ID: "tenant", Why: "The token names another tenant, or one that is no private cloud's.", Fix: "Set ten to the tenant, and begin the client id with it."},
			{ID: "subject", Why: "The token was made for another client id.", Fix: "Set iss and sub to the client id {tenant}_{common name}."},
			{ID: "cn", Why: "The token's certificate belongs to another agent.", Fix: "Use {tenant}_{common name of the certificate} as client id, iss and sub."},
		}},
}
