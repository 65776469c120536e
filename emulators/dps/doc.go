// Package dps emulates the Azure IoT Hub Device Provisioning Service: instances with their CA
// certificates, individual enrollments and enrollment groups, attestation of devices by X.509,
// symmetric key or TPM, allocation to a hub, and the registration and operation records that devices poll.
//
// It follows Microsoft's pages "Communicate with DPS using the MQTT protocol", "X.509 certificate
// attestation", "Symmetric key attestation", "TPM attestation", "DPS terminology" and the REST reference, and what the
// device SDKs rely on. The rules in rules.go name the source of each behaviour.
//
// The package knows no protocol: the heads translate MQTT and HTTPS into Session calls
// and its Answers back. It knows no hub either: it asks an Allocator.
package dps
