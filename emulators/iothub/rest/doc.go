// Package rest is IoT Hub's HTTPS face to devices: telemetry, cloud-to-device messages by polling, file
// upload, and the block blobs that files are uploaded to. It translates; the verdicts are the core's.
//
// It follows the vendor's REST reference for devices, "Understand file upload", and for blobs the pages
// "Put Blob", "Put Block", "Put Block List" and "Get Blob" of Azure Storage.
package rest
