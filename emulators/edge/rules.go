package edge

import "github.com/fakecloud/fakecloud/internal/rule"

// Sources of the rules: pages of Microsoft Learn, and edgeHub's own source.
const (
	srcConnect = "Microsoft Learn, Connect a downstream device to an Azure IoT Edge gateway"
	srcAuth    = "Microsoft Learn, Authenticate a downstream device to Azure IoT Hub"
	srcOffline = "Microsoft Learn, Understand extended offline capabilities for IoT Edge devices, modules, and downstream devices"
	srcRoutes  = "Microsoft Learn, Deploy modules and establish routes in IoT Edge"
	srcHub     = "github.com/Azure/iotedge edge-hub/core"
	srcCert    = "github.com/Azure/iotedge tools/CACertificates/certGen.sh"
	srcMQTT    = "github.com/Azure/azure-iot-protocol-gateway src/ProtocolGateway.Core/Mqtt"
)

const (
	fixToken  = "Sign a token for {hub}/devices/{device} with the device's own key; GatewayHostName in the connection string does not change the resource. An SDK does it from HostName=…;DeviceId=…;SharedAccessKey=…;GatewayHostName=…"
	fixParent = "Set the gateway's edge device as the device's parent (az iot hub device-identity parent set, or fakecloud add edge-child), then connect again."
)

// Rules are the rows of the IoT Edge conformance table that are enforced.
var Rules = append(append(append([]rule.Rule{}, tlsRules...), connectRules...), append(messageRules, offlineRules...)...)

var tlsRules = []rule.Rule{
	{ID: "EDGE-1", Title: "The gateway presents its leaf, edge CA and intermediate; with the root in hand the chain verifies", Source: srcConnect + "; " + srcCert, Grade: rule.Documented,
		Assumption: "the root itself is not sent; keys are RSA 2048 (certGen: 4096 for the CAs), CAs are valid for ten years"},
	{ID: "EDGE-2", Title: "A client without the gateway's root refuses the chain", Source: srcConnect, Grade: rule.Documented},
	{ID: "EDGE-3", Title: "A client that dials a name which the certificate does not have refuses it", Source: srcConnect, Grade: rule.Documented},
	{ID: "EDGE-4", Title: "The certificate has the gateway's host name and edgeHub, EKU serverAuth; the edge CA's name ends in .ca", Source: srcHub + "; " + srcCert, Grade: rule.Documented},
}

