package iotda

import "github.com/fakecloud/fakecloud/internal/rule"

var downlinkRules = []rule.Rule{
	{ID: "DA-21", Title: "a command reaches a device that never subscribed, with QoS 0", Source: "huaweicloud-iot-device-sdk-c README; " + srcMSG, Grade: rule.Documented},
	{ID: "DA-22", Title: "a message is delivered once, at the subscribed QoS", Source: srcMSG, Grade: rule.Documented,
		Assumption: "with QoS 1 and without PUBACK it comes every 2 s, three times in all; then, once the device has subscribed again, every 10 s in up to five rounds within its time to live"},
	{ID: "DA-23", Title: "a device's answer is handed to the waiting caller as it is", Source: srcCMD, Grade: rule.Documented},
	{ID: "DA-24", Title: "a request that the device does not answer in 20 s fails with IOTDA.014111", Source: srcCMD, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "timeout", Why: "the device did not answer in time", Fix: "publish the answer to the response topic with the request_id of the request"},
	}},
	{ID: "DA-25", Title: "a request to a device that is offline fails with IOTDA.014016", Source: srcERR, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "offline", Why: "the device is not connected", Fix: "connect the device, or send a message, which waits for it"},
	}},
	{ID: "DA-26", Title: "a late or unknown answer is ignored and the link stays", Source: srcCMD, Grade: rule.Assumed, Assumption: "ignored without a sign to the device", Causes: []rule.Cause{
		{ID: "unknown", Why: "nobody waits for an answer with this request_id (v3: mid)", Fix: "copy the request_id from the request's topic (v3: the mid from its body), and answer once and in time"},
		{ID: "json", Why: "the answer is not JSON", Fix: `answer with one JSON object, such as {"result_code":0}`},
	}},
	{ID: "DA-27", Title: "a message to an offline device waits for it, PENDING, then DELIVERED or TIMEOUT", Source: srcMSG + "; " + srcV3, Grade: rule.Documented},
	{ID: "DA-28", Title: "a time to live outside 0 to 1440 minutes in steps of 5 is refused", Source: srcV3, Grade: rule.Assumed, Assumption: "status 400 with IOTDA.000006", Causes: []rule.Cause{
		{ID: "ttl", Why: "the time to live is outside its limits", Fix: "use a multiple of 5 from 0 to 1440"},
	}},
	{ID: "DA-52", Title: "a shadow update with a stale version is refused and changes nothing", Source: srcV3, Grade: rule.Assumed, Assumption: "status 400 with IOTDA.000006", Causes: []rule.Cause{
		{ID: "version", Why: "the version sent is not the shadow's current one", Fix: "read the shadow again, or leave the version out"},
	}},
	{ID: "DA-53", Title: "desired properties set while offline come after the next CONNECT", Source: srcV3 + "; " + srcOV, Grade: rule.Documented,
		Assumption: "a child's come with its gateway; what the device answers with result code 0 counts as reported"},
	{ID: "DA-58", Title: "resetting a secret can end the connection and voids the old password", Source: srcV3, Grade: rule.Documented},
}

var reportRules = []rule.Rule{
	{ID: "DA-29", Title: "reported properties appear in the shadow with their event_time", Source: srcPR + "; " + srcX509, Grade: rule.Documented},
	{ID: "DA-30", Title: "a report without event_time takes the time of receipt", Source: srcPR, Grade: rule.Documented},
	{ID: "DA-31", Title: "a report whose event_time cannot be read takes the time of receipt", Source: srcPR, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "time", Why: "event_time has neither of its two forms; the time of receipt was stored", Fix: "write UTC as 20151212T121212Z or 2020-08-12T12:12:12.333Z"},
	}},
	{ID: "DA-32", Title: "an event_time with milliseconds is kept", Source: srcPR, Grade: rule.Documented},
	{ID: "DA-33", Title: "a value that its property does not allow is dropped; the link stays", Source: srcOV, Grade: rule.Assumed,
		Assumption: "the single value is dropped, not its service; the step is not enforced", Causes: []rule.Cause{
			{ID: "type", Why: "the value has another type than the product model says", Fix: "send the type of the product model; numbers without quotes"},
			{ID: "range", Why: "the value lies outside min and max of the product model", Fix: "send a value within the range, or widen it in the product"},
			{ID: "enum", Why: "the value is none of the property's enum_list", Fix: "send one of the listed values; case counts"},
			{ID: "length", Why: "the text is longer than the property's max_length", Fix: "shorten it, or raise max_length in the product"},
		}},
	{ID: "DA-34", Title: "what the product does not define is dropped; the rest is stored", Source: srcOV, Grade: rule.Assumed,
		Assumption: "an unknown property is dropped alone, an unknown service whole", Causes: []rule.Cause{
			{ID: "service", Why: "the product has no such service", Fix: "use a service_id of the product; case counts"},
			{ID: "property", Why: "the service has no such property", Fix: "use a property_name of the service, or add it to the product; case counts"},
			{ID: "event", Why: "neither the platform nor the product knows this event", Fix: "check service_id and event_type; the platform's services begin with $"},
		}},
	{ID: "DA-35", Title: "a report that cannot be read is dropped and the link stays", Source: srcPR, Grade: rule.Assumed,
		Assumption: "dropped without a sign to the device, acknowledged with QoS 1", Causes: []rule.Cause{
			{ID: "json", Why: "the payload is not JSON", Fix: "send one JSON object in UTF-8; in a shell put it into single quotes"},
			{ID: "services", Why: "the list that the topic wants is missing", Fix: `send {"services":[{"service_id":"…","properties":{…}}]}; a gateway's report has {"devices":[…]} around it`},
			{ID: "entry", Why: "an entry lacks a mandatory part, or has it with another type", Fix: "give each entry service_id as text and properties (events: paras) as an object, in a gateway's report device_id and services"},
		}},
	{ID: "DA-36", Title: "?request_id= in the topic is passed on to the notification", Source: srcPR, Grade: rule.Documented},
	{ID: "DA-37", Title: "a report with ?encoding=gzip is understood", Source: srcPR + "; " + srcJava, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "gzip", Why: "the payload is not gzip, or unpacks to more than 1 MB", Fix: "compress the JSON with gzip (not zlib, not raw deflate), or leave the query out of the topic"},
	}},
}

