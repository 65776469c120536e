// Package control is the admin API: health, journal, devices, explain, rules, certificates, the world, faults,
// clock, reset and snapshots of a running instance, and what a back end does to hubs, gateways and devices, over
// HTTP and JSON, described by OpenAPI 3.1 at /api/v1/openapi.json.
//
// It sees the instance through plane.Plane alone. Errors are problem details (RFC 9457) and never repeat
// what was submitted, because that may be a secret. A browser's page of another origin cannot use the
// API: Host, Origin and Sec-Fetch-Site are checked before anything else (see guard.go).
package control