var connectRules = []rule.Rule{
	{ID: "EDGE-5", Title: "A child with a token for the hub's name is accepted", Source: srcAuth + "; " + srcHub, Grade: rule.Documented},
	{ID: "EDGE-6", Title: "A child with a token for the gateway's name is accepted", Source: srcHub, Grade: rule.Documented},
	{ID: "EDGE-7", Title: "A child's token that is wrong, expired or for another resource is refused: CONNACK 5", Source: srcHub, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "password", Why: "The password is no SAS token.", Fix: fixToken},
		{ID: "malformed", Why: "The token cannot be read.", Fix: fixToken},
		{ID: "host", Why: "The token is for a host that is neither the hub nor the gateway.", Fix: "Begin sr with the hub's host name as in HostName=…, or with the gateway's."},
		{ID: "resource", Why: "The token is for another device or module, or its path has another form.", Fix: "sr is {host}/devices/{device}, for a module {host}/devices/{device}/modules/{module}, with nothing after it."},
		{ID: "expired", Why: "The token's se has passed.", Fix: "Make a new token, and check the device's clock."},
		{ID: "signature", Why: "The token was signed with another key.", Fix: "Take the device's primary or secondary key from the hub's registry and decode it from base64 before signing."},
	}},
	{ID: "EDGE-8", Title: "The username's first part is not judged", Source: srcHub, Grade: rule.Documented},
	{ID: "EDGE-9", Title: "A username without api-version, or not of three or four parts, is refused: CONNACK 3", Source: srcHub + " (MqttUsernameParser)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "blank", Why: "User name or client id is missing.", Fix: "Send the device id as client id and {hub}/{device}/?api-version=2021-04-12 as username."},
		{ID: "form", Why: "The username has not the form that edgeHub reads; it wants a slash before the question mark.", Fix: "Write {hub}/{device}/?api-version=2021-04-12, for a module {hub}/{device}/{module}/?api-version=2021-04-12."},
		{ID: "api-version", Why: "The username names no api-version. IoT Hub takes that, a gateway does not.", Fix: "Append /?api-version=2021-04-12 to the username."},
		{ID: "device", Why: "The username names no device.", Fix: "Write {hub}/{device}/?api-version=2021-04-12."},
		{ID: "level", Why: "The gateway speaks MQTT 3.1.1 only.", Fix: "Set the client to MQTT 3.1.1; with mosquitto: -V mqttv311."},
		{ID: "first", Why: "A second CONNECT came on the connection.", Fix: "Send CONNECT once per connection."},
	}},
	{ID: "EDGE-10", Title: "The client id has to name the username's device or device/module, in the same case: else CONNACK 5", Source: srcHub, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "client-id", Why: "Client id and username name different devices.", Fix: "Use the device id as client id, for a module {device}/{module}, spelled as in the registry."},
	}},
	{ID: "EDGE-11", Title: "A device that is no child of the gateway is refused, CONNACK 5, until it has become one and the gateway knows", Source: srcAuth + "; " + srcHub + " (DeviceScopeIdentitiesCache)", Grade: rule.Documented,
		Assumption: "the gateway's AuthenticationMode is Scope, as shipped; authenticationMode in the world switches to CloudAndScope", Causes: []rule.Cause{
			{ID: "unknown", Why: "The gateway's hub has no such device.", Fix: "Check the device id, also its case, and the hub; create the device with the gateway as its parent."},
			{ID: "parent", Why: "The device is registered, but the gateway is not its parent.", Fix: fixParent},
			{ID: "cached", Why: "The gateway asked its hub about this device a moment ago, and asks about one device at most every two minutes.", Fix: "Wait, call the method RefreshDeviceScopeIdentityCache on $edgeHub, or run fakecloud edge refresh."},
			{ID: "removed", Why: "The device has left the gateway's device scope, or was deleted.", Fix: fixParent},
			{ID: "disabled", Why: "The device is disabled in the hub's registry.", Fix: "Enable the device."},
			{ID: "gateway", Why: "The gateway is not emulated any more.", Fix: "Add it to the world under edge.gateways."},
		}},
	{ID: "EDGE-12", Title: "A child of type selfSigned is known by its primary or secondary thumbprint: else CONNACK 5, not a TLS alert", Source: srcAuth + "; " + srcHub, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "thumbprint", Why: "The certificate's hash is neither of those in the registry.", Fix: "Register the thumbprint that openssl x509 -in device.pem -noout -fingerprint -sha256 prints, without colons."},
		{ID: "date", Why: "The certificate is not valid today.", Fix: "Issue a new certificate and register its thumbprint."},
	}},
	{ID: "EDGE-13", Title: "A child of type certificateAuthority needs its id as common name and a chain to the gateway's trust bundle: else CONNACK 5", Source: srcAuth + "; " + srcHub, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "cn", Why: "The certificate's common name is not the device id.", Fix: "Issue the certificate with CN={device id}."},
		{ID: "chain", Why: "The chain does not lead to the gateway's trust bundle. The hub's own list of CAs does not count here.", Fix: "Put the root of the device's chain into the gateway's trustBundle, and let the device send its full chain."},
	}},
	{ID: "EDGE-14", Title: "Certificates are not accepted for modules: CONNACK 5", Source: srcConnect, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "module", Why: "A module came with a certificate.", Fix: "Let downstream modules authenticate by symmetric key."},
	}},
	{ID: "EDGE-15", Title: "A module connects with a token of its own key or of its device's", Source: srcHub + " (allowDeviceAuthForModule)", Grade: rule.Documented},
	{ID: "EDGE-16", Title: "A child that shows nothing, or something else than the registry asks for, is refused: CONNACK 5", Source: srcHub, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "none", Why: "Neither password nor client certificate came.", Fix: "Send a SAS token as password, or a client certificate in the TLS handshake."},
		{ID: "type", Why: "The registry asks for the other kind of authentication.", Fix: "Use what the device is registered with, or change its authentication in the registry. A password always goes before a certificate."},
	}},
	{ID: "EDGE-17", Title: "A second connection of the same child is accepted and the first one closed", Source: srcMQTT, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "takeover", Why: "Another connection of the same device took over.", Fix: "Give every device an id of its own, and stop the other client."},
		{ID: "clients", Why: "The gateway serves as many clients as it may; this one was accepted and gets no service.", Fix: "Raise maxClients of the gateway (MaxConnectedClients of edgeHub)."},
	}},
	{ID: "EDGE-40", Title: "A kept session keeps its subscriptions: session present, and methods are delivered", Source: srcHub + " (SessionStateStoragePersistenceProvider)", Grade: rule.Documented},
	{ID: "EDGE-41", Title: "A child that comes through a gateway below needs an auth-chain from itself to that gateway, which signs: else CONNACK 5", Source: srcHub + " (AuthChainHelpers)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "target", Why: "The auth-chain does not begin with the child.", Fix: "Write auth-chain={child};{its parent};…;{the gateway that connects}."},
		{ID: "actor", Why: "The device at the end of the auth-chain is no parent of the child.", Fix: "Set the parent relations in the hub from the child up to the gateway, and name them in that order."},
	}},
}

