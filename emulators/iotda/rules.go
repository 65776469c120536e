package iotda

import (
	"slices"

	"github.com/fakecloud/fakecloud/internal/rule"
)

// Sources of the rules: pages of Huawei's documentation and files of its SDKs.
const (
	srcCON  = "IoTDA API reference, Device Connection Authentication (iot_06_v5_3009)"
	srcTOP  = "IoTDA API reference, Topics (iot_06_v5_3004)"
	srcLIM  = "IoTDA service overview, Limitations (iot_04_0010)"
	srcMQ   = "IoTDA user guide, MQTT usage and constraints (iot_02_2200)"
	srcPR   = "IoTDA API reference, Device Reporting Properties (iot_06_v5_3010)"
	srcMSG  = "IoTDA API reference, messages (iot_06_v5_3016); user guide (iot_01_0331)"
	srcOV   = "IoTDA user guide, message communications overview (iot_01_0045_2)"
	srcCMD  = "IoTDA API reference, Deliver a Command (iot_06_v5_0038)"
	srcERR  = "IoTDA API reference, Error Codes (iot_06_v5_0018)"
	srcPOL  = "IoTDA user guide, device policies (iot_01_1111, iot_01_1112) and custom topics (iot_02_9997, iot_02_9999)"
	srcREG  = "IoTDA user guide, self-registration (iot_01_0115)"
	srcBS   = "IoTDA user guide, device provisioning (iot_03_0003 to iot_03_0005)"
	srcX509 = "IoTDA best practices, connecting an X.509 device with MQTT.fx"
	srcV3   = "huaweicloud-sdk-go-v3 v0.1.207, services/iotda/v5"
	srcJava = "huaweicloud-iot-device-sdk-java 1.2.1"
	srcSDKs = srcJava + ", -python 1.2.0, -go v1.0.1, -c of August 2025, -csharp 1.3.4, -ts 0.0.1; ctlove0523/huaweicloud-iot-device-sdk-go v2.0.0"
	srcEVT  = "IoTDA API reference, events (iot_06_v5_3022 and following)"
)

// Rules are the rows of the IoTDA conformance table that are enforced.
var Rules = slices.Concat(connectionRules, certificateRules, downlinkRules, reportRules, topicRules, deviceRules, apiRules)

