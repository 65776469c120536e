// Package iotda emulates Huawei Cloud IoTDA: instances with their resource spaces, products, devices,
// device CAs and provisioning templates, the sign-in of devices by secret or certificate, and what devices
// and applications exchange: properties, shadows, messages, commands, events and gateways' children.
//
// It follows Huawei's API reference (pages iot_06_v5_…), user guide and best practices, and what the
// device SDKs rely on. The rules in the files rules*.go name the source of each behaviour.
//
// The package knows no protocol: the heads translate MQTT into Session calls and HTTP into Service calls.
// What it refuses on the wire, and what it drops silently as the real platform does, it explains in the
// journal by rule.
//
// Records are taken over and given out whole: their slices and maps are replaced, never changed in place.
package iotda