var messageRules = []rule.Rule{
	{ID: "EDGE-18", Title: "Telemetry is acknowledged and reaches the hub under the child's own id, marked edgeHubOriginInterface=downstream", Source: srcHub + " (RoutingEdgeHub, CloudEndpoint)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "rejected", Why: "The hub will never take this message; the gateway has acknowledged it already and drops it.", Fix: "Look at the hub's own refusal in the journal."},
	}},
	{ID: "EDGE-19", Title: "A publish to an unknown topic is acknowledged and dropped; the connection stays", Source: srcHub, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "topic", Why: "The gateway knows no such topic. It acknowledges the message and drops it, where IoT Hub would close the connection.", Fix: "Publish to devices/{device}/messages/events/, or for modules devices/{device}/modules/{module}/messages/events/."},
		{ID: "identity", Why: "The topic is of a device that is no child of this gateway.", Fix: "Publish under the device's own id, spelled as in the registry."},
		{ID: "bag", Why: "The property bag in the topic cannot be read.", Fix: "Write name=value pairs joined by &, names and values percent-encoded."},
	}},
	{ID: "EDGE-20", Title: "Every filter is granted, with QoS 1 at most; unknown ones yield nothing", Source: srcHub + " (SessionStateParser)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "filter", Why: "The gateway grants the filter and ignores it: nothing is switched on by it.", Fix: "Subscribe to devices/{device}/messages/devicebound/#, $iothub/methods/POST/#, $iothub/twin/res/# or $iothub/twin/PATCH/properties/desired/#, spelled exactly so."},
	}},
	{ID: "EDGE-21", Title: "A QoS 2 message is processed, then the connection closes without PUBREC", Source: srcMQTT, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "qos2", Why: "The gateway does not support QoS 2. It took the message and closed the connection.", Fix: "Publish with QoS 1 or 0."},
	}},
	{ID: "EDGE-22", Title: "Retained telemetry gets the property mqtt-retain=true and is not retained", Source: srcMQTT, Grade: rule.Documented},
	{ID: "EDGE-23", Title: "The will of a connection that ends without DISCONNECT becomes telemetry with MessageType=Will", Source: srcMQTT, Grade: rule.Documented},
	{ID: "EDGE-24", Title: "A silent client is closed after 1.5 times its keep alive, and after ten minutes at the latest", Source: srcMQTT, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "silent", Why: "The client was silent for longer than 1.5 times its keep alive, or than ten minutes.", Fix: "Send PINGREQ in time."},
	}},
	{ID: "EDGE-25", Title: "A twin request is answered with 200 and desired and reported properties", Source: srcHub, Grade: rule.Documented},
	{ID: "EDGE-26", Title: "A reported patch is answered with 204 without a version, or 400 for what is invalid, with an empty body", Source: srcHub + " (ReportedPropertiesValidator)", Grade: rule.Documented,
		Assumption: "what is no JSON object is answered with 500", Causes: []rule.Cause{
			{ID: "json", Why: "The patch is not a JSON object.", Fix: "Send a JSON object such as {\"temperature\":21}."},
			{ID: "value", Why: "A name or value in the patch is not allowed.", Fix: "Use names without . $ # and space, at most ten levels, texts of at most 4 KB and integers within ±2^52."},
			{ID: "size", Why: "The patch is larger than 32 KB.", Fix: "Send smaller patches."},
			{ID: "rejected", Why: "The gateway has answered 204 already, and the hub does not take the change.", Fix: "Look at the hub's own refusal in the journal; reported properties may have 32 KB in all."},
		}},
	{ID: "EDGE-27", Title: "A twin request without a request id, or below another resource, closes the connection", Source: srcHub + " (TwinAddressHelper)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "rid", Why: "The request has no $rid.", Fix: "Publish to $iothub/twin/GET/?$rid={any id}."},
		{ID: "resource", Why: "There is no such twin request.", Fix: "Publish to $iothub/twin/GET/?$rid={id} or $iothub/twin/PATCH/properties/reported/?$rid={id}."},
	}},
	{ID: "EDGE-28", Title: "A change of desired properties reaches the child on …/desired/?$version=n", Source: srcHub, Grade: rule.Documented},
	{ID: "EDGE-29", Title: "A method reaches the child and its answer the caller; a late answer is ignored", Source: srcHub + " (InvokeMethodHandler)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "rid", Why: "The answer belongs to no call that still waits. The gateway acknowledges and ignores it.", Fix: "Answer within the caller's response time-out (30 s by default), once, with the request's $rid."},
	}},
	{ID: "EDGE-42", Title: "A packet of more than 262144 bytes closes the connection; a message of more is acknowledged and dropped", Source: srcMQTT + "; " + srcHub + " (RoutingEdgeHub)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "packet", Why: "The packet is larger than edgeHub's MaxInboundMessageSize.", Fix: "Send at most 256 KB, topic included."},
		{ID: "message", Why: "Body and properties are larger than 262144 bytes with what the gateway adds. It acknowledges the message and drops it.", Fix: "Send at most 255 KB in a message."},
		{ID: "malformed", Why: "A packet breaks the MQTT protocol. What is no topic filter counts as that: the gateway closes the connection where other brokers answer 0x80.", Fix: "Use an unmodified MQTT client library; # stands alone at the end of a filter, + alone in its level."},
	}},
}

