// Package session keeps a device connected: one MQTT 3.1.1 connection after the other, each on a Paho client of
// its own, with growing, jittered pauses between attempts, subscriptions that are renewed, and messages that
// are sent again until they are acknowledged. The device clients of clientkit translate to it. No goroutine
// survives Session.Close.
package session
