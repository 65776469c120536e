// Package rest is the application face of IoTDA: the application API v5 under /v5/iot/{project_id}, and the
// two calls of IAM that its SDKs make (tokens and projects). It authenticates callers, reads and writes
// JSON, and hands everything else to the core. Paths and bodies follow huaweicloud-sdk-go-v3 v0.1.207
// (services/iotda/v5) and the API reference.
package rest
