// Package mqtt is the MQTT face of MindSphere's MindConnect broker in region eu1 and in private clouds: it judges topics and filters,
// keeps the sessions of clients that connect with clean session 0, and translates between topics and the
// channels of the core (MindSphere documentation, Async API pages; AWS IoT Core developer guide).
package mqtt
