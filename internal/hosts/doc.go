// Package hosts is the one table of the vendors' host names: which platform a name belongs to, and which
// emulated instance it leads to. Routing, server certificates, the root's name constraints and
// `fakecloud hosts` all read it.
//
// The forms of the names follow the vendors' pages:
//   - DPS: https://learn.microsoft.com/azure/iot-dps/concepts-service (global and service endpoints)
//   - IoT Hub: https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-endpoints
//   - MindSphere: "MindConnect MQTT Broker", the regional broker and gateway hosts
//   - IoTDA: https://support.huaweicloud.com/intl/en-us/api-iothub/iot_06_v5_0004.html (endpoints)
package hosts
