// Package iotda is the text that devices and Huawei Cloud IoTDA exchange over MQTT: client ids and
// passwords, topics, times and JSON bodies. It follows the API reference pages "Device Connection
// Authentication" (iot_06_v5_3009), "Topics" (iot_06_v5_3004) and "Device Reporting Properties"
// (iot_06_v5_3010), and the client id generator of the best practice on X.509 certificates.
package iotda