var offlineRules = []rule.Rule{
	{ID: "EDGE-30", Title: "While the hub is away telemetry is acknowledged once stored, and sent on later in the stored order", Source: srcOffline, Grade: rule.Documented,
		Assumption: "where nothing more can be stored the message is not acknowledged and the connection closes", Causes: []rule.Cause{
			{ID: "full", Why: "The gateway's queue is full.", Fix: "Bring the hub back, or raise storeLimits.maxSizeBytes of $edgeHub, queueMessages or queueBytes of the gateway."},
		}},
	{ID: "EDGE-31", Title: "Stored telemetry is dropped when its time to live is over", Source: srcOffline, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "expired", Why: "The hub was away for longer than the messages' time to live.", Fix: "Raise storeAndForwardConfiguration.timeToLiveSecs, or the route's own; a negative one keeps for ever."},
	}},
	{ID: "EDGE-32", Title: "While the hub is away twins are answered from what is kept, and reported patches handed over later", Source: srcOffline + "; " + srcHub + " (StoringTwinManager)", Grade: rule.Documented},
	{ID: "EDGE-33", Title: "While the hub is away a child that the gateway knows may connect; another one gets CONNACK 5", Source: srcOffline, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "unknown", Why: "The gateway has never heard of this device, and cannot ask its hub now.", Fix: "Bring the hub back; a child has to be known before the hub goes away."},
	}},
	{ID: "EDGE-34", Title: "Cloud-to-device messages wait at the hub while it is away, and are delivered later", Source: srcOffline + "; " + srcMQTT + " (MqttAdapter.TryMatchSubscription); " + srcHub + " (its test Receive_C2D_NotSubscribed_OfflineSingleMessage_ShouldThrow)", Grade: rule.Documented,
		Assumption: "both times are wall clock readings; a message may be 30 s older than the subscription, as in edgeHub (DeviceClientMessageConverter, ClockSkewAdjustment)", Causes: []rule.Cause{
			{ID: "older", Why: "The message was sent before the child subscribed. The gateway gives a subscription only what is newer, and rejects the rest at the hub.", Fix: "Connect with clean session 0, so that the gateway keeps the subscription while the child is away, or send again once the child has subscribed."},
			{ID: "filter", Why: "The child's filter switches cloud-to-device messages on and does not match their topic. The gateway rejects them at the hub.", Fix: "Subscribe to devices/{device}/messages/devicebound/# with the device's own id."},
		}},
	{ID: "EDGE-35", Title: "What changed in desired properties while the hub was away arrives as one patch", Source: srcHub + " (StoringTwinManager)", Grade: rule.Documented,
		Assumption: "twins are compared at every return of the hub; edgeHub skips those that were read less than two minutes before, and a child that has subscribed and never read its twin"},
	{ID: "EDGE-36", Title: "Routes to BrokeredEndpoint deliver to the module's input, with the sender in $.cdid, and not to the hub", Source: srcRoutes, Grade: rule.Documented},
	{ID: "EDGE-37", Title: "A message that no route takes is acknowledged and dropped", Source: srcRoutes, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "unrouted", Why: "None of the gateway's routes takes the message.", Fix: "Add a route such as FROM /messages/* INTO $upstream to the desired properties of $edgeHub."},
	}},
	{ID: "EDGE-38", Title: "Desired properties of $edgeHub that cannot be read leave the old ones in force and are reported with code 400", Source: srcHub + " (TwinConfigSource, EdgeHubConfigParser)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "config", Why: "A route, the schemaVersion or the store-and-forward part cannot be read; the detail names key and column.", Fix: "Mend the deployment; the reported properties of $edgeHub have the same reason in lastDesiredStatus."},
	}},
	{ID: "EDGE-39", Title: "Routes of a higher priority (a lower number) are sent first", Source: srcRoutes, Grade: rule.Documented},
}
