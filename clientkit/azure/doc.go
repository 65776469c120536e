// Package azure is a device client for Azure Device Provisioning Service (DPS) and Azure IoT Hub over
// MQTT 3.1.1. It works against the real clouds and against fakecloud.
//
// [Provision] registers a device with DPS and returns the hub it was assigned to; [Dial] connects to a
// hub and returns a [Hub] whose Send returns once the hub has acknowledged the message. Both speak MQTT, or
// MQTT over WebSocket where only HTTPS gets out. [Hub.GetTwin], [Hub.UpdateReported] and [Hub.OnDesired] are
// for the twin, [Hub.HandleMethod] for direct methods, [Hub.OnMessage] for cloud-to-device messages; all of them
// outlive a lost connection. [Hub.Upload] writes a file to the hub's storage account by HTTPS. Provision and
// Dial take an X.509 certificate or a symmetric key as [Credential], keep to the service's retry-after, back off
// with jitter, and honour their context.
//
// The wire follows Learn "Communicate with DPS using the MQTT protocol", Learn "Communicate with an IoT
// hub using the MQTT protocol" and what Microsoft's own SDKs send. No goroutine survives Provision, or
// Hub.Close.
package azure
