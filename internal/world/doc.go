// Package world holds the world file: which instances, devices and enrollments an emulated cloud starts
// with, as plain data. It reads YAML strictly (every problem with file, line, column and key, and what
// would be right), merges documents by id, checks references between them, and writes YAML and a JSON
// Schema from the same structs. It knows no platform's behaviour: names and shapes follow Azure's REST
// models (DPS service API 2021-10-01, IoT Hub registry), and what only a platform can judge is left to it.
package world
