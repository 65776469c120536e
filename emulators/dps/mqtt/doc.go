// Package mqtt is the MQTT face of DPS: it reads usernames and topics, and translates requests to the
// core and its answers back (MicrosoftDocs articles/iot/iot-mqtt-connect-to-iot-dps.md). It decides what
// concerns MQTT alone; who is provisioned, and where to, is the core's.
package mqtt
