// Package service is DPS for back ends over HTTPS: individual enrollments, enrollment groups and
// registrations of an instance (Learn, REST reference "Azure IoT Hub DPS"), with the core of package dps
// behind it. CA certificates, which the resource provider serves, are not here.
package service
