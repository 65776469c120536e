// Package mindsphere emulates what Siemens MindSphere (Insights Hub) shows to MindConnect MQTT agents: tenants
// with their CA certificates, the provisioning of an agent at its first connection, and the applications that
// agents talk to.
//
// It follows the MindSphere documentation ("Onboarding MindConnect MQTT Agent", "MindConnect MQTT Broker",
// "Managing CA Certificates", the Async API pages) and, where AWS IoT Core carries region eu1, its developer
// guide. The rules in rules.go name the source of each behaviour, and what is assumed where there is none.
//
// The package knows no protocol. Heads translate connections into Authenticate, Open and Session calls, and
// carry messages to agents as a Carrier.
package mindsphere
