// Package hubquery reads and evaluates IoT Hub's query language: the SQL subset in which services ask for
// twins, modules and jobs, and in which jobs and configurations name their targets ("IoT Hub query language
// for device and module twins, jobs, and message routing").
//
// Documents are JSON values in Go's generic form: map[string]any, []any, string, bool, nil and numbers as
// json.Number, float64, int or int64.
package hubquery
