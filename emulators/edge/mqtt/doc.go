// Package mqtt is the MQTT head of IoT Edge gateways: it translates packets for the core, with edgeHub's
// habits (every filter granted, unknown topics acknowledged, QoS 2 processed and closed).
package mqtt
