// Package rest is DPS's HTTPS face to devices: register, poll, and the lookup of a registration. It
// translates; the verdicts are the core's. It follows the REST reference "Azure IoT Hub DPS".
package rest
