// Package iothub is the core of the emulated Azure IoT Hub: hubs, identities, verdicts on credentials,
// live connections, telemetry, twins, direct methods, cloud-to-device messages, files, jobs and
// configurations. It knows no MQTT, HTTP or AMQP; the heads in its subpackages translate.
//
// It follows the vendor's pages "Communicate with your IoT hub using the MQTT protocol", "Control access
// to IoT Hub with shared access signatures", "Authenticate identities with X.509 certificates",
// "Understand the identity registry", "Understand and use device twins", "Understand IoT Hub message format",
// "Troubleshoot IoT Hub error codes" and the sources of the device SDKs; each rule names its own in rules*.go.
//
// Lock order: Service.notify or Service.c2dMu, then Service.mu, then a table's lock. Only the first two
// are held while a Downlink is called, which must not call back at once.
package iothub
