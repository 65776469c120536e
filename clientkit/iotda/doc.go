// Package iotda is a device client for Huawei Cloud IoTDA over MQTT 3.1.1. It works against the real cloud and
// against fakecloud.
//
// [Dial] connects a device, by its secret or its certificate, and returns a [Device]. [Device.Report] reports
// properties, [Device.OnSet] and [Device.OnGet] serve the application's wishes, [Device.OnCommand] its commands;
// [Device.SendMessage] and [Device.OnMessage] exchange messages, [Device.Publish] and [Device.Subscribe] use
// custom topics. [Device.Shadow] reads the shadow. Events: [Device.SyncTime], [Device.ReportInfo],
// [Device.OnUpgrade] for firmware and software (OTA), [Device.SendEvent] and [Device.OnEvent] for all others. A
// gateway speaks for its children: [Device.ReportChildren], [Device.AddChildren], [Device.SyncChildren] and more.
// All of them outlive a lost connection. [Provision] asks the provisioning service for a device's server, and
// [GenerateLogin] is the client id generator of Huawei's tutorials.
//
// The wire follows the API reference: "Device Connection Authentication" (iot_06_v5_3009), "Topics"
// (iot_06_v5_3004), "Device Reporting Properties" (iot_06_v5_3010) and their neighbours. System topics need no
// subscription; the kit subscribes where it wants QoS 1. No goroutine survives Device.Close.
package iotda
