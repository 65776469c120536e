// Package azure reads and writes what Azure DPS and IoT Hub put on the wire: SAS tokens, usernames,
// topics, property bags and JSON bodies. It knows no state. The vectors in testdata are its witnesses.
package azure
