// Package fakecloud runs local mock IoT clouds for tests: Azure DPS, IoT Hub and IoT Edge, MindSphere MindConnect
// MQTT, and Huawei Cloud IoTDA, with the vendors' rules and a journal that says why a client was refused.
//
// In a test one line is enough:
//
//	cloud := fakecloud.Start(t)
//
// Clients trust cloud.RootsPEM and dial cloud.MQTTSAddr, or keep the vendors' names by dialling through
// cloud.DialContext. With [WithInMemory] there are no sockets, and the whole instance lives in a testing/synctest
// bubble, by the bubble's clock.
package fakecloud
