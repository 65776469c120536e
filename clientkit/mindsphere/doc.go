// Package mindsphere is a client for agents of Siemens MindSphere (Insights Hub) MindConnect MQTT: regions eu1
// and eu2, and the private cloud. It works against the real clouds and against fakecloud.
//
// [Dial] onboards an agent by its certificate and connects it. In region eu1 the broker closes the first
// connections without a word while it provisions the agent; Dial expects that and tries again with growing
// pauses. In eu2 it registers with DPS and connects to the IoT Hub that DPS names. The [Agent] then speaks to
// MindSphere's applications in the same way everywhere: [Agent.CreateModel] and [Agent.Instantiate], or
// [Agent.ApplyModel], make assets; [Agent.SendTimeSeries], [Agent.SendEvents] and [Agent.SendFile] deliver
// data; [Agent.OnCommand] takes commands; [Agent.Token] gets an access token for the REST APIs. All of them
// outlive a lost connection.
//
// The wire follows MindSphere's documentation: "Onboarding MindConnect MQTT Agent", "MindConnect Async API",
// "Asset Modeler Async API samples", "Creating V4 Data Model", "MindConnect MQTT Commanding", "Acquiring an
// Agent Access Token via MQTT Agents", and for the private cloud "Connecting to OPC UA PubSub Service via MQTT".
// No goroutine survives Agent.Close.
package mindsphere
