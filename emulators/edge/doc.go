// Package edge is the core of IoT Edge transparent gateways as their downstream devices and modules see
// them: edgeHub's MQTT behaviour without the protocol. It follows Microsoft Learn, "Connect a downstream
// device to an Azure IoT Edge gateway", "Authenticate a downstream device to Azure IoT Hub", "Operate
// devices offline", "Deploy modules and establish routes", and Azure/iotedge, edge-hub/core.
//
// A gateway stands between its children and a hub, which it reaches by the Upstream interface: identities
// of its device scope and their twins are cached, messages are routed, stored while the hub is away, and
// sent on in order under each child's own identity.
package edge
