// Package service is the service side of IoT Hub over HTTPS: what a back end, a test script or the Azure
// CLI does against a hub. It serves identities and modules, twins, direct methods, queries, bulk
// operations, jobs, configurations, statistics and the cloud-to-device queues ("IoT Hub REST API
// reference, service"; azure-iothub, pl/operations), with the core of package iothub behind it.
package service