var topicRules = []rule.Rule{
	{ID: "DA-38", Title: "a publish to a topic that is not the device's own stores nothing", Source: srcMQ + "; " + srcTOP, Grade: rule.Assumed,
		Assumption: "acknowledged and dropped; the connection stays", Causes: []rule.Cause{
			{ID: "device", Why: "the topic names another device", Fix: "publish to the own device's topic; a gateway reports for children on its own topic"},
			{ID: "topic", Why: "the topic is none that devices publish to", Fix: "use a topic of the page; in a shell quote it with '…', or $oc is replaced by nothing"},
		}},
	{ID: "DA-39", Title: "a filter for another device's topics is answered with 0x80", Source: srcMQ + "; " + srcPOL, Grade: rule.Documented,
		Assumption: "filters that reach beyond one device are answered likewise", Causes: []rule.Cause{
			{ID: "device", Why: "the filter names another device", Fix: "subscribe to the own device's topics"},
			{ID: "filter", Why: "the filter is wider than the device's own topics, or unknown", Fix: "put the device id after $oc/devices/; system topics need no subscription at all"},
		}},
	{ID: "DA-40", Title: "QoS 2 is not served: subscriptions get 1 at most, a publish closes the connection", Source: srcLIM, Grade: rule.Assumed,
		Assumption: "a filter with QoS 2 is granted 1; a publish with QoS 2 closes the connection", Causes: []rule.Cause{
			{ID: "qos2", Why: "a message was published with QoS 2", Fix: "publish with QoS 0 or 1"},
		}},
	{ID: "DA-41", Title: "a connection may have 100 subscriptions, 50 of them custom topics", Source: srcMQ + "; " + srcLIM, Grade: rule.Assumed,
		Assumption: "one more is answered with 0x80", Causes: []rule.Cause{
			{ID: "count", Why: "the connection has 100 subscriptions already", Fix: "use wildcards: commands/# serves all commands; system topics need no subscription at all"},
			{ID: "custom", Why: "the connection has 50 subscriptions to custom topics already", Fix: "use wildcards in custom topics"},
		}},
	{ID: "DA-42", Title: "wills are not sent and nothing is retained", Source: srcLIM, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "will", Why: "the device has left a will, which the platform does not send", Fix: "leave the will out; the platform tells of a lost device by its status"},
		{ID: "retain", Why: "the message has the retain flag and is not retained", Fix: "publish without the flag; the shadow keeps the last values"},
	}},
	{ID: "DA-43", Title: "a payload above 1 MB is rejected", Source: srcLIM, Grade: rule.Assumed,
		Assumption: "not acknowledged, the connection stays; above 2 MB the connection is closed", Causes: []rule.Cause{
			{ID: "size", Why: "the payload is larger than 1 MB", Fix: "send less at once, or upload a file"},
			{ID: "packet", Why: "the packet is larger than 2 MB", Fix: "send less at once, or upload a file"},
		}},
	{ID: "DA-56", Title: "topics that do not start with $oc pass unless a device policy denies them", Source: srcPOL, Grade: rule.Documented,
		Assumption: "a denied publish is acknowledged and dropped", Causes: []rule.Cause{
			{ID: "policy", Why: "a device policy denies the topic", Fix: "use another topic, or unbind the policy from device and product"},
			{ID: "lookalike", Why: "the topic is one of the device's system topics without the $oc at its beginning", Fix: "write $oc/devices/{device_id}/sys/…; in a shell between single quotes, which leave the dollar sign alone"},
			{ID: "length", Why: "the custom topic has more than 128 bytes", Fix: "shorten it; under user/ only the suffix counts"},
			{ID: "operation", Why: "the product declares the custom topic for the other direction only", Fix: "set the topic's operation to ALL in the product"},
		}},
}