var connectionRules = []rule.Rule{
	{ID: "DA-1", Title: "a device with its secret is accepted: CONNACK 0, status ONLINE", Source: srcCON, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "first", Why: "the first packet was not CONNECT, or a second CONNECT came", Fix: "send exactly one CONNECT, first"},
		{ID: "malformed", Why: "a packet breaks the MQTT format", Fix: "use an unmodified MQTT client library"},
	}},
	{ID: "DA-2", Title: "a wrong password is refused with return code 4", Source: srcCON, Grade: rule.Documented,
		Assumption: "hexadecimal digits in upper case are refused", Causes: []rule.Cause{
			{ID: "password", Why: "the password does not belong to the device's secret", Fix: "make it of the device's secret: hex(HMAC-SHA256(key = time stamp of the client id, message = secret)); fakecloud iotda clientid prints it"},
			{ID: "swapped", Why: "key and message of the HMAC were swapped", Fix: "take the time stamp as key and the device secret as message; with openssl: printf %s SECRET | openssl dgst -sha256 -hmac TIMESTAMP"},
			{ID: "case", Why: "the password has upper-case letters", Fix: "write the hexadecimal digits in lower case"},
			{ID: "plain", Why: "the secret itself was sent as password", Fix: "send its HMAC: hex(HMAC-SHA256(key = time stamp of the client id, message = secret))"},
			{ID: "algorithm", Why: "the password was made with the hash of another sign type", Fix: "sign types 0 and 1 take HMAC-SHA256, sign type 2 HMAC-SM3"},
			{ID: "empty", Why: "there is neither a password nor a certificate", Fix: "send the password, or give the client its certificate and key"},
		}},
	{ID: "DA-3", Title: "with sign type 0 the time stamp is not judged", Source: srcCON + "; " + srcX509, Grade: rule.Documented},
	{ID: "DA-4", Title: "with sign type 1 or 2 a current time stamp is accepted", Source: srcCON + "; for 2 " + srcJava, Grade: rule.Documented,
		Assumption: "the hour before and the hour after the platform's pass as well"},
	{ID: "DA-5", Title: "with sign type 1 or 2 another time stamp is refused with return code 4", Source: srcCON, Grade: rule.Assumed,
		Assumption: "return code 4; one hour of tolerance, a setting of the instance", Causes: []rule.Cause{
			{ID: "stamp", Why: "the time stamp lies far from the platform's time", Fix: "set the device's clock and make client id and password anew, or use sign type 0"},
			{ID: "local", Why: "the time stamp looks like local time", Fix: "use UTC in client id and password (Huawei's Go SDKs use local time and need sign type 0)"},
		}},
	{ID: "DA-6", Title: "the password has to be keyed with the client id's own time stamp", Source: srcCON, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "stamp", Why: "client id and password were made with different time stamps", Fix: "make both in one go: the time stamp of the client id is the key of the password"},
	}},
	{ID: "DA-7", Title: "a client id of another form is refused with return code 2", Source: srcCON, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "parts", Why: "the client id has not the four parts that it needs", Fix: "use {device_id}_0_{sign type}_{YYYYMMDDHH}; a certificate device needs all four as well"},
		{ID: "type", Why: "the id type is not 0", Fix: "write 0 after the device id; node ids (2) belong to older platforms, bridges (3) are not emulated"},
		{ID: "sign", Why: "the sign type is none of 0, 1 and 2", Fix: "write 0 (time stamp not judged), 1 (judged) or 2 (HMAC-SM3, judged)"},
		{ID: "stamp", Why: "the time stamp is not YYYYMMDDHH", Fix: "write the UTC time to the hour in ten digits, such as 2018072417"},
		{ID: "length", Why: "the client id is longer than 256 characters", Fix: "use the device id that the platform gave"},
	}},
	{ID: "DA-8", Title: "a keep alive outside 30 to 1200 s is refused with return code 2, an unknown MQTT version with 1", Source: srcCON + "; " + srcLIM, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "keep-alive", Why: "the keep alive is none, or outside 30 to 1200 s", Fix: "set the client's keep alive to 120 s, as Huawei advises"},
		{ID: "level", Why: "the MQTT version is none of 3.1, 3.1.1 and 5", Fix: "use MQTT 3.1.1 (protocol level 4)"},
	}},
	{ID: "DA-9", Title: "an unknown device, or another username, is refused with return code 4", Source: srcCON, Grade: rule.Assumed,
		Assumption: "return code 4 for all of these", Causes: []rule.Cause{
			{ID: "unknown", Why: "the device is not registered", Fix: "register it (fakecloud add iotda-device), or use the id that the platform gave: {product_id}_{node_id}"},
			{ID: "username", Why: "the username is not the device id", Fix: "send the device id as username, without anything after it"},
			{ID: "child", Why: "the device is a gateway's child", Fix: "connect the gateway and report with $oc/devices/{gateway}/sys/gateway/sub_devices/properties/report"},
		}},
	{ID: "DA-10", Title: "node ids may hold underscores: the client id is read from the right", Source: srcX509, Grade: rule.Documented},
	{ID: "DA-11", Title: "a frozen device, and a secure one without TLS, is refused with return code 5", Source: srcCON + "; " + srcV3, Grade: rule.Assumed,
		Assumption: "return code 5; secure_access is false where nobody sets it", Causes: []rule.Cause{
			{ID: "frozen", Why: "the device is frozen", Fix: "unfreeze it: POST …/devices/{device_id}/unfreeze"},
			{ID: "plain", Why: "the device has secure_access and came without TLS", Fix: "connect to port 8883 with TLS, or register it with secure_access false"},
		}},
	{ID: "DA-12", Title: "a client silent for 1.5 times its keep alive is closed and shown OFFLINE", Source: srcCON, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "silent", Why: "nothing came for longer than 1.5 times the keep alive", Fix: "send PINGREQ within the keep alive"},
	}},
	{ID: "DA-13", Title: "a second connection of a device closes the first, whatever its time stamp", Source: srcLIM, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "takeover", Why: "another connection of the same device took over", Fix: "use one device id per device; two clients with one id throw each other out in turn"},
	}},
}

