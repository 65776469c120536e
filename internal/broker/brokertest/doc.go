// Package brokertest is a raw MQTT 3.1.1 client for tests: it writes the packets that a test spells out,
// legal or not, and reads what comes back byte by byte. It depends on nothing, so that no mistake of the
// broker can be shared by its witness.
package brokertest
