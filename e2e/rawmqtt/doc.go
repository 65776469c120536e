// Package rawmqtt speaks MQTT 3.1.1 in literal bytes, for tests that must not share code with the
// product: packets are built here from the standard's text and read back as bytes.
package rawmqtt
