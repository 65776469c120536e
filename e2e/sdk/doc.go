// Package sdk holds the tests that run vendors' SDKs and command-line clients; they are built with the
// tag vendor and run by `make vendor`.
package sdk
