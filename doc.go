// Package fakecloud runs local mock IoT clouds for tests: the device side of Azure DPS and IoT Hub over
// MQTT with mutual TLS, with the vendors' rules and a journal that says why a client was refused.
//
// In a test one line is enough:
//
//	cloud := fakecloud.Start(t)
//
// Clients trust cloud.RootsPEM and dial cloud.MQTTSAddr, or keep the vendors' names by dialling through
// cloud.DialContext.
package fakecloud