var certificateRules = []rule.Rule{
	{ID: "DA-14", Title: "a certificate device is known by its fingerprint and a verified CA; a password is ignored", Source: srcX509 + "; for the password huaweicloud-iot-device-sdk-go v1.0.1", Grade: rule.Documented},
	{ID: "DA-15", Title: "another fingerprint, an unverified CA or an expired certificate is refused", Source: srcX509 + "; " + srcV3, Grade: rule.Assumed,
		Assumption: "return code 4, after a TLS handshake that succeeds", Causes: []rule.Cause{
			{ID: "fingerprint", Why: "the certificate is not the one that the device was registered with", Fix: "register the fingerprint that was seen, without colons, or give the device the registered certificate"},
			{ID: "unverified", Why: "the CA is uploaded and not verified", Fix: "sign a certificate with the verification code as common name and upload it as verification certificate"},
			{ID: "space", Why: "the CA was uploaded to another resource space", Fix: "upload the CA to the device's resource space"},
			{ID: "chain", Why: "the certificate leads to no CA that the platform knows", Fix: "upload the CA that signed the device certificate, and send the intermediates with it"},
			{ID: "expired", Why: "a certificate of the chain has expired", Fix: "issue a new one and register its fingerprint"},
			{ID: "not-yet-valid", Why: "a certificate of the chain is not valid yet", Fix: "check the clock of the machine that issued it"},
		}},
	{ID: "DA-16", Title: "a device without a fingerprint keeps the first one it shows", Source: srcV3, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "learned", Why: "the device showed another certificate at its first connection", Fix: "use that certificate, or reset the fingerprint: POST …/devices/{device_id}/reset-fingerprint"},
	}},
	{ID: "DA-17", Title: "a device has to use its own kind of authentication", Source: srcX509, Grade: rule.Assumed, Assumption: "return code 4", Causes: []rule.Cause{
		{ID: "no-certificate", Why: "the device authenticates by certificate and sent none", Fix: "connect to port 8883 and give the client certificate and key (mosquitto: --cert, --key)"},
		{ID: "no-password", Why: "the device authenticates by secret and sent no password", Fix: "send the password, or register the device with auth_type CERTIFICATES"},
	}},
	{ID: "DA-18", Title: "a fingerprint that is not 40 or 64 hexadecimal digits is refused with IOTDA.000006", Source: srcX509 + "; " + srcV3, Grade: rule.Assumed,
		Assumption: "status 400 with IOTDA.000006", Causes: []rule.Cause{
			{ID: "colons", Why: "the fingerprint still has the colons that openssl prints", Fix: "remove them: openssl x509 -fingerprint -sha256 -noout -in deviceCert.pem | cut -d= -f2 | tr -d :"},
			{ID: "form", Why: "the fingerprint has another length or other characters", Fix: "take the SHA-256 or SHA-1 fingerprint of the certificate in hexadecimal"},
		}},
	{ID: "DA-19", Title: "a verification certificate has to carry the code and be signed by the CA", Source: srcX509, Grade: rule.Assumed,
		Assumption: "status 400 with IOTDA.000006", Causes: []rule.Cause{
			{ID: "code", Why: "the common name is not the verification code", Fix: "make the CSR with the CA's verification code as Common Name"},
			{ID: "signature", Why: "another key than the CA's has signed it", Fix: "sign it with the CA: openssl x509 -req -in verificationCert.csr -CA rootCA.pem -CAkey rootCA.key -CAcreateserial"},
			{ID: "expired", Why: "the CA has expired", Fix: "upload a CA certificate that is valid"},
		}},
	{ID: "DA-20", Title: "self-registration creates an unknown device of a known CA; the TLS server name is required", Source: srcREG + "; " + srcV3, Grade: rule.Documented,
		Assumption: "return code 4 without server name", Causes: []rule.Cause{
			{ID: "sni", Why: "the TLS handshake named no server", Fix: "dial the instance's domain name, or set it as TLS server name"},
			{ID: "device", Why: "the template makes another device id of the certificate than the client id names", Fix: "use the device id that the template makes, in client id and username"},
			{ID: "template", Why: "the template cannot be filled from the certificate", Fix: "issue the certificate with all subject fields that the template declares, and name a product that exists"},
		}},
	{ID: "DA-54", Title: "bootstrap/up is answered with the server's address; an unknown strategy with 100414", Source: srcBS, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "strategy", Why: "no provisioning strategy has this keyword", Fix: "send an empty payload, or a keyword that the instance knows"},
		{ID: "device", Why: "the device is not registered", Fix: "register the device first"},
	}},
	{ID: "DA-55", Title: "a group key is accepted at the provisioning service", Source: srcBS + "; device SDKs for Java, Python, Go, C and .NET", Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "derive", Why: "the group's own secret was used as device secret", Fix: "derive the device's: hex(HMAC-SHA256(key = device id, message = base64-decoded group secret))"},
		{ID: "group", Why: "the enrollment group's secret is not base64", Fix: "correct the group's secret"},
		{ID: "plain", Why: "the provisioning service is reached by TLS only", Fix: "connect to port 8883 with TLS"},
	}},
}
