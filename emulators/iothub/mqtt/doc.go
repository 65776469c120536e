// Package mqtt is IoT Hub's MQTT 3.1.1 head: usernames, client ids, topics and property bags on one
// side, the core's verdicts on the other. It follows the vendor's page "Communicate with your IoT hub
// using the MQTT protocol" and the topic code of the device SDKs.
package mqtt
