// Package kittest is the other end in tests of the kits: a scripted server that reads and writes raw bytes.
package kittest
