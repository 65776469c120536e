// Package mindsphere holds the wire formats of Siemens MindSphere's (Insights Hub's) MindConnect MQTT: client
// ids, the topics tc/{tenant}/{clientId}/{i|o}/{application}/{topic} of its Async APIs with the filters that an
// agent may subscribe to, and the property bag that carries the same names over IoT Hub in region eu2.
//
// Sources: MindSphere documentation, "Onboarding MindConnect MQTT Agent", "MindConnect Async API", "Asset
// Modeler Async API samples", "MindConnect MQTT Commanding" and "Acquiring an Agent Access Token".
package mindsphere