var deviceRules = []rule.Rule{
	{ID: "DA-44", Title: "a time request is answered with the device's time and the server's in milliseconds", Source: srcEVT, Grade: rule.Documented},
	{ID: "DA-45", Title: "a report of versions shows at the device", Source: srcEVT + "; " + srcJava, Grade: rule.Documented},
	{ID: "DA-46", Title: "a gateway speaks for its children, and for no others", Source: srcPR + "; HTTPS counterpart iot_06_v5_7010 (IOTDA.021104)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "child", Why: "the body names a device that is no child of the one connected", Fix: "register it as child of this gateway (gateway_id), or let its own gateway report for it"},
		{ID: "count", Why: "the report has more than 100 devices", Fix: "split the report"},
	}},
	{ID: "DA-47", Title: "adding and deleting children answers success and failure one by one", Source: srcEVT + " ($sub_device_manager)", Grade: rule.Documented,
		Assumption: "at most 50 devices in one request", Causes: []rule.Cause{
			{ID: "child", Why: "one device of the request cannot be added or deleted; the answer's failed_devices names it", Fix: "use a product that exists and a node_id that is free"},
		}},
	{ID: "DA-48", Title: "a child added by the application is announced to its gateway", Source: srcEVT + " ($sub_device_manager)", Grade: rule.Documented},
	{ID: "DA-49", Title: "a command to a child travels on its gateway's topic", Source: srcMSG + "; " + srcTOP, Grade: rule.Documented},
	{ID: "DA-50", Title: "a gateway sets its children's status", Source: srcEVT + " ($sub_device_manager)", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "child", Why: "the status of one device cannot be set; the answer's failed_devices names it", Fix: "name children of this gateway, with ONLINE or OFFLINE"},
	}},
	{ID: "DA-51", Title: "a shadow request without service_id lists every service", Source: srcTOP, Grade: rule.Documented},
	{ID: "DA-60", Title: "Huawei's device SDKs for Java, Python, Go, C and TypeScript, and ctlove0523's for Go, connect, report and answer commands unmodified", Source: srcSDKs, Grade: rule.Documented,
		Assumption: "the Java one runs in the vendor tests, the others by hand (docs/fidelity.md) and here by the packets that they send; the one for C# was not run, its packets are read from its source; the one for TypeScript reports messages only and takes no commands"},
}

var apiRules = []rule.Rule{
	{ID: "DA-57", Title: "an active rule forwards notifications to its HTTP address", Source: "IoTDA API reference, push notifications (iot_06_v5_01201 and following); " + srcV3, Grade: rule.Documented,
		Assumption: "every notification is posted once, in order for each address; an answer of 200 to 299 takes it; a message tells of PENDING too, a batch task of its first status, a device of every change that the API shows", Causes: []rule.Cause{
			{ID: "subject", Why: "a rule names a resource and event that no notification has", Fix: "use a pair of the page CreateRoutingRule, such as device.property and report"},
			{ID: "status", Why: "the application answered with another status than 200 to 299", Fix: "answer with 200 once the notification is stored"},
			{ID: "unreachable", Why: "the application could not be reached", Fix: "check the action's url, and that the application listens there"},
			{ID: "full", Why: "the application is too slow: too many notifications wait for it", Fix: "answer faster, or deactivate the rule"},
			{ID: "outbound", Why: "this instance makes no outbound calls", Fix: "run fakecloud with forwarding, and allow the host with --allow-outbound where it is not loopback"},
		}},
	{ID: "DA-59", Title: "a call of the application API needs a right signature of either kind, or a token", Source: "huaweicloud-sdk-go-v3 v0.1.207, core/auth/signer", Grade: rule.Documented,
		Assumption: "status 401 with APIGW.0301; an instance without access keys accepts every caller", Causes: []rule.Cause{
			{ID: "missing", Why: "the call has neither token nor signature", Fix: "use an SDK with access key and secret key, or send X-Auth-Token"},
			{ID: "token", Why: "the token was not issued here, or has run out", Fix: "get one with POST /v3/auth/tokens of this instance"},
			{ID: "form", Why: "the Authorization header is no signature", Fix: "sign with SDK-HMAC-SHA256 or V11-HMAC-SHA256; the vendor's SDKs do"},
			{ID: "access-key", Why: "no access key of the instance has this name", Fix: "use an access key that the instance has"},
			{ID: "signature", Why: "the signature does not fit", Fix: "check the secret key; nothing between client and server may change path, query, headers or body"},
		}},
}
